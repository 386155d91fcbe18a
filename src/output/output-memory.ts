/**
 * The memory all logs of output need together. Beyond its bound the logs that have
 * held some the longest move to their files, whatever each may keep for itself.
 */
interface Spillable {
  readonly memoryBytes: number;
  /** Starts to move all but `bytes` to the file. */
  spill(bytes: number): void;
}

export class OutputMemory {
  readonly #bytesMax: number;
  /** Those that hold some. */
  readonly #logs = new Set<Spillable>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** `log` has grown, or become smaller, by `change` bytes. */
  count(log: Spillable, change: number): void {
    this.#bytes += change;
    if (change <= 0) {
      if (log.memoryBytes === 0) this.#logs.delete(log);
      return;
    }
    this.#logs.add(log);
    let excess = this.#bytes - this.#bytesMax;
    for (const each of this.#logs) {
      if (excess <= 0) return;
      excess -= each.memoryBytes;
      each.spill(0);
    }
  }
}
