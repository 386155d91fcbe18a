/**
 * The file an execution's older events move to: written in order, read at any place.
 *
 * Open for as long as somebody uses it, so that removing its directory takes nothing
 * from those who still read. A write that fails fails for good: what follows it
 * could not be in order.
 */
import { mkdir, open, rm, rmdir, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ServiceError } from '../domain/errors.ts';

export const EVENTS_FILE = 'events.ndjson';

/** While a file grows, what is in it is sent to the disk each time it has this much more, so that its end waits for little. */
const SYNC_EVERY_BYTES = 16 << 20;

const NO_SPACE = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

export class SpillFile {
  readonly path: string;
  readonly #directory: string;
  #handle: Promise<FileHandle> | undefined;
  #users = 0;
  #bytes = 0;
  #syncedBytes = 0;
  #syncing: Promise<void> | undefined;
  /** The kernel tells of a failure once only. */
  #syncFailure: Error | undefined;

  constructor(directory: string) {
    this.#directory = directory;
    this.path = join(directory, EVENTS_FILE);
  }

  /** Bytes that are in the file. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps the file open until the function returned is called. The first call after none is left opens it again. */
  use(): () => void {
    this.#users += 1;
    let isDone = false;
    return () => {
      if (isDone) return;
      isDone = true;
      this.#users -= 1;
      if (this.#users > 0) return;
      const handle = this.#handle;
      this.#handle = undefined;
      handle?.then((opened) => opened.close()).catch(() => undefined);
    };
  }

  /**
   * Adds `parts` at the end.
   * @throws {ServiceError} storage_full, internal.
   */
  async append(parts: readonly Buffer[]): Promise<void> {
    try {
      const file = await this.#open();
      let left = [...parts];
      while (left.length > 0) {
        let { bytesWritten } = await file.writev(left, this.#bytes);
        this.#bytes += bytesWritten;
        while (left[0] && bytesWritten >= left[0].length) {
          bytesWritten -= left[0].length;
          left = left.slice(1);
        }
        if (left[0]) left[0] = left[0].subarray(bytesWritten);
      }
      if (this.#bytes - this.#syncedBytes >= SYNC_EVERY_BYTES) this.#syncBeside(file);
    } catch (error) {
      throw asServiceError(error);
    }
  }

  /**
   * Puts `tail` behind what was added, in place of one that was there, and resolves when the file survives a power cut.
   * @throws {ServiceError} storage_full, internal.
   */
  async end(tail: Buffer): Promise<void> {
    try {
      const file = await this.#open();
      for (let at = 0; at < tail.length;) {
        at += (await file.write(tail, at, tail.length - at, this.#bytes + at)).bytesWritten;
      }
      await file.truncate(this.#bytes + tail.length);
      await this.#syncing;
      if (this.#syncFailure) throw this.#syncFailure;
      await file.datasync();
      await syncDirectory(this.#directory);
    } catch (error) {
      throw asServiceError(error);
    }
  }

  /** Forgets what was added behind `bytes`: of an addition that failed a part may be there. */
  rewind(bytes: number): void {
    this.#bytes = bytes;
  }

  /** Exactly `length` bytes from `offset`. Call only while the file is in use. */
  async read(offset: number, length: number): Promise<Buffer> {
    const file = await this.#open();
    const buffer = Buffer.allocUnsafeSlow(length);
    for (let at = 0; at < length;) {
      const { bytesRead } = await file.read(buffer, at, length - at, offset + at);
      if (bytesRead === 0) throw new Error('a file of events became shorter');
      at += bytesRead;
    }
    return buffer;
  }

  /** Removes the file and its directory, where nothing else is in it. Readers under way go on. */
  async remove(): Promise<void> {
    await rm(this.path, { force: true }).catch(() => undefined);
    await rmdir(this.#directory).catch(() => undefined);
  }

  #syncBeside(file: FileHandle): void {
    if (this.#syncing) return;
    this.#syncedBytes = this.#bytes;
    this.#syncing = file
      .datasync()
      .catch((error: unknown) => {
        this.#syncFailure ??= error as Error;
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }

  #open(): Promise<FileHandle> {
    this.#handle ??= this.#openFile().catch((error: unknown) => {
      this.#handle = undefined;
      throw error;
    });
    return this.#handle;
  }

  async #openFile(): Promise<FileHandle> {
    if (this.#bytes > 0) return open(this.path, 'r+');
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    return open(this.path, 'w+', 0o600);
  }
}

/** The names of the file and of its directory survive a power cut, too. */
async function syncDirectory(directory: string): Promise<void> {
  for (const path of [directory, dirname(directory)]) {
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

function asServiceError(error: unknown): ServiceError {
  if (NO_SPACE.has((error as NodeJS.ErrnoException).code ?? '')) {
    return new ServiceError('storage_full', 'There is no disk space to keep the output.', { cause: error });
  }
  return new ServiceError('storage_unavailable', 'The output could not be kept.', { cause: error });
}
