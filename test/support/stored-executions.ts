/** Executions for tests of the store, and a way to fill it with very many. */
import { DatabaseSync } from 'node:sqlite';
import { newExecutionId, type ExecutionId, type ExecutionResult } from '../../src/domain/execution.ts';

export function resultOf(id: ExecutionId, change: Partial<ExecutionResult> = {}): ExecutionResult {
  return {
    execution_id: id,
    status: 'pending',
    exit_code: 0,
    image: 'pyexec/slim:latest',
    runtime: 'runc',
    created_at: new Date().toISOString(),
    ...change,
  };
}

export const finishedResult = (id: ExecutionId, finishedAt = new Date()): ExecutionResult =>
  resultOf(id, {
    status: 'completed',
    outcome: { kind: 'exited', exit_code: 0 },
    finished_at: finishedAt.toISOString(),
  });

/** Events of a run that printed `text`, as they are kept. */
export function eventsThatPrint(id: ExecutionId, text: string) {
  const inline = Buffer.from(
    [
      { seq: 1, t_ms: 0, type: 'status', status: 'pending' },
      { seq: 2, t_ms: 1, type: 'status', status: 'running' },
      { seq: 3, t_ms: 2, type: 'stdout', data: text },
      { seq: 4, t_ms: 3, type: 'result', ...finishedResult(id) },
    ]
      .map((event) => `${JSON.stringify(event)}\n`)
      .join(''),
  );
  return { lastSeq: 4, bytes: inline.length, inline };
}

/**
 * Puts `count` finished executions of an ordinary size into the database at `path`, which exists and nobody has open.
 * @returns the id of the first.
 */
export function fillStore(path: string, count: number): ExecutionId {
  const database = new DatabaseSync(path);
  try {
    database.exec('PRAGMA synchronous = OFF; BEGIN');
    const insert = database.prepare(
      `INSERT INTO executions (id, owner, state, accepted_ms, finished_ms, bytes, result, last_seq, events_bytes, events)
       VALUES (?, 'anonymous', 'done', ?, ?, 2000, ?, 4, ?, ?)`,
    );
    const first = newExecutionId();
    const now = Date.now();
    for (let index = 0; index < count; index += 1) {
      const id = index === 0 ? first : newExecutionId();
      const { inline, bytes } = eventsThatPrint(id, 'x'.repeat(400));
      insert.run(id, now, now, JSON.stringify(finishedResult(id)), bytes, inline);
    }
    database.exec('COMMIT; PRAGMA wal_checkpoint(TRUNCATE)');
    return first;
  } finally {
    database.close();
  }
}
