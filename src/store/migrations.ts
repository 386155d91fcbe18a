/**
 * The schema, a step for each version. A step that was released is never changed:
 * a new one is added at the end. `user_version` counts those that were taken.
 */
export const MIGRATIONS: readonly string[] = [
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
];
