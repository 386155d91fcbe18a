/**
 * An append-only log of lines: the newest in memory, the older ones in a file once
 * together they need more memory than they may.
 *
 * Lines are numbered from 1 and lie in blocks of whole lines. A block is what is
 * written, dropped from memory and read back; the list of blocks is the index from
 * numbers to places. Nothing is dropped before it is in the file.
 *
 * It knows nothing of what a line says.
 */
import type { ServiceError } from '../domain/errors.ts';
import { countLines, NEWLINE, skipLines } from './event-lines.ts';
import type { OutputMemory } from './output-memory.ts';
import type { SpillFile } from './spill-file.ts';

/** A block is closed when it has this many bytes; a longer line has a block of its own. */
const BLOCK_BYTES = 64 * 1024;
const FIRST_BLOCK_BYTES = 1024;
/** Beyond this much that waits for the disk, whoever appends is asked to wait. */
const UNWRITTEN_BYTES_MAX = 1 << 20;

interface Block {
  readonly firstSeq: number;
  lines: number;
  /** Where it begins in the log, and so in the file. */
  readonly offset: number;
  bytes: number;
  /** Its bytes and perhaps room behind them; absent once they are in the file only. */
  buffer: Buffer | undefined;
}

/** Some whole lines of a log. */
export interface Lines {
  readonly bytes: Buffer;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

export interface LineLogOptions {
  readonly file: SpillFile;
  /** Bytes that may stay in memory. */
  readonly memoryBytesMax: number;
  /** Counts the memory of all logs together. */
  readonly memory: OutputMemory;
}

export class LineLog {
  readonly #options: LineLogOptions;
  readonly #blocks: Block[] = [];
  /** Index of the first block that is not in the file; those before it may still be in memory. */
  #unwritten = 0;
  /** Index of the first block that is in memory. */
  #inMemory = 0;
  #isOpen = false;
  #memoryBytes = 0;
  #bytes = 0;
  #lastSeq = 0;
  #writing: Promise<void> | undefined;
  #failure: ServiceError | undefined;
  #closeFile: (() => void) | undefined;
  #isReleased = false;

  constructor(options: LineLogOptions) {
    this.#options = options;
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Bytes of all lines. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What counts of it against the memory all logs share. */
  get memoryBytes(): number {
    return this.#isReleased ? 0 : this.#memoryBytes;
  }

  /** Whether any of it is in the file, or on the way there. */
  get isSpilled(): boolean {
    return this.#closeFile !== undefined || this.#options.file.bytes > 0;
  }

  /** Adds a line of `bytes` bytes, which `write` puts at the offset given to it. */
  append(bytes: number, write: (target: Buffer, offset: number) => void): void {
    const block = this.#blockFor(bytes);
    write(block.buffer as Buffer, block.bytes);
    block.bytes += bytes;
    block.lines += 1;
    this.#bytes += bytes;
    this.#lastSeq += 1;
    if (block.bytes >= BLOCK_BYTES) this.#isOpen = false;
    if (this.#memoryBytes > this.#options.memoryBytesMax) this.spill(this.#options.memoryBytesMax / 2);
  }

  /** Undefined while appending may go on; otherwise resolves when it may. @throws {ServiceError} storage_full, internal. */
  room(): Promise<void> | undefined {
    if (this.#failure) return Promise.reject(this.#failure);
    return this.#unwrittenBytes() > UNWRITTEN_BYTES_MAX ? this.written() : undefined;
  }

  /** Starts to move the oldest lines to the file until `bytes` are left in memory. A failure is told by `written`. */
  spill(bytes: number): void {
    if (this.#writing || this.#failure || this.#isReleased) return;
    this.#closeFile ??= this.#options.file.use();
    this.#writing = this.#write(bytes)
      .catch((error: unknown) => {
        this.#failure = error as ServiceError;
      })
      .finally(() => {
        this.#writing = undefined;
      });
  }

  /** Resolves when nothing is on its way to the file. @throws {ServiceError} storage_full, internal. */
  async written(): Promise<void> {
    while (this.#writing) await this.#writing;
    if (this.#failure) throw this.#failure;
  }

  /**
   * Moves all of it to the file, for good; behind it comes `tail`, which is no part of it.
   * @throws {ServiceError} storage_full, internal.
   */
  async moveToFile(tail: Buffer): Promise<void> {
    while (this.#writing) await this.#writing;
    if (this.#failure) {
      // What did not fit may fit by now.
      this.#failure = undefined;
      this.#options.file.rewind(this.#writtenBytes());
    }
    this.spill(0);
    await this.written();
    await this.#options.file.end(tail);
  }

  /**
   * How much of it is in the file, in whole lines, when no more fits. Nothing is written any more.
   * @returns the number of the last line there, and the bytes to its end.
   */
  async inFile(): Promise<{ readonly lastSeq: number; readonly bytes: number }> {
    while (this.#writing) await this.#writing;
    let lastSeq = 0;
    let bytes = 0;
    for (const block of this.#blocks) {
      const there = Math.min(block.bytes, this.#options.file.bytes - block.offset);
      if (there <= 0) break;
      lastSeq = block.firstSeq + block.lines - 1;
      bytes = block.offset + block.bytes;
      if (there === block.bytes || !block.buffer) continue;
      const whole = block.buffer.subarray(0, block.buffer.lastIndexOf(NEWLINE, there - 1) + 1);
      return { lastSeq: block.firstSeq + countLines(whole) - 1, bytes: block.offset + whole.length };
    }
    return { lastSeq, bytes };
  }

  /** It counts no longer, and nothing more of it is written once this resolves. Those who read it go on. */
  async release(): Promise<void> {
    if (this.#isReleased) return;
    const held = this.#memoryBytes;
    this.#isReleased = true;
    this.#options.memory.count(this, -held);
    await this.#writing;
    this.#closeFile?.();
    this.#closeFile = undefined;
  }

  /**
   * The lines after number `after`, as many at a time as lie together. Where there is
   * none yet, `wait` says when to look again, or false when no more will come.
   */
  async *read(after: number, wait: () => Promise<boolean>): AsyncGenerator<Lines, void, void> {
    let next = after + 1;
    let index = -1;
    let at = 0;
    const close = this.#options.file.use();
    try {
      for (;;) {
        if (next > this.#lastSeq) {
          if (!(await wait())) return;
          continue;
        }
        if (index === -1) {
          index = this.#indexOf(next);
          const block = this.#blocks[index] as Block;
          at = skipLines(await this.#bytesOf(block, 0), next - block.firstSeq);
        }
        const block = this.#blocks[index] as Block;
        if (at === block.bytes) {
          index += 1;
          at = 0;
          continue;
        }
        const lastSeq = block.firstSeq + block.lines - 1;
        const bytes = await this.#bytesOf(block, at);
        yield { bytes, firstSeq: next, lastSeq };
        at += bytes.length;
        next = lastSeq + 1;
      }
    } finally {
      close();
    }
  }

  /** What there is of a block from `start` on; nothing can be added to it before this returns. */
  #bytesOf(block: Block, start: number): Buffer | Promise<Buffer> {
    if (block.buffer) return block.buffer.subarray(start, block.bytes);
    return this.#options.file.read(block.offset + start, block.bytes - start);
  }

  #indexOf(seq: number): number {
    let low = 0;
    let high = this.#blocks.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#blocks[middle] as Block).firstSeq <= seq) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The block at the end with room for `bytes` more. */
  #blockFor(bytes: number): Block {
    const last = this.#isOpen ? this.#blocks.at(-1) : undefined;
    if (last?.buffer && last.bytes + bytes <= Math.max(BLOCK_BYTES, last.buffer.length)) {
      if (last.bytes + bytes > last.buffer.length) {
        const size = Math.min(BLOCK_BYTES, Math.max(last.buffer.length * 2, last.bytes + bytes));
        const grown = Buffer.allocUnsafeSlow(size);
        last.buffer.copy(grown, 0, 0, last.bytes);
        this.#count(grown.length - last.buffer.length);
        // Readers hold parts of the old one, which stays as it is.
        last.buffer = grown;
      }
      return last;
    }
    const size = Math.max(bytes, this.#blocks.length === 0 ? FIRST_BLOCK_BYTES : bytes < 4096 ? BLOCK_BYTES / 4 : 0);
    const buffer = Buffer.allocUnsafeSlow(size);
    const block: Block = { firstSeq: this.#lastSeq + 1, lines: 0, offset: this.#bytes, bytes: 0, buffer };
    this.#blocks.push(block);
    this.#isOpen = true;
    this.#count(size);
    return block;
  }

  /** Where the first block that is not in the file belongs. */
  #writtenBytes(): number {
    return this.#blocks[this.#unwritten]?.offset ?? this.#bytes;
  }

  #unwrittenBytes(): number {
    return this.isSpilled ? this.#bytes - this.#options.file.bytes : 0;
  }

  async #write(bytesLeft: number): Promise<void> {
    while (this.#memoryBytes > bytesLeft && this.#unwritten < this.#blocks.length) {
      const parts: Buffer[] = [];
      let leaving = 0;
      let end = this.#unwritten;
      for (; end < this.#blocks.length && this.#memoryBytes - leaving > bytesLeft; end += 1) {
        const { buffer, bytes } = this.#blocks[end] as Block & { buffer: Buffer };
        parts.push(buffer.subarray(0, bytes));
        leaving += buffer.length;
      }
      // What is being written does not grow any more.
      if (end === this.#blocks.length) this.#isOpen = false;
      await this.#options.file.append(parts);
      this.#unwritten = end;
      for (; this.#inMemory < end; this.#inMemory += 1) {
        const block = this.#blocks[this.#inMemory] as Block & { buffer: Buffer };
        this.#count(-block.buffer.length);
        block.buffer = undefined as never;
      }
    }
  }

  #count(bytes: number): void {
    this.#memoryBytes += bytes;
    if (!this.#isReleased) this.#options.memory.count(this, bytes);
  }
}
