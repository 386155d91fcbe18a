/**
 * Keeps records by id: those in progress always, finished ones until they are too
 * old, or until together they need more than the budget (oldest first).
 *
 * Nothing survives the process.
 */
export interface StoredRecord {
  readonly id: string;
  /** Bytes the record holds, as far as they matter. */
  readonly sizeBytes: number;
  /** Frees what the record holds beside its memory. */
  discard?(): Promise<void>;
}

export class MemoryStore<Kept extends StoredRecord> {
  readonly #records = new Map<string, Kept>();
  /** Finished records in the order they finished, with the time they may go (monotonic ms). */
  readonly #finished = new Map<string, { readonly expiresAt: number; readonly sizeBytes: number }>();
  readonly #ttlMs: number;
  readonly #bytesMax: number;
  #finishedBytes = 0;

  constructor(options: { ttlMs: number; bytesMax: number }) {
    this.#ttlMs = options.ttlMs;
    this.#bytesMax = options.bytesMax;
  }

  get size(): number {
    return this.#records.size;
  }

  add(record: Kept): void {
    this.#records.set(record.id, record);
  }

  get(id: string): Kept | undefined {
    this.#expire();
    return this.#records.get(id);
  }

  /** Starts the retention of a record. A record is kept at least while its answer is being sent. */
  finish(id: string): void {
    const record = this.#records.get(id);
    if (!record || this.#finished.has(id)) return;
    const { sizeBytes } = record;
    this.#finished.set(id, { expiresAt: performance.now() + this.#ttlMs, sizeBytes });
    this.#finishedBytes += sizeBytes;
    this.#expire();
  }

  /** Every record, in the order of arrival. */
  values(): IterableIterator<Kept> {
    return this.#records.values();
  }

  #expire(): void {
    const now = performance.now();
    for (const [id, { expiresAt, sizeBytes }] of this.#finished) {
      const isOverBudget = this.#finishedBytes > this.#bytesMax && this.#finished.size > 1;
      if (expiresAt > now && !isOverBudget) return;
      this.#finished.delete(id);
      void this.#records.get(id)?.discard?.();
      this.#records.delete(id);
      this.#finishedBytes -= sizeBytes;
    }
  }
}
