/**
 * The packages of a run: what was asked for is checked when it is submitted, and
 * there, as a layer, before its container starts.
 *
 * What a caller asked for is had, or the run fails saying why. What was only guessed
 * from its imports is had where it can be: the program is run either way, and says
 * itself what it misses.
 */
import type { PackageAdvisories } from '../dependencies/advisories/package-advisories.ts';
import { abortable } from '../dependencies/abortable.ts';
import type { LayerBase } from '../dependencies/layer-maker.ts';
import type { LayerLease } from '../dependencies/layer-shelf.ts';
import type { LayerStore } from '../dependencies/layer-store.ts';
import {
  canonicalName,
  parseRequirements,
  type Requirement,
  type RequirementLimits,
} from '../dependencies/requirements.ts';
import type { AdvisoryReport } from '../domain/advisories.ts';
import { ServiceError } from '../domain/errors.ts';
import type { ExecutionId } from '../domain/execution.ts';
import type { RunRequest, SandboxShape } from '../domain/plan.ts';

export interface AskedPackages {
  readonly required: readonly Requirement[];
  readonly suggested: readonly Requirement[];
  /** What the image has: versions by canonical name. */
  readonly present: Readonly<Record<string, string>>;
}

/** Whose run it is. */
export interface PackagesFor {
  readonly caller: string;
  readonly executionId: ExecutionId;
}

/** A layer to run on, and what is known of what is in it. */
export interface AttachedPackages {
  readonly layer: LayerLease;
  /** Absent where nothing is compared with advisories. */
  readonly advisories: AdvisoryReport | undefined;
}

export interface RunPackagesOptions {
  readonly layers: LayerStore;
  /** Absent: packages are not checked for known vulnerabilities. */
  readonly advisories?: PackageAdvisories | undefined;
  readonly limits: RequirementLimits;
  /** Runs that may wait for their packages at one time: each holds a place it does not use. */
  readonly waitingMax: number;
}

/** Failures of an installation that the next program may do better without. */
const FORGIVEN: ReadonlySet<string> = new Set([
  'resolution_failed',
  'installation_failed',
  'layer_too_large',
  'index_unreachable',
  'installation_timeout',
  'requirements_not_supported',
  'queue_full',
  'overloaded',
  'sandbox_failed',
  'advisory_findings',
  'advisories_unavailable',
]);

/** How many guesses may turn out not to be on the index before all are given up: each costs a look there. */
const WRONG_GUESSES_MAX = 4;

/** The label with which an image says what is in it: JSON, versions by name. */
const PACKAGES_LABEL = 'pyexec.packages';
const CANONICAL_NAME = /^[a-z0-9]+(?:-[a-z0-9]+)*$/;

function packagesOfImage(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  try {
    const packages: unknown = JSON.parse(labels[PACKAGES_LABEL] ?? '{}');
    if (typeof packages !== 'object' || packages === null) return {};
    const known = Object.entries(packages).map(([name, version]) => [canonicalName(name), String(version)] as const);
    return Object.fromEntries(known.filter(([name]) => CANONICAL_NAME.test(name)));
  } catch {
    return {};
  }
}

function baseOf({ present }: AskedPackages, { image, imageId }: SandboxShape): LayerBase {
  return { id: imageId, reference: image, packages: present };
}

function allOf({ required, suggested }: AskedPackages): readonly Requirement[] {
  return suggested.length === 0 ? required : [...required, ...suggested].sort((a, b) => (a.line < b.line ? -1 : 1));
}

/** The guesses that may still be had; none where it was not one of them that could not be had. */
function withoutMissing(suggested: readonly Requirement[], { members }: ServiceError): readonly Requirement[] {
  const missing: readonly unknown[] = Array.isArray(members['missing']) ? members['missing'] : [];
  const left = suggested.filter(({ name }) => !missing.includes(name));
  return left.length < suggested.length ? left : [];
}

export class RunPackages {
  readonly #options: RunPackagesOptions;
  #waiting = 0;

  constructor(options: RunPackagesOptions) {
    this.#options = options;
  }

  /**
   * What a request asks for, checked; undefined when that is nothing.
   * @param imageLabels of the image it will run on.
   * @throws {ServiceError} requirements_invalid, requirements_not_allowed, requirements_not_supported, queue_full.
   */
  read(request: RunRequest, imageLabels: Readonly<Record<string, string>> = {}): AskedPackages | undefined {
    const { layers, limits, waitingMax } = this.#options;
    const required = parseRequirements(request.requirements ?? '', limits);
    layers.check(required);
    // What the image has need not be guessed; what is asked for is had in the version asked for.
    const present = packagesOfImage(imageLabels);
    const named = new Set([...required.map(({ name }) => name), ...Object.keys(present)]);
    const guessed = (request.suggestedPackages ?? []).map(canonicalName).filter((name) => !named.has(name));
    const suggested = layers
      .permitted([...new Set(guessed)])
      .slice(0, Math.max(0, limits.count - required.length))
      .map((name) => ({ name, line: name }));
    if (required.length === 0 && suggested.length === 0) return undefined;
    if (this.#waiting >= waitingMax) {
      // A guess is not worth a place.
      if (required.length === 0) return undefined;
      throw new ServiceError('queue_full', 'Too many runs wait for their packages.', { retryAfterSeconds: 10 });
    }
    return { required, suggested, present };
  }

  /** What attach would give at once; undefined where something is to be built or asked, or is refused. */
  ready(asked: AskedPackages, shape: SandboxShape, whose: PackagesFor): AttachedPackages | undefined {
    const { advisories, layers } = this.#options;
    let checked: ReturnType<PackageAdvisories['known']>;
    const layer = layers.found(baseOf(asked, shape), allOf(asked), (packages) => {
      checked = advisories ? advisories.known(packages, whose) : { report: undefined };
      return checked !== undefined;
    });
    return layer && { layer, advisories: checked?.report };
  }

  /**
   * The layer for a run; undefined when only guesses were wanted and cannot be had.
   * @throws {ServiceError} as LayerStore.prepare and PackageAdvisories.check do, for what was asked for.
   */
  async attach(
    asked: AskedPackages,
    shape: SandboxShape,
    whose: PackagesFor,
    signal: AbortSignal,
  ): Promise<AttachedPackages | undefined> {
    const { required } = asked;
    const base = baseOf(asked, shape);
    this.#waiting += 1;
    try {
      let { suggested } = asked;
      for (let wrong = 0; suggested.length > 0 && wrong <= WRONG_GUESSES_MAX; wrong += 1) {
        try {
          return await this.#checked(base, allOf({ ...asked, suggested }), whose, signal);
        } catch (error) {
          if (!(error instanceof ServiceError) || !FORGIVEN.has(error.code)) throw error;
          suggested = withoutMissing(suggested, error);
        }
      }
      return required.length === 0 ? undefined : await this.#checked(base, required, whose, signal);
    } finally {
      this.#waiting -= 1;
    }
  }

  async #checked(
    base: LayerBase,
    requirements: readonly Requirement[],
    whose: PackagesFor,
    signal: AbortSignal,
  ): Promise<AttachedPackages> {
    const { advisories, layers } = this.#options;
    const layer = await layers.prepare(base, requirements, whose.caller, signal);
    try {
      return { layer, advisories: advisories && (await abortable(advisories.check(layer.packages, whose), signal)) };
    } catch (error) {
      layer.release();
      throw error;
    }
  }
}
