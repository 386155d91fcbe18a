/**
 * When to try again what failed: not at once, later each time, and then once before
 * more is tried. What somebody waits for is not held up by it.
 */
const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 30_000;

export class RetryPause {
  readonly #onOver: () => boolean;
  /** 0: there is none. */
  #ms = 0;
  /** After a pause one attempt alone tries whether all is well again. */
  #isProbing = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param onOver tries again; whether it began to. */
  constructor(onOver: () => boolean) {
    this.#onOver = onOver;
  }

  /** How many attempts may be under way at one time. */
  get attemptsMax(): number {
    if (this.#ms > 0) return 0;
    return this.#isProbing ? 1 : Number.POSITIVE_INFINITY;
  }

  failed(): void {
    this.#ms = Math.min(PAUSE_MS_MAX, Math.max(PAUSE_MS_MIN, this.#ms * 2));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const pause = this.#ms;
      this.#ms = 0;
      this.#isProbing = true;
      // Remembered until an attempt succeeds, so that the next failure waits longer.
      if (this.#onOver()) this.#ms = pause;
    }, this.#ms);
    this.#timer.unref();
  }

  succeeded(): void {
    this.#ms = 0;
    this.#isProbing = false;
  }

  /** Somebody waits: the pause is over. */
  skip(): void {
    this.#ms = 0;
  }

  /** Nothing is tried any more. */
  end(): void {
    clearTimeout(this.#timer);
  }
}
