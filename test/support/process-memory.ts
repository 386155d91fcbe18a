/** How much memory another process holds, as the kernel counts it. */
import { readFileSync, writeFileSync } from 'node:fs';

export class ProcessMemory {
  readonly #pid: number;

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** Bytes resident now. */
  get residentBytes(): number {
    return this.#read('VmRSS');
  }

  /** The most bytes that were resident at one time since `forgetPeak`: the kernel's own mark, which misses nothing. */
  get peakBytes(): number {
    return this.#read('VmHWM');
  }

  forgetPeak(): void {
    writeFileSync(`/proc/${String(this.#pid)}/clear_refs`, '5');
  }

  #read(field: string): number {
    const status = readFileSync(`/proc/${String(this.#pid)}/status`, 'utf8');
    const kib = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    if (kib === undefined) throw new Error(`no ${field}`);
    return Number(kib) * 1024;
  }
}
