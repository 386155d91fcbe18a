/**
 * An execution that has ended, as the store has it: shown like one that was watched.
 *
 * Nothing about it changes any more, and nothing of it is in memory but what is
 * being read.
 */
import { join } from 'node:path';
import type { Execution, ExecutionResult } from '../domain/execution.ts';
import { lineOf, type EventLines } from '../output/event-lines.ts';
import { collectKept, followKept, type KeptEvents } from '../output/kept-events.ts';
import { EVENTS_FILE } from '../output/spill-file.ts';
import type { StoredExecution } from '../store/execution-store.ts';
import { terminalEvent, withOutput } from './ends.ts';

export class RecordedExecution {
  readonly ended = Promise.resolve();
  readonly #stored: StoredExecution;
  readonly #kept: KeptEvents;

  constructor(stored: StoredExecution, directory: string) {
    this.#stored = stored;
    const { events } = stored;
    this.#kept = events.inline
      ? { ...events, inline: events.inline }
      : { ...events, file: join(directory, EVENTS_FILE) };
  }

  get id() {
    return this.#stored.id;
  }

  get ownerId() {
    return this.#stored.ownerId;
  }

  get form() {
    return this.#stored.form;
  }

  get status() {
    return this.#stored.result.status;
  }

  /** It has ended: there is nothing to cancel. */
  cancel(): void {
    return;
  }

  result(): ExecutionResult {
    return this.#stored.result;
  }

  /** @throws {Error} when its file of events is gone. */
  async snapshot(): Promise<Execution> {
    return withOutput(this.#stored.result, await collectKept(this.#kept));
  }

  /** The events after `after`. Where output was lost the terminal event may have a number far above the others'. */
  async *follow(after: number, signal: AbortSignal): AsyncGenerator<EventLines, void, void> {
    const { events, result } = this.#stored;
    for await (const lines of followKept(this.#kept, after, signal)) {
      yield events.terminalSeq === undefined ? lines : { ...lines, isTerminal: false };
    }
    const seq = events.terminalSeq ?? 0;
    if (seq <= after || signal.aborted) return;
    const lastedMs = Date.parse(result.finished_at ?? '') - Date.parse(result.created_at);
    const tMs = events.terminalMs ?? Math.max(0, lastedMs);
    yield { bytes: lineOf(seq, tMs, terminalEvent(result)), firstSeq: seq, lastSeq: seq, isTerminal: true };
  }
}
