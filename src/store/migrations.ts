/**
 * The schemas of the databases that only this process writes; see Database for how
 * their steps are taken.
 */
export const EXECUTIONS_SCHEMA: readonly string[] = [
  `
  CREATE TABLE executions (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('accepted', 'starting', 'done')),
    accepted_ms INTEGER NOT NULL,
    finished_ms INTEGER,
    bytes INTEGER NOT NULL DEFAULT 0,
    has_files INTEGER NOT NULL DEFAULT 0,
    container TEXT,
    shown_seq INTEGER NOT NULL DEFAULT 0,
    terminal_seq INTEGER,
    form TEXT,
    result TEXT NOT NULL,
    last_seq INTEGER NOT NULL DEFAULT 0,
    events_bytes INTEGER NOT NULL DEFAULT 0,
    events BLOB
  ) STRICT;
  CREATE INDEX executions_done ON executions (finished_ms, bytes) WHERE state = 'done';
  CREATE INDEX executions_open ON executions (state) WHERE state <> 'done';

  CREATE TABLE idempotency (
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    request TEXT NOT NULL,
    execution TEXT NOT NULL,
    PRIMARY KEY (caller, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX idempotency_execution ON idempotency (execution);

  CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), at_ms INTEGER NOT NULL) STRICT
  `,
  'ALTER TABLE executions ADD COLUMN terminal_ms REAL',
];

/** The first steps take over files from before versions were counted. */
export const WEBHOOKS_SCHEMA: readonly string[] = [
  `
  CREATE TABLE IF NOT EXISTS deliveries (
    id TEXT PRIMARY KEY,
    execution_id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    state TEXT NOT NULL,
    body TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    created_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS deliveries_by_execution ON deliveries (execution_id)
  `,
  `
  DROP INDEX IF EXISTS deliveries_by_state;
  CREATE INDEX deliveries_by_owner ON deliveries (state, owner_id, due_at)
  `,
];

export const USAGE_SCHEMA: readonly string[] = [
  `
  CREATE TABLE IF NOT EXISTS used (
    caller_id TEXT PRIMARY KEY,
    window INTEGER NOT NULL,
    cpu_ms REAL NOT NULL,
    memory_mib_ms REAL NOT NULL
  ) STRICT
  `,
];

export const ADVISORIES_SCHEMA: readonly string[] = [
  `
  CREATE TABLE answers (
    key TEXT PRIMARY KEY,
    checked_ms INTEGER NOT NULL,
    answer TEXT NOT NULL
  ) STRICT
  `,
];
