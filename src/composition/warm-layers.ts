/**
 * Which layers of packages are kept warm: those used lately, as many as the operator
 * wants, until nobody used them for a while. The sandboxes are the pool's.
 *
 * Only layers on an image that is kept warm itself: who starts every run cold wants
 * no sandbox to wait.
 */
import type { SandboxShape } from '../domain/plan.ts';
import { shapeKey, type PoolTarget } from '../sandbox/pool-shelf.ts';
import type { PoolSize } from './pool-targets.ts';

/** One in use and one that waits: a start that refills need not begin before the run it follows has ended. */
const MEMBERS_MIN = 2;

export interface WarmLayersOptions {
  /** Layers at one time; 0: none. */
  readonly max: number;
  /** Ms without a use after which a layer is let go. */
  readonly idleMsMax: number;
  /** How many sandboxes of a layer's image are kept without a layer. */
  readonly sizeOfImage: (image: string) => PoolSize | undefined;
  /** Called when `targets` changed; resolves when the sandboxes that are not wanted any more are gone. */
  readonly onChange: () => Promise<void>;
}

interface Kept {
  readonly target: PoolTarget;
  readonly layer: string;
  usedAt: number;
}

export class WarmLayers {
  readonly #options: WarmLayersOptions;
  /** By what distinguishes their sandboxes; the one used longest ago first. */
  readonly #kept = new Map<string, Kept>();

  constructor(options: WarmLayersOptions) {
    this.#options = options;
  }

  /** What the pool is to keep for layers. */
  targets(): readonly PoolTarget[] {
    const { idleMsMax } = this.#options;
    const now = performance.now();
    for (const [key, { usedAt }] of this.#kept) if (now - usedAt > idleMsMax) this.#kept.delete(key);
    return [...this.#kept.values()].map(({ target }) => target);
  }

  /** A run is about to use this shape. */
  used(shape: SandboxShape): void {
    const { max, onChange, sizeOfImage } = this.#options;
    const size = sizeOfImage(shape.image);
    if (shape.layer === undefined || max === 0 || !size || size.max === 0) return;
    const key = shapeKey(shape);
    const known = this.#kept.get(key);
    this.#kept.delete(key);
    const target = { shape, min: Math.min(MEMBERS_MIN, size.max), max: size.max };
    this.#kept.set(key, { target: known?.target ?? target, layer: shape.layer, usedAt: performance.now() });
    if (known) return;
    for (const oldest of [...this.#kept.keys()].slice(0, -max)) this.#kept.delete(oldest);
    void onChange();
  }

  /** The layer is to go, or is gone. Resolves when no sandbox waits on it. */
  async forget(layer: string): Promise<void> {
    for (const [key, kept] of this.#kept) if (kept.layer === layer) this.#kept.delete(key);
    await this.#options.onChange();
  }
}
