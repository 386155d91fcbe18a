/**
 * Which image a `python_version` means: the operator's own table, and every image
 * that may be run and says in its label which Python it holds.
 */
import { ContractError } from './run-requests.ts';

export interface LabelledImage {
  readonly reference: string;
  readonly labels: Readonly<Record<string, string>>;
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
  for (const { reference, labels } of images) {
    const version = minorOf(labels[PYTHON_LABEL] ?? '');
    // Tags other than `latest` are kept for reproducing older runs.
    if (version !== undefined && (reference.endsWith(':latest') || !byVersion.has(version))) {
      byVersion.set(version, reference);
    }
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
