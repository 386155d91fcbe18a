/**
 * Which image a `python_version` means: the operator's own table, and every image
 * that may be run and says in its label which Python it holds.
 */
import { ContractError } from './run-requests.ts';

export interface LabelledImage {
  readonly reference: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Whether it is the operator's default. */
  readonly isDefault: boolean;
}

const PYTHON_LABEL = 'pyexec.python';

/** `3.13` of `3.13.5`. */
function minorOf(version: string): string | undefined {
  return /^(\d+\.\d+)(\.|$)/.exec(version)?.[1];
}

/** A reference without what Docker leaves out when it lists: its own registry; and with the tag it adds. */
function listedForm(reference: string): string {
  const short = reference.replace(/^docker\.io\/(?:library\/)?/, '');
  return short.includes('@') || short.lastIndexOf(':') > short.lastIndexOf('/') ? short : `${short}:latest`;
}

/** A reference without its tag or digest. */
function repositoryOf(reference: string): string {
  const listed = listedForm(reference);
  return listed.slice(0, listed.includes('@') ? listed.indexOf('@') : listed.lastIndexOf(':'));
}

/**
 * How well an image stands for its version; more is better. The default image's other
 * versions hold the same packages. Tags that are neither `latest` nor a version are
 * kept for reproducing older runs.
 */
function suitability({ reference, isDefault }: LabelledImage, version: string, defaultRepository: string | undefined) {
  const isCurrent = reference.endsWith(':latest') || reference.endsWith(`:${version}`);
  return (isDefault ? 4 : 0) + (repositoryOf(reference) === defaultRepository ? 2 : 0) + (isCurrent ? 1 : 0);
}

/**
 * @param images what is on this machine and may be run.
 * @param configured `version=image` pairs of the operator; they win, as far as their images are there.
 * @returns images by version, as `3.13`.
 */
export function imagesByVersion(
  images: readonly LabelledImage[],
  configured: readonly (readonly [string, string])[],
): ReadonlyMap<string, string> {
  const byVersion = new Map<string, string>();
  const best = new Map<string, number>();
  const chosen = images.find(({ isDefault }) => isDefault);
  const defaultRepository = chosen && repositoryOf(chosen.reference);
  for (const image of images) {
    const version = minorOf(image.labels[PYTHON_LABEL] ?? '');
    if (version === undefined) continue;
    const suits = suitability(image, version, defaultRepository);
    if (suits <= (best.get(version) ?? -1)) continue;
    best.set(version, suits);
    byVersion.set(version, image.reference);
  }
  const present = new Set(images.map(({ reference }) => listedForm(reference)));
  for (const [version, image] of configured) {
    if (present.has(listedForm(image))) byVersion.set(version, image);
    else byVersion.delete(version);
  }
  return byVersion;
}

/** @throws {ContractError} naming the versions there are. */
export function imageForVersion(version: string, available: ReadonlyMap<string, string>): string {
  const image = available.get(version);
  if (image === undefined) {
    const supported = [...available.keys()].sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).join(', ');
    throw new ContractError(
      400,
      `unsupported python_version ${JSON.stringify(version)}; supported versions: ${supported}`,
    );
  }
  return image;
}
