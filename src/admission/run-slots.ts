/**
 * Who runs next: a bounded number at a time, a bounded number and volume waiting,
 * fair between callers, cancellable while waiting. Refusal is at once and explicit.
 *
 * A place that becomes free goes to the caller with the fewest runs in progress;
 * among those turns go round. A caller who comes anew gets a turn in the round that
 * is on, before everybody who had theirs, however many jobs those have waiting.
 * Rounds go on also when nobody but new callers is served, so nobody waits for ever.
 * Within a caller higher priority goes first, then who came first.
 *
 * Every step takes logarithmic time. No clock decides who is next: there is one for
 * the estimates, and an alarm for each job that waits for a limited time.
 */
import { ServiceError } from '../domain/errors.ts';
import type { QueuePlace } from '../domain/execution.ts';
import type { Priority } from '../domain/plan.ts';
import { TurnOrder } from './turn-order.ts';
import { WaitEstimate } from './wait-estimate.ts';
import { WaitingCaller, type Job } from './waiting-caller.ts';

const RETRY_AFTER_SECONDS_MAX = 3600;

export interface RunSlotsOptions {
  readonly concurrent: number;
  readonly queueMax: number;
  /** Bytes of all that wait together; absent: no bound. */
  readonly queueBytesMax?: number;
  /** Of one caller: runs at one time, jobs waiting, and their bytes. Absent: as for all together. */
  readonly callerConcurrentMax?: number;
  readonly callerQueueMax?: number;
  readonly callerQueueBytesMax?: number;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

/** For whom a place is wanted, and what waits for it. */
export interface Ticket {
  readonly callerId: string;
  /** Runs this caller may have at one time, in place of the setting for everybody. */
  readonly concurrentMax?: number | undefined;
  readonly priority?: Priority | undefined;
  readonly bytes?: number;
  /** How long it waits at most; absent: as long as it takes. */
  readonly waitMsMax?: number | undefined;
}

export interface Reservation {
  /** Resolves when the place is free; rejects when the signal is aborted first, or with queue_timeout. */
  readonly ready: Promise<void>;
  /** To be called when the place is not needed any more; a second call has no effect. */
  readonly release: () => void;
  /** Where in the queue it is; undefined when it does not wait. */
  readonly queue: () => QueuePlace | undefined;
}

const NOBODY: Ticket = { callerId: '' };

export class RunSlots {
  readonly #options: RunSlotsOptions;
  readonly #now: () => number;
  readonly #callers = new Map<string, WaitingCaller>();
  readonly #turns = new TurnOrder<WaitingCaller>();
  readonly #estimate: WaitEstimate;
  #running = 0;
  #waiting = 0;
  #waitingBytes = 0;
  #callersWaiting = 0;
  #round = 0;
  #begunInRound = 0;
  /** Callers who waited when the round began, at least one. */
  #roundSize = 1;
  #turnsGiven = 0;

  constructor(options: RunSlotsOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#estimate = new WaitEstimate(options);
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  get callersWaiting(): number {
    return this.#callersWaiting;
  }

  /**
   * Reserves a place to run. The reservation is made at once, the place is free
   * when `ready` resolves.
   * @throws {ServiceError} queue_full, with the seconds after which to try again.
   */
  reserve(signal: AbortSignal, ticket: Ticket = NOBODY): Reservation {
    const caller = this.#callerOf(ticket);
    // A place is free only while nobody who might have it waits.
    if (this.#running < this.#options.concurrent && caller.running < caller.concurrentMax) {
      this.#callers.set(caller.id, caller);
      if (caller.waiting === 0) this.#giveTurn(caller);
      this.#begin(caller);
      return { ready: Promise.resolve(), release: this.#releaseOnce(caller), queue: () => undefined };
    }
    this.#refuseIfFull(caller, ticket.bytes ?? 0);
    this.#callers.set(caller.id, caller);
    return this.#wait(signal, caller, ticket);
  }

  /** Seconds until a job of this caller that came now would begin, as far as can be told. */
  retryAfterSeconds(callerId: string): number {
    const caller = this.#callers.get(callerId) ?? new WaitingCaller(callerId, Infinity);
    return retrySeconds(this.#waitOf(caller, caller.waiting + 1).waitMs);
  }

  #callerOf(ticket: Ticket): WaitingCaller {
    const concurrentMax = ticket.concurrentMax ?? this.#options.callerConcurrentMax ?? Infinity;
    const caller = this.#callers.get(ticket.callerId) ?? new WaitingCaller(ticket.callerId, concurrentMax);
    if (caller.concurrentMax !== concurrentMax) {
      caller.concurrentMax = concurrentMax;
      this.#settle(caller);
      this.#fill();
    }
    return caller;
  }

  #refuseIfFull(caller: WaitingCaller, bytes: number): void {
    const { queueMax, queueBytesMax, callerQueueMax, callerQueueBytesMax } = this.#options;
    const refuse = (what: string, waitMs: number | undefined) =>
      new ServiceError('queue_full', what, { retryAfterSeconds: retrySeconds(waitMs) });
    if (this.#waiting >= queueMax) {
      throw refuse(`${String(this.#waiting)} runs are waiting already.`, this.#estimate.untilBegun(1));
    }
    if (this.#waitingBytes + bytes > (queueBytesMax ?? Infinity)) {
      const tooMuch = this.#waitingBytes + bytes - (queueBytesMax ?? 0);
      const share = Math.min(1, tooMuch / Math.max(1, this.#waitingBytes));
      throw refuse(
        'The projects of the runs that wait are too large together with this one.',
        this.#estimate.untilBegun(Math.max(1, Math.ceil(share * this.#waiting))),
      );
    }
    if (caller.waiting >= (callerQueueMax ?? Infinity)) {
      throw refuse(
        `${String(caller.waiting)} runs of this caller are waiting already, as many as of one caller may.`,
        this.#waitOf(caller, 1).waitMs,
      );
    }
    if (caller.waitingBytes + bytes > (callerQueueBytesMax ?? Infinity)) {
      throw refuse(
        'The projects of the runs of this caller that wait are too large together with this one.',
        this.#waitOf(caller, 1).waitMs,
      );
    }
  }

  #wait(signal: AbortSignal, caller: WaitingCaller, ticket: Ticket): Reservation {
    const { priority = 'normal', bytes = 0, waitMsMax } = ticket;
    const expiresAt = this.#now() + (waitMsMax ?? Infinity);
    let alarm: NodeJS.Timeout | undefined;
    let state: 'waiting' | 'entered' | 'left' = 'waiting';
    let releasePlace: () => void = () => undefined;
    const { promise: ready, resolve, reject } = Promise.withResolvers<undefined>();
    const leave = () => {
      if (state !== 'waiting') return;
      state = 'left';
      clearTimeout(alarm);
      signal.removeEventListener('abort', onAbort);
      this.#takeOut(job);
      this.#settle(caller);
    };
    const onAbort = () => {
      leave();
      reject(signal.reason instanceof Error ? signal.reason : new Error('cancelled while waiting'));
    };
    const job: Job = {
      caller,
      priority,
      bytes,
      lineIndex: 0,
      enter: () => {
        state = 'entered';
        clearTimeout(alarm);
        releasePlace = this.#releaseOnce(caller);
        signal.removeEventListener('abort', onAbort);
        resolve(undefined);
      },
    };
    ready.catch(() => undefined);
    this.#putIn(job);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    else if (waitMsMax !== undefined) {
      alarm = setTimeout(() => {
        leave();
        reject(new ServiceError('queue_timeout', 'No place to run became free in time.'));
      }, waitMsMax);
    }
    return {
      ready,
      release: () => {
        if (state === 'entered') releasePlace();
        else leave();
      },
      queue: () => (state === 'waiting' ? this.#placeOf(job, expiresAt) : undefined),
    };
  }

  #putIn(job: Job): void {
    const { caller } = job;
    if (caller.waiting === 0) {
      this.#giveTurn(caller);
      this.#callersWaiting += 1;
    }
    caller.append(job);
    this.#estimate.resized(caller.waiting - 1, caller.waiting);
    this.#waiting += 1;
    this.#waitingBytes += job.bytes;
    this.#settle(caller);
  }

  #takeOut(job: Job): void {
    const { caller } = job;
    caller.remove(job);
    this.#estimate.resized(caller.waiting + 1, caller.waiting);
    this.#waiting -= 1;
    this.#waitingBytes -= job.bytes;
    if (caller.waiting === 0) this.#callersWaiting -= 1;
  }

  /** A turn in the round that is on, unless the caller's next one is later. */
  #giveTurn(caller: WaitingCaller): void {
    caller.turn = Math.max(caller.turn, this.#round);
    caller.turnGivenAt = this.#turnsGiven += 1;
  }

  /** Counts a run of the caller as begun; its turn is over. */
  #begin(caller: WaitingCaller): void {
    this.#running += 1;
    caller.running += 1;
    if (caller.turn > this.#round) this.#beginRound(caller.turn);
    this.#begunInRound += 1;
    caller.turn += 1;
    this.#giveTurn(caller);
    // Those whose turn is in the next round wait for a round, not for as long as new callers come.
    if (this.#begunInRound > this.#roundSize) this.#beginRound(this.#round + 1);
  }

  #beginRound(round: number): void {
    this.#round = round;
    this.#begunInRound = 0;
    this.#roundSize = Math.max(1, this.#callersWaiting);
  }

  /** Gives the place of a run that begins now back, once. */
  #releaseOnce(caller: WaitingCaller): () => void {
    let released = false;
    const begunAt = this.#now();
    return () => {
      if (released) return;
      released = true;
      this.#estimate.held(this.#now() - begunAt);
      this.#running -= 1;
      caller.running -= 1;
      this.#settle(caller);
      this.#fill();
    };
  }

  /** Lets in who is next as long as there is a place. */
  #fill(): void {
    while (this.#running < this.#options.concurrent) {
      const caller = this.#turns.first();
      const job = caller?.first();
      if (!caller || !job) return;
      this.#takeOut(job);
      this.#begin(caller);
      this.#settle(caller);
      job.enter();
    }
  }

  /** Puts the caller where it belongs after anything about it changed. */
  #settle(caller: WaitingCaller): void {
    if (caller.isReady) this.#turns.place(caller);
    else this.#turns.remove(caller);
    if (caller.isIdle) this.#callers.delete(caller.id);
  }

  #placeOf(job: Job, expiresAt: number): QueuePlace {
    const { position, waitMs } = this.#waitOf(job.caller, job.caller.rankOf(job));
    return {
      position,
      ...(waitMs === undefined ? {} : { estimated_wait_ms: Math.round(waitMs) }),
      ...(expiresAt === Infinity ? {} : { expires_in_ms: Math.max(0, Math.round(expiresAt - this.#now())) }),
    };
  }

  /** For the `rank`th job of a caller: its place if nobody else came, and how long that takes. */
  #waitOf(caller: WaitingCaller, rank: number): { position: number; waitMs: number | undefined } {
    const turns = this.#turns.first() === caller ? rank - 1 : rank;
    const position = rank + this.#estimate.othersAhead(caller.waiting, turns);
    const byPlace = this.#estimate.untilBegun(position);
    const byOwnRuns = this.#estimate.untilBegun(rank, caller.concurrentMax);
    return {
      position,
      waitMs: byPlace === undefined || byOwnRuns === undefined ? undefined : Math.max(byPlace, byOwnRuns),
    };
  }
}

function retrySeconds(waitMs = 0): number {
  return Math.min(RETRY_AFTER_SECONDS_MAX, Math.max(1, Math.ceil(waitMs / 1000)));
}
