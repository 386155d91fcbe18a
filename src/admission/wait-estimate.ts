/**
 * How long waiting will take: from how long places were held so far, and from who
 * waits. Pure arithmetic; it decides nothing.
 */
import { CountTree } from './count-tree.ts';

/** Weight of the newest observation in the running mean. */
const NEWEST_WEIGHT = 1 / 8;

export class WaitEstimate {
  readonly #concurrent: number;
  /** How many callers have exactly so many jobs waiting, and how many jobs those are. */
  readonly #callersBySize: CountTree;
  readonly #jobsBySize: CountTree;
  #callers = 0;
  #meanHeldMs: number | undefined;

  constructor(options: { concurrent: number; queueMax: number }) {
    this.#concurrent = options.concurrent;
    this.#callersBySize = new CountTree(options.queueMax + 1);
    this.#jobsBySize = new CountTree(options.queueMax + 1);
  }

  /** A place was held for so long. */
  held(durationMs: number): void {
    this.#meanHeldMs =
      this.#meanHeldMs === undefined ? durationMs : this.#meanHeldMs + NEWEST_WEIGHT * (durationMs - this.#meanHeldMs);
  }

  /** A caller had `before` jobs waiting and has `after`. */
  resized(before: number, after: number): void {
    for (const [size, change] of [
      [before, -1],
      [after, 1],
    ] as const) {
      if (size === 0) continue;
      this.#callersBySize.add(size, change);
      this.#jobsBySize.add(size, change * size);
      this.#callers += change;
    }
  }

  /**
   * How many waiting jobs of other callers go before the `rank`th of a caller who has `size` waiting, when
   * each of the others has `turns` turns before it.
   */
  othersAhead(size: number, turns: number): number {
    const all = this.#jobsBySize.upTo(turns) + turns * (this.#callers - this.#callersBySize.upTo(turns));
    return all - Math.min(size, turns);
  }

  /** Until so many have begun, in milliseconds; undefined as long as nothing was observed. */
  untilBegun(count: number, concurrent = this.#concurrent): number | undefined {
    return this.#meanHeldMs === undefined
      ? undefined
      : (this.#meanHeldMs * count) / Math.min(concurrent, this.#concurrent);
  }
}
