/**
 * Keeps the canonical tar: in memory while it is small, in a file beyond that.
 *
 * The file is unlinked as soon as it is open, so a crash leaves nothing behind.
 * Bytes are copied into fixed batches, hashed and written a batch at a time, one
 * write behind; memory stays at two batches however large the tar is.
 *
 * It knows nothing about tar.
 */
import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ServiceError } from '../domain/errors.ts';

const BATCH_BYTES = 256 * 1024;
/** Readers get a fresh buffer each time; large ones pile up before they are collected. */
const READ_BYTES = 64 * 1024;
const NO_SPACE = new Set(['ENOSPC', 'EDQUOT']);

export interface SpoolOptions {
  /** Bytes to keep in memory before a file is used. */
  readonly memoryBytes: number;
  readonly directory: string;
}

export class Spool {
  readonly #options: SpoolOptions;
  readonly #hash = createHash('sha256');
  #batch: Buffer = Buffer.allocUnsafe(0);
  #batchLength = 0;
  #spare: Buffer | undefined;
  /** The content, while it is in memory. */
  #memory: Buffer[] = [];
  #memoryBytes = 0;
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #writing: Promise<void> | undefined;
  #isDisposed = false;
  #bytes = 0;

  constructor(options: SpoolOptions) {
    this.#options = options;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Copies `chunk`. A promise, when given, must settle before the next call. */
  append(chunk: Uint8Array): Promise<void> | undefined {
    this.#bytes += chunk.length;
    return this.#fill(chunk, 0);
  }

  /** Completes the content and returns its SHA-256 in hex. */
  async finish(): Promise<string> {
    await this.#flush();
    await this.#writing;
    this.#batch = Buffer.alloc(0);
    this.#spare = undefined;
    return this.#hash.digest('hex');
  }

  /** Streams the content; any number of readers may do so, each from the start. */
  async *read(): AsyncGenerator<Buffer, void, void> {
    if (this.#file === undefined) {
      for (const part of this.#memory) {
        this.#checkNotDisposed();
        yield Buffer.from(part);
      }
      this.#checkNotDisposed();
      return;
    }
    for (let position = 0; position < this.#fileBytes;) {
      this.#checkNotDisposed();
      const length = Math.min(READ_BYTES, this.#fileBytes - position);
      const { bytesRead, buffer } = await this.#file.read(Buffer.allocUnsafe(length), 0, length, position);
      if (bytesRead === 0) throw new Error('the spool file became shorter');
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }

  /** Copies what there is from `position` on into `target`; returns how many bytes, 0 at the end. */
  async readInto(target: Uint8Array, position: number): Promise<number> {
    this.#checkNotDisposed();
    if (this.#file !== undefined) {
      const length = Math.min(target.length, this.#fileBytes - position);
      if (length <= 0) return 0;
      const { bytesRead } = await this.#file.read(target, 0, length, position);
      if (bytesRead === 0) throw new Error('the spool file became shorter');
      return bytesRead;
    }
    let start = 0;
    for (const part of this.#memory) {
      if (position < start + part.length) {
        const piece = part.subarray(position - start, position - start + target.length);
        target.set(piece);
        return piece.length;
      }
      start += part.length;
    }
    return 0;
  }

  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#memory = [];
    this.#batch = Buffer.alloc(0);
    this.#spare = undefined;
    await this.#writing?.catch(() => undefined);
    await this.#file?.close();
  }

  #fill(chunk: Uint8Array, start: number): Promise<void> | undefined {
    let at = start;
    while (at < chunk.length) {
      if (this.#batch.length === 0) this.#batch = Buffer.allocUnsafeSlow(BATCH_BYTES);
      const end = Math.min(chunk.length, at + this.#batch.length - this.#batchLength);
      this.#batch.set(chunk.subarray(at, end), this.#batchLength);
      this.#batchLength += end - at;
      at = end;
      if (this.#batchLength === this.#batch.length) return this.#flush().then(() => this.#fill(chunk, at));
    }
    return undefined;
  }

  async #flush(): Promise<void> {
    const full = this.#batch.subarray(0, this.#batchLength);
    if (full.length === 0) return;
    this.#hash.update(full);
    this.#batchLength = 0;
    if (this.#file === undefined && this.#memoryBytes + full.length <= this.#options.memoryBytes) {
      // A copy, so that a small project does not hold a whole batch.
      this.#memory.push(Buffer.from(full));
      this.#memoryBytes += full.length;
      return;
    }
    if (this.#file === undefined) await this.#moveToFile();
    await this.#writing;
    const used = this.#batch;
    this.#batch = this.#spare ?? Buffer.alloc(0);
    this.#spare = undefined;
    this.#writing = this.#write(full).then(() => {
      this.#spare = used;
    });
    // Awaited before the next write; until then a failure must not count as unhandled.
    this.#writing.catch(() => undefined);
  }

  async #moveToFile(): Promise<void> {
    const path = join(this.#options.directory, `spool-${randomUUID()}`);
    this.#file = await open(path, 'wx+', 0o600).catch(rethrow);
    await unlink(path);
    for (const part of this.#memory.splice(0)) await this.#write(part);
  }

  async #write(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const { bytesWritten } = await (this.#file as FileHandle)
        .write(bytes, at, bytes.length - at, this.#fileBytes)
        .catch(rethrow);
      at += bytesWritten;
      this.#fileBytes += bytesWritten;
    }
  }

  #checkNotDisposed(): void {
    if (this.#isDisposed) throw new Error('the project was disposed of while it was read');
  }
}

function rethrow(error: NodeJS.ErrnoException): never {
  if (NO_SPACE.has(error.code ?? '')) {
    throw new ServiceError('storage_full', 'There is no room to store the project.', { cause: error });
  }
  throw new ServiceError('storage_unavailable', 'The project could not be stored.', { cause: error });
}
