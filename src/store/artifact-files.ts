/**
 * Where artifacts are kept: one file an execution, `artifacts.tar` in the directory
 * of the execution. No name a program chose is ever a name on this disk.
 *
 * It knows nothing of tar; whoever writes says what lies where.
 */
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import type { ExecutionId } from '../domain/execution.ts';

const FILE = 'artifacts.tar';

export class ArtifactFiles {
  readonly #directoryOf: (id: ExecutionId) => string;

  /** @param directoryOf where an execution keeps its files; made when there is one. */
  constructor(directoryOf: (id: ExecutionId) => string) {
    this.#directoryOf = directoryOf;
  }

  /** A file to be written, not made before its first byte. */
  create(id: ExecutionId): ArtifactFile {
    return new ArtifactFile(this.#directoryOf(id));
  }

  /** Bytes `start` to `end`, the latter not included; undefined when the file is gone. */
  async read(id: ExecutionId, start: number, end: number): Promise<Readable | undefined> {
    if (start >= end) return Readable.from([]);
    try {
      const handle = await open(join(this.#directoryOf(id), FILE), 'r');
      return handle.createReadStream({ start, end: end - 1 });
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }
}

export class ArtifactFile {
  readonly #directory: string;
  #handle: FileHandle | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Writes all of `bytes` at `position`. Rejects with the error of the file system. */
  async write(bytes: Uint8Array, position: number): Promise<void> {
    if (!this.#handle) {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      this.#handle = await open(join(this.#directory, FILE), 'w', 0o600);
    }
    for (let at = 0; at < bytes.length;) {
      at += (await this.#handle.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
    }
  }

  /** Cuts the file at `contentBytes`, adds zeros up to `bytes`, and closes it; nothing where nothing was written. */
  async close(contentBytes: number, bytes: number): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    try {
      if (!handle) return;
      await handle.truncate(contentBytes);
      await handle.truncate(bytes);
      // On the disk before the execution is said to be done, and so are the names of the file and of its directory.
      await handle.datasync();
      for (const path of [this.#directory, dirname(this.#directory)]) await syncDirectory(path);
    } finally {
      await handle?.close();
    }
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
