/**
 * Started sandboxes that answered a handshake and wait for one plan each.
 *
 * A member is handed out once and destroyed after its run; nothing comes back.
 * What is kept warm is a list of shapes; a plan fits a member when everything
 * that cannot change in a live container is equal, the rest is updated before the
 * code is released. Whoever finds no member waits for the next one that becomes
 * ready, and starts are shared between those who wait and those who refill.
 *
 * At rest nothing runs here and nothing runs in the members: both sleep in poll.
 */
import type { SandboxShape } from '../domain/plan.ts';
import type { Lease } from './cold-start.ts';
import { threadsOf } from './supervisor/protocol.ts';
import type { ContainerResources, DockerDaemon } from './docker-daemon.ts';

/** How many members of a shape are kept: at rest `min`, up to `max` when runs found none ready. */
export interface PoolTarget {
  readonly shape: SandboxShape;
  readonly min: number;
  readonly max: number;
}

export type PoolEvent =
  | { readonly kind: 'hit'; readonly ageMs: number; readonly preimported: boolean; readonly shape: SandboxShape }
  /** Without a shape where none of it are kept. */
  | { readonly kind: 'miss'; readonly shape?: SandboxShape }
  | { readonly kind: 'refilled'; readonly durationMs: number; readonly shape: SandboxShape }
  | { readonly kind: 'refill_failed'; readonly error: unknown; readonly shape: SandboxShape }
  | {
      readonly kind: 'discarded';
      readonly reason: 'died' | 'aged' | 'stale' | 'surplus' | 'update_failed';
      readonly shape: SandboxShape;
    };

/** What there is of one shape. */
export interface ShelfView {
  readonly shape: SandboxShape;
  readonly ready: number;
  readonly wanted: number;
}

export interface WarmPoolOptions {
  readonly start: (shape: SandboxShape, signal: AbortSignal) => Promise<Lease>;
  readonly daemon: Pick<DockerDaemon, 'update'>;
  /** Members older than this are replaced. */
  readonly ageMsMax: number;
  /** Starts at one time for those who wait. */
  readonly concurrentStarts: number;
  /** Runs in progress: while there are any, refilling takes one start at a time. */
  readonly activeRuns: () => number;
  readonly observe: (event: PoolEvent) => void;
}

interface Member {
  readonly lease: Lease;
  readonly bornAt: number;
}

interface Waiter {
  readonly resolve: (member: Member) => void;
  readonly reject: (error: unknown) => void;
}

/** All members of one shape, and those who wait for one. */
interface Shelf {
  target: PoolTarget;
  /** How many are wanted now, between the bounds of the target. */
  wanted: number;
  /** The fewest members that were ready at one time since `maintain` looked last. */
  lowest: number;
  /** How often in a row `maintain` found that one less would have done. */
  idleTurns: number;
  /** Until when nothing is started for a shelf that is half full; monotonic ms. */
  quietUntil: number;
  readonly members: Member[];
  readonly waiters: Set<Waiter>;
  starting: number;
}

/** After so many calls of `maintain` in which a member was never needed, it goes. */
const IDLE_TURNS = 4;
/** While at least half of the members are ready, a start waits this long: it takes the processors from the run. */
const REFILL_PAUSE_MS = 60;
const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 30_000;

/** What cannot be changed once a container runs. */
export function shapeKey(shape: SandboxShape): string {
  const { imageId, runtime, network, workBytes, tmpBytes, preimports } = shape;
  return [imageId, runtime, network, workBytes, tmpBytes, preimports.join(' ')].join('\n');
}

function isHalfFull({ members, wanted }: Shelf): boolean {
  return members.length > 0 && members.length * 2 >= wanted;
}

function resourcesOf(shape: SandboxShape): ContainerResources {
  return { memoryBytes: shape.memoryBytes, pids: shape.pids, cpus: shape.cpus };
}

function hasResources(has: SandboxShape, wants: SandboxShape): boolean {
  return has.memoryBytes === wants.memoryBytes && has.pids === wants.pids && has.cpus === wants.cpus;
}

export class WarmPool {
  readonly #options: WarmPoolOptions;
  readonly #shelves = new Map<string, Shelf>();
  readonly #closing = new AbortController();
  readonly #starts = new Set<Promise<void>>();
  readonly #leaving = new Set<Promise<void>>();
  #backoffMs = 0;
  /** After a pause one start alone tries whether the daemon is well again. */
  #isProbing = false;
  #retryTimer: NodeJS.Timeout | undefined;
  /** Until when nobody but those who wait causes a start; monotonic ms. */
  #restUntil = 0;
  #restTimer: NodeJS.Timeout | undefined;

  constructor(options: WarmPoolOptions) {
    this.#options = options;
  }

  get readyCount(): number {
    return this.#sum((shelf) => shelf.members.length);
  }

  get targetCount(): number {
    return this.#sum((shelf) => shelf.wanted);
  }

  /** What is kept, shape by shape. */
  get shelves(): readonly ShelfView[] {
    return [...this.#shelves.values()].map(({ target: { shape }, members, wanted }) => {
      return { shape, ready: members.length, wanted };
    });
  }

  /** Sets what is kept warm. Members of other shapes go; those of known shapes stay. */
  setTargets(targets: readonly PoolTarget[]): void {
    const wanted = new Map(targets.filter(({ max }) => max > 0).map((target) => [shapeKey(target.shape), target]));
    for (const [key, shelf] of this.#shelves) {
      const target = wanted.get(key);
      if (target) {
        shelf.target = target;
        shelf.wanted = Math.min(target.max, Math.max(target.min, shelf.wanted));
      } else {
        shelf.target = { ...shelf.target, min: 0, max: 0 };
        shelf.wanted = 0;
        for (const member of shelf.members.splice(0)) this.#discard(member, 'stale');
        if (shelf.waiters.size === 0 && shelf.starting === 0) this.#shelves.delete(key);
      }
    }
    for (const [key, target] of wanted) {
      if (!this.#shelves.has(key)) {
        const none = { lowest: 0, idleTurns: 0, quietUntil: 0, members: [], waiters: new Set<Waiter>(), starting: 0 };
        this.#shelves.set(key, { target, wanted: target.min, ...none });
      }
    }
    this.#refill();
  }

  /** Resolves when the members that were destroyed unused until now are gone. */
  async discardsDone(): Promise<void> {
    await Promise.all(this.#leaving);
  }

  /** Replaces members that are too old or dead, lets go of those nobody needs, and goes on filling. To be called at an interval. */
  maintain(): void {
    const now = performance.now();
    for (const shelf of this.#shelves.values()) {
      const gone = shelf.members.filter(
        ({ lease, bornAt }) => !lease.sandbox.isAlive || now - bornAt > this.#options.ageMsMax,
      );
      for (const member of gone) {
        shelf.members.splice(shelf.members.indexOf(member), 1);
        this.#discard(member, member.lease.sandbox.isAlive ? 'aged' : 'died');
      }
      this.#shrink(shelf);
    }
    this.#refill();
  }

  /** The sets of modules that members are kept with which otherwise are of this shape. */
  preimportsOffered(shape: SandboxShape): readonly (readonly string[])[] {
    const offered = [];
    for (const [key, { target }] of this.#shelves) {
      const { preimports, cpus } = target.shape;
      if (threadsOf(cpus) !== threadsOf(shape.cpus)) continue;
      if (preimports.length > 0 && target.max > 0 && key === shapeKey({ ...shape, preimports }))
        offered.push(preimports);
    }
    return offered;
  }

  /**
   * A sandbox for a plan of this shape, with exactly the limits of the shape.
   * What is imported beforehand saves time only where it has been: where no member is ready,
   * the program gets a sandbox without.
   * @throws {ServiceError} as a cold start does, when there is no member and none can be started.
   */
  async take(shape: SandboxShape, signal: AbortSignal): Promise<Lease> {
    const shelf = this.#shelves.get(shapeKey(shape));
    if (shape.preimports.length > 0) {
      const member = shelf && this.#pop(shelf);
      if (shelf && member && (await this.#fit(member, shape))) {
        this.#refillAfterwards(shelf);
        return member.lease;
      }
      if (shelf) this.#grow(shelf);
      this.#refill();
      return this.take({ ...shape, preimports: [] }, signal);
    }
    if (!shelf || shelf.target.max === 0) {
      this.#options.observe({ kind: 'miss' });
      return this.#options.start(shape, signal);
    }
    const ready = this.#pop(shelf);
    if (!ready) this.#grow(shelf);
    const member = ready ?? (await this.#wait(shelf, signal));
    const fits = await this.#fit(member, shape);
    this.#refillAfterwards(shelf);
    // A daemon that does not change limits now may not change them for the next one either: this one is made with them.
    return fits ? member.lease : this.#options.start(shape, signal);
  }

  /**
   * A member of this shape that is ready now and needs no change, unless others wait for one.
   * For those who would do something else meanwhile rather than wait.
   */
  takeReady(shape: SandboxShape): Lease | undefined {
    const shelf = this.#shelves.get(shapeKey(shape));
    if (!shelf || shelf.waiters.size > 0) return undefined;
    const next = shelf.members.find(({ lease }) => lease.sandbox.isAlive);
    if (!next || !hasResources(next.lease.sandbox.shape, shape)) return undefined;
    const member = this.#pop(shelf);
    if (member) this.#refillAfterwards(shelf);
    return member?.lease;
  }

  /** Removes every member and starts no more. Resolves when they are handed to removal. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the pool is closing'));
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#restTimer);
    for (const shelf of this.#shelves.values()) {
      for (const waiter of shelf.waiters) waiter.reject(this.#closing.signal.reason);
      shelf.waiters.clear();
    }
    await Promise.all(this.#starts);
    for (const shelf of this.#shelves.values()) {
      for (const { lease } of shelf.members.splice(0)) void lease.release();
    }
  }

  /** The oldest member that is alive: the youngest have the longest still to live. */
  #pop(shelf: Shelf): Member | undefined {
    for (let member = shelf.members.shift(); member; member = shelf.members.shift()) {
      shelf.lowest = Math.min(shelf.lowest, shelf.members.length);
      if (member.lease.sandbox.isAlive) {
        const preimported = shelf.target.shape.preimports.length > 0;
        const { shape } = shelf.target;
        this.#options.observe({ kind: 'hit', ageMs: performance.now() - member.bornAt, preimported, shape });
        return member;
      }
      this.#discard(member, 'died');
    }
    return undefined;
  }

  /** A run found none ready: half as many more are kept, within the bound. */
  #grow(shelf: Shelf): void {
    shelf.lowest = 0;
    shelf.wanted = Math.min(shelf.target.max, shelf.wanted + Math.max(1, Math.floor(shelf.wanted / 2)));
    shelf.idleTurns = 0;
  }

  /** One member less, once that many were never needed at one time for a while. */
  #shrink(shelf: Shelf): void {
    const isSpare = shelf.wanted > shelf.target.min && shelf.lowest > 0;
    shelf.idleTurns = isSpare ? shelf.idleTurns + 1 : 0;
    if (shelf.idleTurns >= IDLE_TURNS) {
      shelf.wanted -= 1;
      shelf.idleTurns = IDLE_TURNS - 1;
      const surplus = shelf.members.length > shelf.wanted ? shelf.members.shift() : undefined;
      if (surplus) this.#discard(surplus, 'surplus');
    }
    shelf.lowest = shelf.members.length;
  }

  async #wait(shelf: Shelf, signal: AbortSignal): Promise<Member> {
    this.#options.observe({ kind: 'miss', shape: shelf.target.shape });
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    let onAbort: () => void = () => undefined;
    try {
      return await new Promise<Member>((resolve, reject) => {
        const waiter: Waiter = { resolve, reject };
        onAbort = () => {
          shelf.waiters.delete(waiter);
          reject(signal.reason instanceof Error ? signal.reason : new Error('cancelled'));
        };
        shelf.waiters.add(waiter);
        signal.addEventListener('abort', onAbort, { once: true });
        this.#backoffMs = 0;
        this.#refill();
      });
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Gives the member the limits of the shape; false when it cannot have them, and is gone. */
  async #fit(member: Member, shape: SandboxShape): Promise<boolean> {
    const { sandbox } = member.lease;
    if (hasResources(sandbox.shape, shape)) return true;
    try {
      await this.#options.daemon.update(sandbox.containerId, resourcesOf(shape));
      return true;
    } catch {
      this.#discard(member, 'update_failed');
      return false;
    }
  }

  /** Leaves the processors to the run that begins, as long as others find a member. */
  #refillAfterwards(shelf: Shelf): void {
    const now = performance.now();
    if (now >= shelf.quietUntil && isHalfFull(shelf)) {
      shelf.quietUntil = now + REFILL_PAUSE_MS;
      const timer = setTimeout(() => {
        shelf.quietUntil = 0;
        this.#refill();
      }, REFILL_PAUSE_MS);
      timer.unref();
    }
    this.#refill();
  }

  #refill(): void {
    if (this.#closing.signal.aborted) return;
    const { concurrentStarts, activeRuns } = this.#options;
    const isResting = performance.now() < this.#restUntil;
    for (const shelf of this.#shelves.values()) {
      const canWait = shelf.members.length > 0 && shelf.waiters.size === 0;
      if (canWait && (isResting || (shelf.quietUntil > 0 && isHalfFull(shelf)))) continue;
      for (;;) {
        const inAll = this.#sum(({ starting }) => starting);
        const forWaiters = shelf.waiters.size - shelf.starting;
        const missing = shelf.wanted + shelf.waiters.size - shelf.members.length - shelf.starting;
        const limit =
          forWaiters > 0
            ? concurrentStarts
            : this.#backoffMs > 0
              ? 0
              : activeRuns() > 0 || this.#isProbing
                ? 1
                : concurrentStarts;
        if (missing <= 0 || inAll >= limit) break;
        this.#startOne(shelf);
      }
    }
  }

  #startOne(shelf: Shelf): void {
    shelf.starting += 1;
    const started = performance.now();
    const start = this.#options
      .start(shelf.target.shape, this.#closing.signal)
      .then(
        (lease) => {
          shelf.starting -= 1;
          this.#backoffMs = 0;
          this.#isProbing = false;
          this.#rest(performance.now() - started);
          const { shape } = lease.sandbox;
          this.#options.observe({ kind: 'refilled', durationMs: performance.now() - started, shape });
          this.#shelve(shelf, { lease, bornAt: performance.now() });
        },
        (error: unknown) => {
          shelf.starting -= 1;
          this.#failed(shelf, error);
        },
      )
      .finally(() => {
        this.#starts.delete(start);
        this.#refill();
      });
    this.#starts.add(start);
  }

  /** After a start beside running programs none follows for as long as it took: they have at least half of the time to themselves. */
  #rest(durationMs: number): void {
    clearTimeout(this.#restTimer);
    this.#restUntil = 0;
    if (this.#options.activeRuns() === 0) return;
    this.#restUntil = performance.now() + durationMs;
    this.#restTimer = setTimeout(() => {
      this.#restUntil = 0;
      this.#refill();
    }, durationMs);
    this.#restTimer.unref();
  }

  #shelve(shelf: Shelf, member: Member): void {
    const next = shelf.waiters.values().next();
    if (!next.done) {
      shelf.waiters.delete(next.value);
      next.value.resolve(member);
    } else if (this.#closing.signal.aborted || shelf.target.max === 0) {
      void member.lease.release();
    } else {
      shelf.members.push(member);
    }
  }

  /** A start failed: whoever waits longest hears it; refilling pauses, longer each time. */
  #failed(shelf: Shelf, error: unknown): void {
    if (this.#closing.signal.aborted) return;
    this.#options.observe({ kind: 'refill_failed', error, shape: shelf.target.shape });
    const next = shelf.waiters.values().next();
    if (!next.done) {
      shelf.waiters.delete(next.value);
      next.value.reject(error);
    }
    this.#backoffMs = Math.min(BACKOFF_MS_MAX, Math.max(BACKOFF_MS_MIN, this.#backoffMs * 2));
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => {
      const pause = this.#backoffMs;
      this.#backoffMs = 0;
      this.#isProbing = true;
      this.#refill();
      // Remembered until a start succeeds, so that the next failure waits longer.
      if (this.#starts.size > 0) this.#backoffMs = pause;
    }, this.#backoffMs);
    this.#retryTimer.unref();
  }

  #discard(member: Member, reason: Extract<PoolEvent, { kind: 'discarded' }>['reason']): void {
    this.#options.observe({ kind: 'discarded', reason, shape: member.lease.sandbox.shape });
    const leaving = member.lease.release().finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
  }

  #sum(of: (shelf: Shelf) => number): number {
    let sum = 0;
    for (const shelf of this.#shelves.values()) sum += of(shelf);
    return sum;
  }
}
