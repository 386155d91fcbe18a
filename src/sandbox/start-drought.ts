/**
 * Whether an engine starts nothing any more, although it refuses nothing: each start
 * takes until its deadline. Those who wait in line for their start need not see theirs
 * fail one after the other; the first failure is everybody's.
 */
const DROUGHT_MS = 10_000;

export class StartDrought {
  #succeededAt = Number.NEGATIVE_INFINITY;

  succeeded(): void {
    this.#succeededAt = performance.now();
  }

  /** Whether a start that failed just now speaks for somebody who waits since then (monotonic ms). */
  concerns(waitingSince: number): boolean {
    return performance.now() - Math.max(waitingSince, this.#succeededAt) >= DROUGHT_MS;
  }
}
