/**
 * The statements on the tables, prepared once: every one of them finds its rows by
 * an index, however many there are.
 */
import type { Database } from './database.ts';

/** The events of an execution that is done, a JSON document a line. */
export interface StoredEvents {
  readonly lastSeq: number;
  /** Of all lines together. */
  readonly bytes: number;
  /** Absent: they are in the file of events in the execution's directory. */
  readonly inline?: Buffer;
  /** Number of the terminal event, when it is not among the lines: then it is made from the result. */
  readonly terminalSeq?: number;
  /** Its `t_ms`; absent: what lies between acceptance and end. */
  readonly terminalMs?: number;
}

export interface ExecutionRow {
  readonly id: string;
  readonly owner: string;
  readonly state: 'accepted' | 'starting' | 'done';
  readonly finished_ms: number | null;
  readonly form: string | null;
  readonly result: string;
  readonly shown_seq: number;
  readonly terminal_seq: number | null;
  readonly terminal_ms: number | null;
  readonly last_seq: number;
  readonly events_bytes: number;
  readonly events: Uint8Array | null;
}

interface DueRow {
  readonly id: string;
  readonly finished_ms: number;
  readonly bytes: number;
  readonly has_files: number;
}

const COLUMNS =
  'id, owner, state, finished_ms, form, result, shown_seq, terminal_seq, terminal_ms, last_seq, events_bytes, events';

/** Free pages are given back from this many on, so many at a time. */
const FREE_PAGES_MAX = 4096;
const SHRINK_PAGES = 512;

export const SQL = {
  insert: `INSERT INTO executions (id, owner, state, accepted_ms, form, result) VALUES (?, ?, 'accepted', ?, ?, ?)`,
  starting: `UPDATE executions SET state = 'starting', container = ? WHERE id = ?`,
  shown: 'UPDATE executions SET shown_seq = ? WHERE id = ?',
  finish: `UPDATE executions SET state = 'done', finished_ms = ?, bytes = ?, has_files = ?, result = ?, terminal_seq = ?, terminal_ms = ?, last_seq = ?,
    events_bytes = ?, events = ? WHERE id = ? AND state <> 'done'`,
  byId: `SELECT ${COLUMNS} FROM executions WHERE id = ?`,
  unfinished: `SELECT ${COLUMNS} FROM executions WHERE state <> 'done' LIMIT ?`,
  oldest: `SELECT id, finished_ms, bytes, has_files FROM executions WHERE state = 'done' ORDER BY finished_ms LIMIT ?`,
  sums: `SELECT count(*) AS count, coalesce(sum(bytes), 0) AS bytes FROM executions WHERE state = 'done'`,
  remove: 'DELETE FROM executions WHERE id = ?',
  putKey: `INSERT OR REPLACE INTO idempotency (caller, key, request, execution) VALUES (?, ?, ?, ?)`,
  byKey: 'SELECT request, execution AS id FROM idempotency WHERE caller = ? AND key = ?',
  removeKeys: 'DELETE FROM idempotency WHERE execution = ?',
  probe: 'INSERT OR REPLACE INTO probe (id, at_ms) VALUES (1, ?)',
} as const;

export type Statements = ReturnType<typeof statementsOf>;

export function statementsOf(database: Database) {
  const prepared = Object.fromEntries(
    Object.entries(SQL).map(([name, sql]) => [name, database.prepare(sql)]),
  ) as Record<keyof typeof SQL, ReturnType<Database['prepare']>>;
  return {
    insert: (id: string, owner: string, acceptedMs: number, form: string | null, result: string) => {
      prepared.insert.run(id, owner, acceptedMs, form, result);
    },
    starting: (id: string, container: string) => {
      prepared.starting.run(container, id);
    },
    /** How many rows it changed: 0 when there is none, or it is done. */
    finish: (row: {
      readonly id: string;
      readonly finishedMs: number;
      readonly bytes: number;
      readonly hasFiles: boolean;
      readonly result: string;
      readonly events: StoredEvents;
    }): number => {
      const { finishedMs, result, id } = row;
      const { terminalSeq = null, terminalMs = null, lastSeq, bytes, inline = null } = row.events;
      const values = [
        finishedMs,
        row.bytes,
        row.hasFiles ? 1 : 0,
        result,
        terminalSeq,
        terminalMs,
        lastSeq,
        bytes,
        inline,
        id,
      ];
      return Number(prepared.finish.run(...values).changes);
    },
    shown: (id: string, seq: number) => {
      prepared.shown.run(seq, id);
    },
    byId: (id: string) => prepared.byId.get(id) as unknown as ExecutionRow | undefined,
    unfinished: (limit: number) => prepared.unfinished.all(limit) as unknown as ExecutionRow[],
    oldest: (limit: number) => prepared.oldest.all(limit) as unknown as DueRow[],
    sums: () => prepared.sums.get() as unknown as { count: number; bytes: number },
    remove: (id: string) => {
      prepared.remove.run(id);
      prepared.removeKeys.run(id);
    },
    putKey: (caller: string, key: string, request: string, execution: string) => {
      prepared.putKey.run(caller, key, request, execution);
    },
    byKey: (caller: string, key: string) =>
      prepared.byKey.get(caller, key) as unknown as { request: string; id: string } | undefined,
    probe: (atMs: number) => {
      prepared.probe.run(atMs);
    },
    /** Gives some of the pages nobody uses back to the file system. */
    shrink: () => {
      if (database.pragma('freelist_count') < FREE_PAGES_MAX) return;
      database.prepare(`PRAGMA incremental_vacuum(${String(SHRINK_PAGES)})`).all();
    },
  };
}
