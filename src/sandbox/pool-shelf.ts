/**
 * The warm sandboxes of one shape, those who wait for one, and how many are wanted.
 *
 * A shelf follows demand between two bounds: half as many more once a run found none
 * ready, one less once that many were never needed at one time for a while. It starts
 * and removes nothing: see warm-pool.ts.
 */
import type { SandboxShape } from '../domain/plan.ts';
import type { Lease } from './cold-start.ts';
import type { RetryPause } from './retry-pause.ts';

/** How many members of a shape are kept: at rest `min`, up to `max` when runs found none ready. */
export interface PoolTarget {
  readonly shape: SandboxShape;
  readonly min: number;
  readonly max: number;
}

export interface Member {
  readonly lease: Lease;
  /** Monotonic ms. */
  readonly bornAt: number;
}

export interface Waiter {
  /** Monotonic ms. */
  readonly since: number;
  readonly resolve: (member: Member) => void;
  readonly reject: (error: unknown) => void;
}

/** After so many calls of `shrink` in which a member was never needed, it goes. */
const IDLE_TURNS = 4;

/** What cannot be changed once a container runs. */
export function shapeKey(shape: SandboxShape): string {
  const { imageId, runtime, network, workBytes, tmpBytes, preimports } = shape;
  return [imageId, runtime, network, workBytes, tmpBytes, preimports.join(' ')].join('\n');
}

export class Shelf {
  target: PoolTarget;
  /** How many are wanted now, between the bounds of the target. */
  wanted: number;
  /** Starts under way. */
  starting = 0;
  /** Until when nothing is started for a shelf that is half full; monotonic ms. */
  quietUntil = 0;
  readonly members: Member[] = [];
  readonly waiters = new Set<Waiter>();
  /** After failed starts of this shape. */
  readonly pause: RetryPause;
  /** The fewest members that were ready at one time since `shrink` looked last. */
  #lowest = 0;
  /** How often in a row `shrink` found that one less would have done. */
  #idleTurns = 0;

  constructor(target: PoolTarget, pause: RetryPause) {
    this.target = target;
    this.wanted = target.min;
    this.pause = pause;
  }

  get isHalfFull(): boolean {
    return this.members.length > 0 && this.members.length * 2 >= this.wanted;
  }

  /** Nobody waits for this shelf, and nothing is about to be put on it. */
  get isUnused(): boolean {
    return this.waiters.size === 0 && this.starting === 0;
  }

  aimAt(target: PoolTarget): void {
    this.target = target;
    this.wanted = Math.min(target.max, Math.max(target.min, this.wanted));
  }

  /** Takes the oldest member from the shelf, dead or alive. */
  shift(): Member | undefined {
    const member = this.members.shift();
    this.#lowest = Math.min(this.#lowest, this.members.length);
    return member;
  }

  /** A run found none ready: half as many more are kept, within the bound. */
  grow(): void {
    this.#lowest = 0;
    this.wanted = Math.min(this.target.max, this.wanted + Math.max(1, Math.floor(this.wanted / 2)));
    this.#idleTurns = 0;
  }

  /**
   * One member less, once that many were never needed at one time for a while.
   * @returns the member that is not wanted any more, off the shelf.
   */
  shrink(): Member | undefined {
    const isSpare = this.wanted > this.target.min && this.#lowest > 0;
    this.#idleTurns = isSpare ? this.#idleTurns + 1 : 0;
    let surplus: Member | undefined;
    if (this.#idleTurns >= IDLE_TURNS) {
      this.wanted -= 1;
      this.#idleTurns = IDLE_TURNS - 1;
      surplus = this.members.length > this.wanted ? this.members.shift() : undefined;
    }
    this.#lowest = this.members.length;
    return surplus;
  }
}
