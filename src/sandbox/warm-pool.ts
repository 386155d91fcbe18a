/**
 * Started sandboxes that answered a handshake and wait for one plan each.
 *
 * A member is handed out once and destroyed after its run; nothing comes back.
 * What is kept warm is a list of shapes; a plan fits a member when everything
 * that cannot change in a live container is equal, the rest is updated before the
 * code is released. Whoever finds no member waits for the next one that becomes
 * ready, and starts are shared between those who wait and those who refill.
 *
 * At rest nothing runs here and nothing runs in the members: both sleep in poll. Only `maintain` asks each member
 * whether it is there, which takes it a fraction of a millisecond.
 */
import type { SandboxShape } from '../domain/plan.ts';
import type { Lease } from './cold-start.ts';
import type { ContainerResources, DockerDaemon } from './docker-daemon.ts';
import { Shelf, shapeKey, type Member, type PoolTarget, type Waiter } from './pool-shelf.ts';
import { RetryPause } from './retry-pause.ts';
import type { Sandbox } from './sandbox.ts';
import { StartDrought } from './start-drought.ts';
import { threadsOf } from './supervisor/protocol.ts';

export type PoolEvent =
  | { readonly kind: 'hit'; readonly ageMs: number; readonly preimported: boolean; readonly shape: SandboxShape }
  /** Without a shape where none of it are kept. */
  | { readonly kind: 'miss'; readonly shape?: SandboxShape }
  | { readonly kind: 'refilled'; readonly durationMs: number; readonly shape: SandboxShape }
  | { readonly kind: 'refill_failed'; readonly error: unknown; readonly shape: SandboxShape }
  | {
      readonly kind: 'discarded';
      readonly reason: 'died' | 'silent' | 'aged' | 'stale' | 'surplus' | 'update_failed';
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
  readonly daemon: Pick<DockerDaemon, 'ping' | 'update'>;
  /** Members older than this are replaced. */
  readonly ageMsMax: number;
  /** Starts at one time for those who wait. */
  readonly concurrentStarts: number;
  /** Runs in progress: while there are any, refilling takes one start at a time. */
  readonly activeRuns: () => number;
  readonly observe: (event: PoolEvent) => void;
}

/** How long a member may take to answer when it is asked whether it is there; usually it is a millisecond. */
const ANSWER_WITHIN_MS = 3_000;
/** While at least half of the members are ready, a start waits this long: it takes the processors from the run. */
const REFILL_PAUSE_MS = 60;

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
  readonly #drought = new StartDrought();
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
        shelf.aimAt(target);
      } else {
        shelf.aimAt({ ...shelf.target, min: 0, max: 0 });
        for (const member of shelf.members.splice(0)) this.#discard(member, 'stale');
        if (!shelf.isUnused) continue;
        shelf.pause.end();
        this.#shelves.delete(key);
      }
    }
    for (const [key, target] of wanted) {
      if (this.#shelves.has(key)) continue;
      const pause = new RetryPause(() => {
        this.#refill();
        return (this.#shelves.get(key)?.starting ?? 0) > 0;
      });
      this.#shelves.set(key, new Shelf(target, pause));
    }
    this.#refill();
  }

  /** Resolves when the members that were destroyed unused until now are gone. */
  async discardsDone(): Promise<void> {
    await Promise.all(this.#leaving);
  }

  /** To be called when somebody paused a container: one that waits here would not begin the run it is given. */
  standsStill(containerId: string): void {
    for (const shelf of this.#shelves.values()) {
      const at = shelf.members.findIndex(({ lease }) => lease.sandbox.containerId === containerId);
      for (const member of at < 0 ? [] : shelf.members.splice(at, 1)) this.#discard(member, 'silent');
    }
    this.#refill();
  }

  /** Replaces members that are too old, dead or silent, lets go of those nobody needs, and goes on filling. To be called at an interval. */
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
      for (const { lease } of shelf.members) void this.#ask(lease.sandbox);
      const surplus = shelf.shrink();
      if (surplus) this.#discard(surplus, 'surplus');
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
      if (shelf) shelf.grow();
      this.#refill();
      return this.take({ ...shape, preimports: [] }, signal);
    }
    if (!shelf || shelf.target.max === 0) {
      this.#options.observe({ kind: 'miss' });
      return this.#options.start(shape, signal);
    }
    const ready = this.#pop(shelf);
    if (!ready) shelf.grow();
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
    clearTimeout(this.#restTimer);
    for (const shelf of this.#shelves.values()) {
      shelf.pause.end();
      for (const waiter of shelf.waiters) waiter.reject(this.#closing.signal.reason);
      shelf.waiters.clear();
    }
    await Promise.all(this.#starts);
    for (const shelf of this.#shelves.values()) {
      for (const { lease } of shelf.members.splice(0)) void lease.release();
    }
  }

  /** A member that does not answer goes, unless it was handed out meanwhile. */
  async #ask(sandbox: Sandbox): Promise<void> {
    if (await sandbox.answers(ANSWER_WITHIN_MS)) return;
    try {
      await this.#options.daemon.ping();
    } catch {
      // A daemon that hangs passes nothing on: that says nothing of the member.
      return;
    }
    if (!(await sandbox.answers(ANSWER_WITHIN_MS))) this.standsStill(sandbox.containerId);
  }

  /** The oldest member that is alive: the youngest have the longest still to live. */
  #pop(shelf: Shelf): Member | undefined {
    for (let member = shelf.shift(); member; member = shelf.shift()) {
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

  async #wait(shelf: Shelf, signal: AbortSignal): Promise<Member> {
    this.#options.observe({ kind: 'miss', shape: shelf.target.shape });
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    let onAbort: () => void = () => undefined;
    try {
      return await new Promise<Member>((resolve, reject) => {
        const waiter: Waiter = { since: performance.now(), resolve, reject };
        onAbort = () => {
          shelf.waiters.delete(waiter);
          reject(signal.reason instanceof Error ? signal.reason : new Error('cancelled'));
        };
        shelf.waiters.add(waiter);
        signal.addEventListener('abort', onAbort, { once: true });
        shelf.pause.skip();
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
    if (now >= shelf.quietUntil && shelf.isHalfFull) {
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
      if (canWait && (isResting || (shelf.quietUntil > 0 && shelf.isHalfFull))) continue;
      for (;;) {
        const inAll = this.#sum(({ starting }) => starting);
        const forWaiters = shelf.waiters.size - shelf.starting;
        const missing = shelf.wanted + shelf.waiters.size - shelf.members.length - shelf.starting;
        const limit = forWaiters > 0 || activeRuns() === 0 ? concurrentStarts : 1;
        const ofShelf = forWaiters > 0 ? concurrentStarts : shelf.pause.attemptsMax;
        if (missing <= 0 || inAll >= limit || shelf.starting >= ofShelf) break;
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
          shelf.pause.succeeded();
          this.#drought.succeeded();
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

  /** A start failed: whoever waits longest hears it; refilling with this shape pauses, longer each time. */
  #failed(shelf: Shelf, error: unknown): void {
    if (this.#closing.signal.aborted) return;
    this.#options.observe({ kind: 'refill_failed', error, shape: shelf.target.shape });
    let isFirst = true;
    for (const waiter of shelf.waiters) {
      if (!isFirst && !this.#drought.concerns(waiter.since)) break;
      isFirst = false;
      shelf.waiters.delete(waiter);
      waiter.reject(error);
    }
    shelf.pause.failed();
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
