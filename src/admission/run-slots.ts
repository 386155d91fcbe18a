/**
 * Who runs next: a bounded number at a time, a bounded number waiting, first come
 * first served, cancellable while waiting. Refusal is at once and explicit.
 */
import { ServiceError } from '../domain/errors.ts';

interface Waiting {
  readonly enter: () => void;
}

export class RunSlots {
  readonly #concurrent: number;
  readonly #queueMax: number;
  readonly #waiting = new Set<Waiting>();
  #running = 0;

  constructor(options: { concurrent: number; queueMax: number }) {
    this.#concurrent = options.concurrent;
    this.#queueMax = options.queueMax;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Reserves a place to run. The reservation is made at once, the place is free
   * when `ready` resolves.
   * @returns `ready`, which rejects when `signal` is aborted first, and `release`, to be called exactly when the
   *   place is not needed any more (calling it again has no effect).
   * @throws {ServiceError} queue_full, with the seconds after which to try again.
   */
  reserve(signal: AbortSignal): { readonly ready: Promise<void>; readonly release: () => void } {
    if (this.#running < this.#concurrent && this.#waiting.size === 0) {
      this.#running += 1;
      return { ready: Promise.resolve(), release: this.#releaseOnce() };
    }
    if (this.#waiting.size >= this.#queueMax) {
      throw new ServiceError('queue_full', `${String(this.#waiting.size)} runs are waiting already.`, {
        retryAfterSeconds: 1,
      });
    }
    let entered = false;
    const releasePlace = this.#releaseOnce();
    let leaveQueue: () => void = () => undefined;
    const ready = new Promise<void>((resolve, reject) => {
      const waiting: Waiting = {
        enter: () => {
          entered = true;
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      const onAbort = () => {
        this.#waiting.delete(waiting);
        reject(signal.reason instanceof Error ? signal.reason : new Error('cancelled while waiting'));
      };
      leaveQueue = () => {
        this.#waiting.delete(waiting);
        signal.removeEventListener('abort', onAbort);
      };
      this.#waiting.add(waiting);
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
    });
    ready.catch(() => undefined);
    return {
      ready,
      release: () => {
        if (entered) releasePlace();
        else leaveQueue();
      },
    };
  }

  #releaseOnce(): () => void {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const next = this.#waiting.values().next();
      if (next.done) {
        this.#running -= 1;
        return;
      }
      // The place passes on without becoming free in between.
      this.#waiting.delete(next.value);
      next.value.enter();
    };
  }
}
