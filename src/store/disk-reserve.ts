/**
 * A file that holds disk space for the day there is none: what was accepted can
 * then still be recorded as ended, and old executions can be deleted.
 */
import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const RESERVE_BYTES = 4 << 20;
const CHUNK = Buffer.alloc(1 << 18, 1);

export class DiskReserve {
  readonly #path: string;

  constructor(directory: string) {
    this.#path = join(directory, 'reserve');
  }

  /** Takes the space again where it is missing. Whether it is there now. Never throws. */
  fill(): boolean {
    try {
      if (statSync(this.#path, { throwIfNoEntry: false })?.size === RESERVE_BYTES) return true;
      const file = openSync(this.#path, 'w', 0o600);
      try {
        // Written out: a file with a hole in it would hold nothing.
        for (let written = 0; written < RESERVE_BYTES;) written += writeSync(file, CHUNK);
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
