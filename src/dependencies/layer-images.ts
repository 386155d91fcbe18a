/**
 * Layers as images of the daemon: what their labels say. The labels are all the state there is.
 *
 * A layer is an image that was complete when it got its name; half of one has none.
 */
import { createHash } from 'node:crypto';
import type { Project } from '../domain/project.ts';
import type { Layer } from './layer-shelf.ts';

/** Raised when what a layer holds changes although its lock does not: hooks removed, byte code, place. */
export const LAYER_FORMAT = 2;

/** What things are known by that are made of these values. */
export const digest = (value: unknown) => createHash('sha256').update(JSON.stringify(value)).digest('hex');

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

/** The labels of a layer that is made now. */
export function layerLabels(made: {
  readonly request: string;
  readonly packages: readonly string[];
  readonly bytes: number;
}): Readonly<Record<string, string>> {
  return {
    [LAYER_LABEL.request]: made.request,
    [LAYER_LABEL.resolvedAt]: String(Date.now()),
    [LAYER_LABEL.packages]: made.packages.join(' '),
    [LAYER_LABEL.bytes]: String(made.bytes),
  };
}

/** A layer by its image, what it was asked for by, and when (ms since the epoch); undefined for none that was made here. */
export function layerOf({
  key,
  id,
  labels,
}: {
  readonly key: string;
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
}): { readonly layer: Layer; readonly request: string | undefined; readonly resolvedAt: number } | undefined {
  const bytes = Number(labels[LAYER_LABEL.bytes] ?? NaN);
  const resolvedAt = Number(labels[LAYER_LABEL.resolvedAt] ?? NaN);
  if (!Number.isSafeInteger(bytes) || bytes < 0 || !Number.isSafeInteger(resolvedAt)) return undefined;
  const packages = (labels[LAYER_LABEL.packages] ?? '').split(' ').filter((name) => name !== '');
  return { layer: { key, imageId: id, packages, bytes }, request: labels[LAYER_LABEL.request], resolvedAt };
}
