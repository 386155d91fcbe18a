/**
 * Takes Docker's attach stream apart: 8-byte headers, stdout and stderr.
 *
 * Iterative, copies nothing, holds at most a header: docker-modem's own demuxer
 * recurses per frame and overflows its stack on many small ones. A header that is
 * not Docker's is an error, never passed through as data.
 */
export class AttachDemultiplexer {
  readonly #onStdout: (data: Buffer) => void;
  readonly #onStderr: (data: Buffer) => void;
  readonly #header = Buffer.alloc(8);
  #headerBytes = 0;
  #bodyBytesLeft = 0;
  #stream = 0;

  constructor(onStdout: (data: Buffer) => void, onStderr: (data: Buffer) => void) {
    this.#onStdout = onStdout;
    this.#onStderr = onStderr;
  }

  /**
   * Passes on every byte of `chunk` that belongs to a body.
   * @throws {Error} when a header is not one of Docker's.
   */
  push(chunk: Buffer): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#bodyBytesLeft === 0) {
        const taken = chunk.copy(this.#header, this.#headerBytes, offset, offset + 8 - this.#headerBytes);
        this.#headerBytes += taken;
        offset += taken;
        if (this.#headerBytes < 8) return;
        this.#headerBytes = 0;
        this.#stream = this.#header.readUInt8(0);
        this.#bodyBytesLeft = this.#header.readUInt32BE(4);
        if ((this.#stream !== 1 && this.#stream !== 2) || this.#header.readUIntBE(1, 3) !== 0) {
          throw new Error('the attach stream holds a header that is not Docker’s');
        }
        continue;
      }
      const end = Math.min(chunk.length, offset + this.#bodyBytesLeft);
      const body = chunk.subarray(offset, end);
      this.#bodyBytesLeft -= body.length;
      offset = end;
      if (this.#stream === 1) this.#onStdout(body);
      else this.#onStderr(body);
    }
  }
}
