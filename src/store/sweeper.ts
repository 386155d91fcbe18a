/**
 * Keeps the records within their bounds: a bounded piece of work at a time, with
 * room between the pieces, and the directories of what went; and the disk space
 * that is set aside.
 *
 * At boot it also removes directories nobody recorded, which a crash between the
 * deletion of a record and that of its files leaves.
 */
import { opendir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskReserve } from './disk-reserve.ts';
import type { ExecutionStore } from './execution-store.ts';
import type { StateDirectory } from './state-directory.ts';

/** Records removed at a time: a few milliseconds of the event loop. */
const PIECE = 64;
const PAUSE_MS = 20;

export interface SweeperOptions {
  readonly directory: StateDirectory;
  readonly store: ExecutionStore;
  /** Made again after a sweep where there is room, the first one first. */
  readonly reserves: readonly DiskReserve[];
  readonly intervalMs: number;
  readonly onError: (error: unknown) => void;
}

export class Sweeper {
  readonly #options: SweeperOptions;
  #timer: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: SweeperOptions) {
    this.#options = options;
  }

  /**
   * Sweeps now: a start may have room for nothing else. Then sweeps and does `also` at the interval, until `stop`.
   * Failures are reported and tried again.
   */
  start(also: () => Promise<void>): void {
    void this.sweep();
    this.#timer = setInterval(() => {
      void this.sweep();
      void this.guard(also);
    }, this.#options.intervalMs);
    this.#timer.unref();
  }

  /** Does `work`, and reports its failure. Never rejects. */
  async guard(work: () => Promise<void>): Promise<void> {
    try {
      if (!this.#isStopped) await work();
    } catch (error) {
      this.#options.onError(error);
    }
  }

  /** Resolves when nothing is being removed any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    await this.#sweeping;
  }

  /** Removes all that is due now. Never rejects. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep()
      .catch(this.#options.onError)
      .finally(() => {
        for (const reserve of this.#options.reserves) reserve.fill();
        this.#sweeping = undefined;
      });
    return this.#sweeping;
  }

  /** Removes the directories of executions nobody recorded. Never rejects. */
  async removeStrays(): Promise<void> {
    const { directory, store, onError } = this.#options;
    try {
      for await (const entry of await opendir(join(directory.path, 'executions'))) {
        if (this.#isStopped) return;
        if (!store.has(entry.name)) await this.#removeFiles(entry.name);
      }
    } catch (error) {
      onError(error);
    }
  }

  async #sweep(): Promise<void> {
    for (;;) {
      if (this.#isStopped) return;
      const { withFiles, isMoreDue } = this.#options.store.removeDue(PIECE);
      for (const id of withFiles) await this.#removeFiles(id);
      if (!isMoreDue) return;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  async #removeFiles(id: string): Promise<void> {
    await rm(this.#options.directory.executionDirectory(id), { recursive: true, force: true });
  }
}
