/**
 * The layers there are, and the way to one: a lock for the requirements, an image
 * for the lock.
 *
 * A layer is an image of the daemon that was complete when it got its name. It is
 * known by what it is made of (base image, lock), never changed, built once however
 * many ask at the same time, kept while a run uses it, and forgotten last-used-first
 * when there are too many bytes. The daemon's labels are all the state there is: a
 * new process finds the layers of the one before, and half of a layer has no name.
 */
import { createHash } from 'node:crypto';
import { ServiceError } from '../domain/errors.ts';
import type { Project } from '../domain/project.ts';
import {
  buildInContainer,
  type BuilderChannel,
  type BuilderEgress,
  type BuildJob,
  type Lock,
} from './builder/builder-session.ts';
import { checkAllowed, mayAskFor, type PackagePolicy } from './package-policy.ts';
import { abortable } from './abortable.ts';
import type { Requirement } from './requirements.ts';

/** Raised when what a layer holds changes although its lock does not: hooks removed, byte code, place. */
const FORMAT = 2;
const REFUSAL_REMEMBERED_MS = 30_000;
const TIDY_AGAIN_MS = 10_000;
/** What says nothing about the requirements: the next request is tried anew. */
const PASSING: ReadonlySet<string> = new Set([
  'shutting_down',
  'queue_full',
  'sandbox_unavailable',
  'image_unavailable',
  'storage_full',
  'storage_unavailable',
]);

/** Labels of a layer's image. */
const LAYER_LABEL = {
  request: 'pyexec.layer.request',
  resolvedAt: 'pyexec.layer.resolved',
  packages: 'pyexec.layer.packages',
  bytes: 'pyexec.layer.bytes',
} as const;

/** Images of layers, in the daemon. */
export interface LayerImages {
  /** Makes base and tree one image; it has its name and labels when it is complete, or does not exist. */
  seal(layer: {
    readonly key: string;
    readonly baseImageId: string;
    readonly tree: Project;
    readonly site: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly signal: AbortSignal;
  }): Promise<string>;
  /** Those that are complete. */
  list(): Promise<
    readonly { readonly key: string; readonly id: string; readonly labels: Readonly<Record<string, string>> }[]
  >;
  /** False when it is still in use. */
  remove(key: string): Promise<boolean>;
  /** Removes what an interrupted build left. */
  sweep(): Promise<void>;
}

/** How many builders run at one time, and whose turn it is. */
export interface BuildPlaces {
  /** @throws {ServiceError} queue_full. */
  reserve(
    signal: AbortSignal,
    ticket: { readonly callerId: string },
  ): {
    /** Resolves when the place is free; rejects when the signal is aborted first. */
    readonly ready: Promise<void>;
    readonly release: () => void;
  };
}

export interface LayerStoreOptions {
  readonly images: LayerImages;
  readonly policy: PackagePolicy;
  readonly constraints: readonly string[];
  readonly indexUrl: string;
  readonly indexHosts: readonly string[];
  readonly packagesMax: number;
  readonly filesMax: number;
  readonly layerBytesMax: number;
  readonly totalBytesMax: number;
  readonly buildMsMax: number;
  /** How long a resolution holds; a newer version on the index is found after that. */
  readonly lockMsMax: number;
  readonly places: BuildPlaces;
  /** A builder with the Python of this image. Throws requirements_not_supported when there is none. */
  readonly startBuilder: (base: LayerBase, signal: AbortSignal) => Promise<BuilderChannel>;
  readonly openEgress: () => BuilderEgress;
  /** Whether the index can be connected to at all. */
  readonly indexAnswers: () => Promise<boolean>;
  readonly readTree: (tar: AsyncIterable<Uint8Array>, signal: AbortSignal) => Promise<Project>;
  /** Ends whatever keeps a layer in use without a lease, before it goes. */
  readonly letGo: (key: string) => Promise<void>;
  readonly observe: (event: LayerEvent) => void;
}

/** The image a layer goes on. */
export interface LayerBase {
  readonly id: string;
  readonly reference: string;
  /** Versions by canonical name. */
  readonly packages: Readonly<Record<string, string>>;
}

export type LayerEvent =
  | { readonly kind: 'attached'; readonly cached: boolean; readonly durationMs: number }
  /** What will be in a layer is known; `name==version` of each. */
  | { readonly kind: 'locked'; readonly packages: readonly string[] }
  | { readonly kind: 'phase'; readonly phase: 'resolve' | 'install' | 'seal'; readonly durationMs: number }
  | {
      readonly kind: 'installed';
      readonly layer: string;
      readonly image: string;
      readonly caller: string;
      readonly lines: readonly string[];
      readonly bytes: number;
    }
  | { readonly kind: 'failed'; readonly code: string; readonly caller: string }
  | { readonly kind: 'evicted'; readonly layer: string; readonly bytes: number };

interface Layer {
  readonly key: string;
  readonly imageId: string;
  readonly packages: readonly string[];
  readonly bytes: number;
  users: number;
  usedAt: number;
}

/** What a request is resolved and built by, for all who wait for it. */
interface Resolving {
  readonly key: Promise<string>;
  waiting: number;
  hasBegun: boolean;
  /** Ends it before it has begun: nobody waits for it any more. */
  readonly abandon: AbortController;
}

/** A layer in use: it stays until it is released. */
export interface LayerLease {
  readonly key: string;
  /** The image to run, in place of the base. */
  readonly imageId: string;
  /** `name==version` of everything in it. */
  readonly packages: readonly string[];
  release(): void;
  /** Says that the daemon no longer has it. */
  lost(): void;
}

const digest = (value: unknown) => createHash('sha256').update(JSON.stringify(value)).digest('hex');

export class LayerStore {
  readonly #options: LayerStoreOptions;
  readonly #layers = new Map<string, Layer>();
  /** What requests come to: a layer, for a while. */
  readonly #resolved = new Map<string, { readonly key: string; readonly until: number }>();
  readonly #refused = new Map<string, { readonly error: ServiceError; readonly until: number }>();
  readonly #resolving = new Map<string, Resolving>();
  readonly #building = new Map<string, Promise<void>>();
  /** Layers that are being removed. */
  readonly #leaving = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();
  /** Whether a build failed in the daemon, which may have made the image all the same. */
  #isUntidy = false;
  #tidying: Promise<void> | undefined;
  #makingRoom: Promise<void> = Promise.resolve();
  #clock = 0;
  #sealing = 0;

  constructor(options: LayerStoreOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#layers.size;
  }

  get bytes(): number {
    let sum = 0;
    for (const { bytes } of this.#layers.values()) sum += bytes;
    return sum;
  }

  /** @throws {ServiceError} requirements_not_supported, requirements_not_allowed. */
  check(requirements: readonly Requirement[]): void {
    checkAllowed(requirements, this.#options.policy);
  }

  /** Those of the names that may be asked for: a guess is never a reason to refuse a run. */
  permitted(names: readonly string[]): readonly string[] {
    return names.filter((name) => mayAskFor(name, this.#options.policy));
  }

  /** Finds the layers an earlier process left, and removes what it did not finish. */
  async recover(): Promise<void> {
    await this.#options.images.sweep();
    const now = Date.now();
    for (const { key, id, labels } of await this.#options.images.list()) {
      const bytes = Number(labels[LAYER_LABEL.bytes] ?? NaN);
      const resolvedAt = Number(labels[LAYER_LABEL.resolvedAt] ?? NaN);
      if (!Number.isSafeInteger(bytes) || bytes < 0 || !Number.isSafeInteger(resolvedAt)) {
        // None that was made here.
        await this.#options.images.remove(key);
        continue;
      }
      const packages = (labels[LAYER_LABEL.packages] ?? '').split(' ').filter((name) => name !== '');
      this.#layers.set(key, { key, imageId: id, packages, bytes, users: 0, usedAt: resolvedAt - now });
      const until = performance.now() + resolvedAt + this.#options.lockMsMax - now;
      const request = labels[LAYER_LABEL.request];
      if (request !== undefined && until > performance.now()) this.#resolved.set(request, { key, until });
    }
    await this.#makeRoom();
  }

  /**
   * The layer for these requirements on this image, where there is one this moment.
   * @param isWanted asked before it is taken, with `name==version` of everything in it.
   */
  found(
    base: LayerBase,
    requirements: readonly Requirement[],
    isWanted: (packages: readonly string[]) => boolean,
  ): LayerLease | undefined {
    const started = performance.now();
    const layer = this.#known(this.#requestOf(base, requirements));
    if (!layer || !isWanted(layer.packages)) return undefined;
    this.#options.observe({ kind: 'attached', cached: true, durationMs: performance.now() - started });
    return this.#lease(layer);
  }

  /**
   * The layer for these requirements on this image, built if there is none.
   * @param signal aborted: the caller stops waiting; a build others may want goes on.
   * @throws {ServiceError} as the builder does, queue_full, installation_timeout.
   */
  async prepare(
    base: LayerBase,
    requirements: readonly Requirement[],
    caller: string,
    signal: AbortSignal,
  ): Promise<LayerLease> {
    const started = performance.now();
    const lines = requirements.map(({ line }) => line);
    const { observe } = this.#options;
    const request = this.#requestOf(base, requirements);
    // Twice, because a layer may be evicted between the end of its build and its first use.
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const layer = this.#known(request);
      if (layer) {
        observe({ kind: 'attached', cached: attempt === 0, durationMs: performance.now() - started });
        return this.#lease(layer);
      }
      const refused = this.#refused.get(request);
      if (refused && refused.until > performance.now()) throw refused.error;
      await this.#resolve(request, base, lines, caller, signal);
    }
    throw new ServiceError('overloaded', 'The layers in use leave no room for another one.', { retryAfterSeconds: 10 });
  }

  /** Ends every build. Resolves when none is left. */
  async close(): Promise<void> {
    this.#closing.abort(new ServiceError('shutting_down', 'The service is shutting down.'));
    await Promise.allSettled([...[...this.#resolving.values()].map(({ key }) => key), ...this.#building.values()]);
    await this.#tidying;
    await this.#makingRoom;
  }

  #requestOf(base: LayerBase, requirements: readonly Requirement[]): string {
    const { constraints, indexUrl } = this.#options;
    return digest([FORMAT, base.id, indexUrl, constraints, requirements.map(({ line }) => line)]);
  }

  /** What a request came to, as long as that holds. */
  #known(request: string): Layer | undefined {
    const known = this.#resolved.get(request);
    return known && known.until > performance.now() ? this.#layers.get(known.key) : undefined;
  }

  #lease(layer: Layer): LayerLease {
    layer.users += 1;
    layer.usedAt = this.#clock += 1;
    let isHeld = true;
    return {
      key: layer.key,
      imageId: layer.imageId,
      packages: layer.packages,
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#free(layer);
      },
      lost: () => {
        if (this.#layers.get(layer.key) !== layer) return;
        this.#layers.delete(layer.key);
        void this.#options.letGo(layer.key);
      },
    };
  }

  /** One use less. What was over the bound because it was in use can go now. */
  #free(layer: Layer): void {
    layer.users -= 1;
    if (layer.users === 0 && this.bytes > this.#options.totalBytesMax) void this.#makeRoom();
  }

  /**
   * One resolution per request at a time, whoever asks. One that waits for its place goes with the last who waits for
   * it; one that has begun is seen through: who gave up waiting finds it there the next time.
   */
  async #resolve(
    request: string,
    base: LayerBase,
    lines: readonly string[],
    caller: string,
    signal: AbortSignal,
  ): Promise<void> {
    const resolving = this.#resolving.get(request) ?? this.#beginResolving(request, base, lines, caller);
    resolving.waiting += 1;
    try {
      await abortable(resolving.key, signal);
    } finally {
      resolving.waiting -= 1;
      if (resolving.waiting === 0 && !resolving.hasBegun) {
        this.#forgetResolving(request, resolving);
        resolving.abandon.abort(new Error('nobody waits for these packages any more'));
      }
    }
  }

  #beginResolving(request: string, base: LayerBase, lines: readonly string[], caller: string): Resolving {
    const abandon = new AbortController();
    const key = this.#inPlace(caller, abandon.signal, () => {
      resolving.hasBegun = true;
      return this.#build(request, base, lines, caller);
    })
      .catch((error: unknown) => {
        if (abandon.signal.aborted) throw error;
        const code = error instanceof ServiceError ? error.code : 'internal';
        this.#options.observe({ kind: 'failed', code, caller });
        if (error instanceof ServiceError && !PASSING.has(code)) {
          // No longer than its callers are told to wait before they try again.
          const rememberedMs = Math.min(REFUSAL_REMEMBERED_MS, (error.retryAfterSeconds ?? Infinity) * 1000);
          this.#refused.set(request, { error, until: performance.now() + rememberedMs });
          this.#forgetOld();
        }
        throw error;
      })
      .finally(() => {
        this.#forgetResolving(request, resolving);
      });
    key.catch(() => undefined);
    const resolving: Resolving = { key, waiting: 0, hasBegun: false, abandon };
    this.#resolving.set(request, resolving);
    return resolving;
  }

  #forgetResolving(request: string, resolving: Resolving): void {
    if (this.#resolving.get(request) === resolving) this.#resolving.delete(request);
  }

  /** A build in its place, when its caller's turn has come. */
  async #inPlace<T>(caller: string, abandoned: AbortSignal, build: () => Promise<T>): Promise<T> {
    const signal = AbortSignal.any([abandoned, this.#closing.signal]);
    const place = this.#options.places.reserve(signal, { callerId: caller });
    try {
      await place.ready;
      signal.throwIfAborted();
      return await build();
    } finally {
      place.release();
    }
  }

  async #build(request: string, base: LayerBase, lines: readonly string[], caller: string): Promise<string> {
    const { buildMsMax, indexAnswers, observe, openEgress, startBuilder } = this.#options;
    const timeout = AbortSignal.timeout(buildMsMax);
    const signal = AbortSignal.any([timeout, this.#closing.signal]);
    let channel: BuilderChannel | undefined;
    const egress = openEgress();
    const started = performance.now();
    let resolvedAt = started;
    try {
      if (!(await indexAnswers())) {
        throw new ServiceError('index_unreachable', 'The package index cannot be reached.');
      }
      channel = await startBuilder(base, signal);
      const opened = channel;
      // The container's end ends its frames, and so everything below.
      signal.addEventListener('abort', () => void opened.release(), { once: true });
      signal.throwIfAborted();
      let key = '';
      let elsewhere: Promise<void> | undefined;
      const mine = Promise.withResolvers<void>();
      mine.promise.catch(() => undefined);
      try {
        const { lock, tree } = await buildInContainer(opened, egress, this.#job(base, lines), {
          agree: (found) => {
            resolvedAt = performance.now();
            observe({ kind: 'phase', phase: 'resolve', durationMs: resolvedAt - started });
            observe({ kind: 'locked', packages: namesOf(found) });
            key = digest([FORMAT, base.id, found.site, found.lines]);
            // Markers can leave nothing to install: the base is the layer.
            if (found.lines.length === 0) this.#layers.set(key, emptyLayer(key, base));
            // Other requirements may have come to the same lock, before or right now.
            elsewhere = this.#building.get(key);
            if (this.#layers.has(key) || elsewhere) return false;
            this.#building.set(key, mine.promise);
            return true;
          },
          readTree: (tar) => this.#options.readTree(tar, signal),
        });
        let made: Layer | undefined;
        if (tree) {
          observe({ kind: 'phase', phase: 'install', durationMs: performance.now() - resolvedAt });
          made = await this.#seal(key, request, base, lock, tree, signal);
          const { bytes } = made;
          observe({ kind: 'installed', layer: key, image: base.reference, caller, lines: lock.lines, bytes });
        } else await elsewhere;
        this.#resolved.set(request, { key, until: performance.now() + this.#options.lockMsMax });
        this.#forgetOld();
        mine.resolve();
        // Those who wait for it take it before anything else happens; from then on it is in use by them.
        if (made)
          setImmediate((layer) => {
            this.#free(layer);
          }, made);
        return key;
      } catch (error) {
        mine.reject(error);
        throw error;
      } finally {
        if (this.#building.get(key) === mine.promise) this.#building.delete(key);
        this.#tidyWhenIdle();
      }
    } catch (error) {
      if (this.#closing.signal.aborted) throw this.#closing.signal.reason;
      if (timeout.aborted) {
        throw new ServiceError('installation_timeout', 'The packages could not be installed in time.', {
          cause: error,
          retryAfterSeconds: 30,
        });
      }
      throw error;
    } finally {
      egress.close();
      void channel?.release();
    }
  }

  #job(base: LayerBase, lines: readonly string[]): BuildJob {
    const { constraints, indexUrl, indexHosts, packagesMax, layerBytesMax, filesMax } = this.#options;
    return {
      requirements: lines,
      constraints,
      present: base.packages,
      indexUrl,
      indexHosts,
      packagesMax,
      bytesMax: layerBytesMax,
      filesMax,
    };
  }

  /** Makes the layer. It is in use: whoever asked for it has it until they took it. */
  async #seal(
    key: string,
    request: string,
    base: LayerBase,
    lock: Lock,
    tree: Project,
    signal: AbortSignal,
  ): Promise<Layer> {
    const started = performance.now();
    const packages = namesOf(lock);
    const labels = {
      [LAYER_LABEL.request]: request,
      [LAYER_LABEL.resolvedAt]: String(Date.now()),
      [LAYER_LABEL.packages]: packages.join(' '),
      [LAYER_LABEL.bytes]: String(tree.contentBytes),
    };
    this.#sealing += 1;
    try {
      await this.#tidying;
      // An image of the same name may be on its way out.
      await this.#leaving.get(key);
      const imageId = await this.#options.images.seal({
        key,
        baseImageId: base.id,
        tree,
        site: lock.site,
        labels,
        signal,
      });
      const usedAt = (this.#clock += 1);
      const layer: Layer = { key, imageId, packages, bytes: tree.contentBytes, users: 1, usedAt };
      this.#layers.set(key, layer);
      await this.#makeRoom();
      this.#options.observe({ kind: 'phase', phase: 'seal', durationMs: performance.now() - started });
      return layer;
    } catch (error) {
      this.#isUntidy = true;
      // The daemon may have made it although its answer never came.
      await this.#options.images.remove(key).catch(() => false);
      // What a failed build left; not beside another, whose images have no name yet.
      if (this.#sealing === 1) await this.#options.images.sweep().catch(() => undefined);
      throw error;
    } finally {
      this.#sealing -= 1;
      await tree.dispose();
    }
  }

  #tidyWhenIdle(): void {
    const isIdle = this.#building.size === 0 && !this.#closing.signal.aborted;
    if (this.#isUntidy && isIdle) this.#tidying ??= this.#tidy();
  }

  /** Removes images of builds that failed. What cannot be removed now is after a while, or a build. Never rejects. */
  async #tidy(): Promise<void> {
    const { images } = this.#options;
    try {
      await images.sweep();
      for (const { key } of await images.list()) if (!this.#layers.has(key)) await images.remove(key);
      this.#isUntidy = false;
    } catch {
      // The daemon is not well; nobody waits for this.
      setTimeout(() => {
        this.#tidyWhenIdle();
      }, TIDY_AGAIN_MS).unref();
    } finally {
      this.#tidying = undefined;
    }
  }

  /**
   * Forgets the layers that were used longest ago and are not in use, until the rest fits; one pass at a time. The one
   * used last stays, also where it alone does not fit.
   */
  #makeRoom(): Promise<void> {
    this.#makingRoom = this.#makingRoom.then(async () => {
      for (const layer of [...this.#layers.values()].sort((a, b) => a.usedAt - b.usedAt).slice(0, -1)) {
        if (this.bytes <= this.#options.totalBytesMax) return;
        if (layer.users > 0 || this.#layers.get(layer.key) !== layer) continue;
        // Out of the list first: nobody can begin to use it while it goes.
        this.#layers.delete(layer.key);
        const leaving = this.#takeAway(layer);
        this.#leaving.set(layer.key, leaving);
        await leaving;
        this.#leaving.delete(layer.key);
      }
    });
    return this.#makingRoom;
  }

  /** Never rejects; a layer that cannot be removed is a layer still. */
  async #takeAway(layer: Layer): Promise<void> {
    const { images, letGo } = this.#options;
    const isGone = await letGo(layer.key)
      .then(() => images.remove(layer.key))
      .catch(() => false);
    if (isGone) this.#options.observe({ kind: 'evicted', layer: layer.key, bytes: layer.bytes });
    else this.#layers.set(layer.key, layer);
  }

  #forgetOld(): void {
    const now = performance.now();
    for (const [request, { until }] of this.#resolved) if (until <= now) this.#resolved.delete(request);
    for (const [request, { until }] of this.#refused) if (until <= now) this.#refused.delete(request);
  }
}

const namesOf = ({ packages }: Lock) => packages.map(({ name, version }) => `${name}==${version}`);

function emptyLayer(key: string, base: LayerBase): Layer {
  return { key, imageId: base.id, packages: [], bytes: 0, users: 0, usedAt: 0 };
}
