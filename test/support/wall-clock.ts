/**
 * The wall clock of one process, moved while it runs: a few lines of C in front of its
 * C library. What is monotonic goes on as ever.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('wall-clock.c', import.meta.url));

export const hasCompiler = spawnSync('cc', ['--version']).status === 0;

export class WallClock implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'pyexec-clock-'));

  constructor() {
    this.moveTo(0);
    execFileSync('cc', ['-shared', '-fPIC', '-O2', '-o', join(this.#directory, 'clock.so'), SOURCE, '-ldl']);
  }

  /** What a process that is to have this clock is started with. */
  get environment(): Readonly<Record<string, string>> {
    return { LD_PRELOAD: join(this.#directory, 'clock.so'), WALL_CLOCK_FILE: join(this.#directory, 'offset') };
  }

  /** From now on its clock is so many seconds ahead of the machine's. */
  moveTo(seconds: number): void {
    const offset = Buffer.alloc(8);
    offset.writeBigInt64LE(BigInt(seconds));
    // In place: whoever has mapped it sees it at once.
    const file = openSync(join(this.#directory, 'offset'), constants.O_RDWR | constants.O_CREAT);
    writeSync(file, offset, 0, offset.length, 0);
    closeSync(file);
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
