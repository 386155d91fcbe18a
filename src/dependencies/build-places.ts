/**
 * How many builders run at one time. Who finds no place waits for one; who would
 * wait behind too many is refused.
 */
import { ServiceError } from '../domain/errors.ts';

export class BuildPlaces {
  readonly #concurrent: number;
  readonly #waitingMax: number;
  readonly #waiting: (() => void)[] = [];
  #taken = 0;

  constructor(concurrent: number, waitingMax: number) {
    this.#concurrent = concurrent;
    this.#waitingMax = waitingMax;
  }

  /** @throws {ServiceError} queue_full. */
  async take(): Promise<{ release(): void }> {
    if (this.#taken >= this.#concurrent) {
      if (this.#waiting.length >= this.#waitingMax) {
        throw new ServiceError('queue_full', 'Too many layers are being built.', { retryAfterSeconds: 10 });
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#taken += 1;
    return {
      release: () => {
        // The place passes on without becoming free in between.
        const next = this.#waiting.shift();
        if (next) next();
        else this.#taken -= 1;
      },
    };
  }
}
