/**
 * The end of an execution goes to the store before anybody is told of it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ServiceError } from '../domain/errors.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { KeptEvents } from '../output/kept-events.ts';
import type { ExecutionStore } from '../store/execution-store.ts';
import type { ExecutionRecord } from './execution-record.ts';

/** Before each attempt. A disk may be full for a moment only. */
const WAITS_MS = [0, 250, 1000];

/** Ends that stay what they are when output is lost. Of a program that was let run to its end, output is the point. */
const OUTPUT_IS_NO_ANSWER: ReadonlySet<Outcome['kind']> = new Set([
  'cancelled',
  'queue_timeout',
  'infrastructure_error',
]);

export interface RecordedEnd {
  /** Whether the store has it. */
  readonly isRecorded: boolean;
  /** Whether all its events are in the store's row. */
  readonly isInline: boolean;
  /** Why the end is not what was observed, when it is not. */
  readonly failure?: unknown;
}

/**
 * Records the sealed end of `record`. When there is no room for it, its end is that, with as much of its output as
 * can be kept and the rest counted as left out. Never rejects.
 */
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
  const end: Outcome = { kind: 'infrastructure_error', code, detail: 'The end of the run could not be recorded.' };
  const isKept = record.sealedOutcome !== undefined && OUTPUT_IS_NO_ANSWER.has(record.sealedOutcome.kind);
  const seal = () => {
    record.sealAgain(isKept ? undefined : end);
  };
  const kept = await record.salvage();
  const isInline = kept.inline !== undefined;
  seal();
  try {
    recordPart(record, store, kept);
    return { isRecorded: true, isInline, failure };
  } catch {
    record.forget();
    seal();
  }
  try {
    recordWithoutOutput(record, store);
    return { isRecorded: true, isInline: true, failure };
  } catch {
    return { isRecorded: false, isInline: true, failure };
  }
}

/** The smallest row that tells how it ended. @throws {ServiceError} storage_full, storage_unavailable. */
export function recordWithoutOutput(record: ExecutionRecord, store: ExecutionStore): void {
  recordPart(record, store, { lastSeq: 0, bytes: 0, inline: Buffer.alloc(0) });
}

/** The end, and behind a gap in the numbers of the events the terminal one. */
function recordPart(record: ExecutionRecord, store: ExecutionStore, kept: KeptEvents): void {
  const { terminalSeq, terminalMs } = record;
  store.finish(record.id, record.finalResult(), { ...kept, terminalSeq, terminalMs });
}
