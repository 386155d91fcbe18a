/** The last bytes of a stream, whatever its length. */
export class OutputTail {
  readonly #bytesMax: number;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Copies what it keeps of `data`. */
  push(data: Buffer): void {
    const part = Buffer.from(data.subarray(Math.max(0, data.length - this.#bytesMax)));
    this.#parts.push(part);
    this.#bytes += part.length;
    if (this.#bytes > 4 * this.#bytesMax) this.#cut();
  }

  /** As text; what is no UTF-8 becomes U+FFFD. */
  text(): string {
    this.#cut();
    return this.#parts[0]?.toString('utf8') ?? '';
  }

  #cut(): void {
    const whole = Buffer.concat(this.#parts);
    this.#parts = [Buffer.from(whole.subarray(Math.max(0, whole.length - this.#bytesMax)))];
    this.#bytes = this.#parts[0]?.length ?? 0;
  }
}
