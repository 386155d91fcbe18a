/**
 * Files that hold disk space for the day there is none. With that of `ends` what
 * was accepted can then still be recorded as ended, and old executions can be
 * deleted. That of `start` is given up by a start alone, so that a server which
 * used up the first can be started again.
 */
import { closeSync, fsyncSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Multiples of a chunk. */
const RESERVES = {
  ends: { name: 'reserve', bytes: 4 << 20 },
  start: { name: 'reserve-start', bytes: 2 << 20 },
} as const;
const CHUNK = Buffer.alloc(1 << 18, 1);

export class DiskReserve {
  readonly #directory: string;
  readonly #path: string;
  readonly #bytes: number;

  constructor(directory: string, purpose: keyof typeof RESERVES) {
    this.#directory = directory;
    this.#path = join(directory, RESERVES[purpose].name);
    this.#bytes = RESERVES[purpose].bytes;
  }

  /** Takes the space again where it is missing, and there is that much. Whether it is there now. Never throws. */
  fill(): boolean {
    try {
      if (statSync(this.#path, { throwIfNoEntry: false })?.size === this.#bytes) return true;
      // Asked first: trying would take what little there is from who writes meanwhile.
      const { bavail, bsize } = statfsSync(this.#directory);
      if (bavail * bsize < this.#bytes) return false;
      const file = openSync(this.#path, 'w', 0o600);
      try {
        // Written out: a file with a hole in it would hold nothing.
        for (let written = 0; written < this.#bytes;) written += writeSync(file, CHUNK);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      return true;
    } catch {
      this.release();
      return false;
    }
  }

  /** Gives the space to whoever writes next. Never throws. */
  release(): void {
    try {
      rmSync(this.#path, { force: true });
    } catch {
      // A file system that takes no deletion frees nothing either.
    }
  }
}
