/**
 * The end of an execution goes to the store before anybody is told of it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ServiceError } from '../domain/errors.ts';
import type { ExecutionStore } from '../store/execution-store.ts';
import type { ExecutionRecord } from './execution-record.ts';

/** Before each attempt. A disk may be full for a moment only. */
const WAITS_MS = [0, 250, 1000];

export interface RecordedEnd {
  /** Whether the store has it. */
  readonly isRecorded: boolean;
  /** Whether all its events are in the store's row. */
  readonly isInline: boolean;
  /** Why the end is not what was observed, when it is not. */
  readonly failure?: unknown;
}

/** Records the sealed end of `record`. When that cannot be, its end is that, and its output is lost. Never rejects. */
export async function recordEnd(record: ExecutionRecord, store: ExecutionStore): Promise<RecordedEnd> {
  let failure: unknown;
  for (const waitMs of WAITS_MS) {
    if (waitMs > 0) await delay(waitMs);
    try {
      const kept = await record.settle();
      store.finish(record.id, record.finalResult(), kept);
      return { isRecorded: true, isInline: kept.inline !== undefined };
    } catch (error) {
      failure = error;
    }
  }
  const code = failure instanceof ServiceError ? failure.code : 'storage_unavailable';
  record.seal({ kind: 'infrastructure_error', code, detail: 'The end of the run could not be recorded.' }, undefined);
  try {
    recordWithoutOutput(record, store);
    return { isRecorded: true, isInline: true, failure };
  } catch {
    return { isRecorded: false, isInline: true, failure };
  }
}

/** The smallest row that tells how it ended. @throws {ServiceError} storage_full, storage_unavailable. */
export function recordWithoutOutput(record: ExecutionRecord, store: ExecutionStore): void {
  const terminalSeq = record.terminalSeq;
  store.finish(record.id, record.finalResult(), { lastSeq: 0, bytes: 0, inline: Buffer.alloc(0), terminalSeq });
}
