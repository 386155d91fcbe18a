/**
 * What a process before this one left without an end is given one: `interrupted`,
 * with what is known of it and nothing that is not.
 *
 * A program's output reaches us through one stream, which died with that process:
 * what it wrote afterwards can never be had in full, so nothing is taken over. Only
 * an execution whose whole record lay on the disk, its end included, keeps that end.
 * Recovery writes one row for each and no file: broken off anywhere, it begins anew.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { AnalysisReport } from '../domain/analysis.ts';
import { isTerminal, type ExecutionEvent } from '../domain/events.ts';
import type { ExecutionId, ExecutionResult } from '../domain/execution.ts';
import { statusOf, type Outcome } from '../domain/outcome.ts';
import { lineOf } from '../output/event-lines.ts';
import { EVENTS_FILE } from '../output/spill-file.ts';
import type { ExecutionStore, StoredExecution } from '../store/execution-store.ts';
import { endOf } from './ends.ts';

/** Executions looked at in one go. */
const BATCH = 256;

const REASONS = {
  accepted: 'the service ended before the program was started',
  starting: 'the service ended while the program ran',
} as const;

/** The lines of events that are whole, and the last of them. */
interface FoundEvents {
  readonly lastSeq: number;
  readonly bytes: number;
  readonly last: ExecutionEvent | undefined;
}

export interface RecoveryOptions {
  readonly store: ExecutionStore;
  readonly directoryOf: (id: ExecutionId) => string;
  /** Those that run in this process. */
  readonly active: ReadonlyMap<string, unknown>;
}

/**
 * Ends what was left without an end.
 * @returns the executions that were ended.
 * @throws {ServiceError} storage_full, storage_unavailable: the rest is as it was.
 */
export async function recover({ store, directoryOf, active }: RecoveryOptions): Promise<readonly ExecutionResult[]> {
  const ended: ExecutionResult[] = [];
  for (;;) {
    const left = store.unfinished(BATCH + active.size).filter(({ id }) => !active.has(id));
    if (left.length === 0) return ended;
    for (const execution of left) ended.push(await endOne(execution, store, directoryOf(execution.id)));
  }
}

async function endOne(execution: StoredExecution, store: ExecutionStore, directory: string): Promise<ExecutionResult> {
  const { id } = execution;
  const found = await readEvents(join(directory, EVENTS_FILE));
  const { last, lastSeq, bytes } = found;
  if (last && (last.type === 'result' || last.type === 'error')) {
    const result = resultOf(last);
    store.finish(id, result, { lastSeq, bytes });
    return result;
  }
  const result = interrupted(execution);
  const events = lastSeq > 0 ? { lastSeq, bytes } : statusEvents(execution);
  store.finish(id, result, { ...events, terminalSeq: Math.max(events.lastSeq, execution.shownSeq) + 1 });
  return result;
}

function interrupted({ state, result }: StoredExecution): ExecutionResult {
  const outcome: Outcome = { kind: 'interrupted', reason: REASONS[state === 'accepted' ? 'accepted' : 'starting'] };
  // What an analysis was to say is lost, unless it was over before the run was accepted.
  const analysis: AnalysisReport | undefined =
    result.analysis?.status === 'pending' ? { status: 'interrupted' } : result.analysis;
  const finished_at = new Date().toISOString();
  return { ...result, ...(analysis && { analysis }), status: statusOf(outcome), ...endOf(outcome), finished_at };
}

/** What would have been told first; nothing where readers may have seen it, to the microsecond, otherwise. */
function statusEvents({ state, shownSeq }: StoredExecution) {
  if (shownSeq > 0) return { lastSeq: 0, bytes: 0, inline: Buffer.alloc(0) };
  const pending = lineOf(1, 0, { type: 'status', status: 'pending' });
  const inline =
    state === 'accepted' ? pending : Buffer.concat([pending, lineOf(2, 0, { type: 'status', status: 'running' })]);
  return { lastSeq: state === 'accepted' ? 1 : 2, bytes: inline.length, inline };
}

/** The result in a terminal event. */
function resultOf(event: Extract<ExecutionEvent, { type: 'result' | 'error' }>): ExecutionResult {
  const result: Record<string, unknown> = { ...event };
  for (const field of ['seq', 't_ms', 'type', ...(event.type === 'error' ? ['code', 'detail'] : [])]) {
    delete result[field];
  }
  return result as unknown as ExecutionResult;
}

/** The events of a file up to the first that is not whole or not the next; none when there is no file. */
async function readEvents(path: string): Promise<FoundEvents> {
  let found: FoundEvents = { lastSeq: 0, bytes: 0, last: undefined };
  const file = await open(path, 'r').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (!file) return found;
  try {
    const { size } = await file.stat();
    for await (const line of createInterface({ input: file.createReadStream({ autoClose: false }), crlfDelay: 0 })) {
      const bytes = found.bytes + Buffer.byteLength(line) + 1;
      const event = eventOf(line);
      // The last line may lack its end.
      if (bytes > size || event?.seq !== found.lastSeq + 1) break;
      found = { lastSeq: event.seq, bytes, last: event };
      if (isTerminal(event)) break;
    }
    return found;
  } finally {
    await file.close();
  }
}

function eventOf(line: string): ExecutionEvent | undefined {
  try {
    return JSON.parse(line) as ExecutionEvent;
  } catch {
    return undefined;
  }
}
