/**
 * Joins frames in one buffer, which is written when it is full and then used again:
 * a project of any size needs no more memory than that.
 *
 * It does not know what frames mean.
 */
import { FRAME_HEADER_BYTES, writeFrameHeader } from './protocol.ts';

/** A frame of part of a payload is not begun in less room than this. */
const ROOM_MIN = 512;

export class FrameWriter {
  readonly #buffer: Buffer;
  readonly #write: (data: Buffer) => Promise<void>;
  #used = 0;

  /** @param write writes `data`; resolves when it is not needed any more. */
  constructor(bytes: number, write: (data: Buffer) => Promise<void>) {
    this.#buffer = Buffer.allocUnsafeSlow(Math.max(bytes, 2 * ROOM_MIN));
    this.#write = write;
  }

  /** Adds a whole frame. */
  async frame(frame: Buffer): Promise<void> {
    if (frame.length > this.#buffer.length - this.#used) await this.flush();
    if (frame.length > this.#buffer.length) return this.#write(frame);
    this.#used += frame.copy(this.#buffer, this.#used);
  }

  /** Adds a frame with what `fill` puts into the room it is given; resolves with how many bytes that were. */
  async payload(type: number, fill: (room: Buffer) => number | Promise<number>): Promise<number> {
    if (this.#buffer.length - this.#used < ROOM_MIN) await this.flush();
    const start = this.#used + FRAME_HEADER_BYTES;
    const bytes = await fill(this.#buffer.subarray(start));
    if (bytes === 0) throw new Error('a payload ended early');
    writeFrameHeader(this.#buffer, this.#used, type, bytes);
    this.#used = start + bytes;
    return bytes;
  }

  async flush(): Promise<void> {
    if (this.#used === 0) return;
    const data = this.#buffer.subarray(0, this.#used);
    this.#used = 0;
    await this.#write(data);
  }
}
