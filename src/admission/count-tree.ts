/**
 * Counts by index, and their sum up to an index, both in logarithmic time (a
 * Fenwick tree). It knows nothing of what is counted.
 */
export class CountTree {
  readonly #sums: Float64Array;

  /** For the indexes 0 to `size` - 1. */
  constructor(size: number) {
    this.#sums = new Float64Array(size + 1);
  }

  add(index: number, change: number): void {
    for (let at = index + 1; at < this.#sums.length; at += at & -at) {
      this.#sums[at] = (this.#sums[at] ?? 0) + change;
    }
  }

  /** The sum of the counts at 0 to `index`, both included; 0 for an index below 0. */
  upTo(index: number): number {
    let sum = 0;
    for (let at = Math.min(index + 1, this.#sums.length - 1); at > 0; at -= at & -at) sum += this.#sums[at] ?? 0;
    return sum;
  }
}
