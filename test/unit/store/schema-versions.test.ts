/** The databases of the state directory: which of them open, and what is said of those that do not. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { newExecutionId } from '../../../src/domain/execution.ts';
import type { WebhookDelivery } from '../../../src/domain/webhook.ts';
import { AdvisoryTable } from '../../../src/store/advisory-table.ts';
import { ExecutionStore } from '../../../src/store/execution-store.ts';
import { ADVISORIES_SCHEMA, EXECUTIONS_SCHEMA, USAGE_SCHEMA, WEBHOOKS_SCHEMA } from '../../../src/store/migrations.ts';
import { StateDirectory, StateDirectoryError } from '../../../src/store/state-directory.ts';
import { UsageTable } from '../../../src/store/usage-table.ts';
import { WebhookTable } from '../../../src/store/webhook-table.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

let directory: ReturnType<typeof temporaryStateDirectory>;
let state: StateDirectory;
beforeEach(() => {
  directory = temporaryStateDirectory();
  state = StateDirectory.open(directory.path);
});
afterEach(() => {
  state.close();
  directory.remove();
});

const delivery = (id: string): WebhookDelivery => ({
  id,
  executionId: newExecutionId(),
  ownerId: 'ada',
  url: 'https://a.example',
  secret: 'secret',
  state: 'due',
  body: 'x'.repeat(3000),
  attempts: 1,
  dueAt: 5,
  lastError: '',
  createdAt: 1,
});

/** Each database: its file, how it is opened, how it is filled over several pages. */
const DATABASES = {
  'state.sqlite': {
    schema: EXECUTIONS_SCHEMA,
    open: () => new ExecutionStore(state, { ttlMs: 1e9, bytesMax: 1e12, countMax: 1e9 }),
    fill: () => undefined,
  },
  'webhooks.sqlite': {
    schema: WEBHOOKS_SCHEMA,
    open: () => new WebhookTable(state.path),
    fill: () => {
      const table = new WebhookTable(state.path);
      for (let n = 0; n < 50; n += 1) table.put(delivery(`d${String(n)}`));
      table.close();
    },
  },
  'usage.sqlite': {
    schema: USAGE_SCHEMA,
    open: () => new UsageTable(state.path),
    fill: () => {
      const table = new UsageTable(state.path);
      for (let n = 0; n < 500; n += 1) table.save(1, { callerId: `caller-${String(n)}`, cpuMs: 1, memoryMibMs: 1 });
      table.close();
    },
  },
  'advisories.sqlite': {
    schema: ADVISORIES_SCHEMA,
    open: () => new AdvisoryTable(state.path),
    fill: () => {
      const table = new AdvisoryTable(state.path);
      const answer = { packagesChecked: 1, advisories: [], isCut: false };
      for (let n = 0; n < 500; n += 1) table.put({ key: `key-${String(n)}`, checkedMs: n, answer });
      table.close();
    },
  },
} as const;

describe.each(Object.entries(DATABASES))('%s', (name, { schema, open, fill }) => {
  const path = () => join(state.path, name);

  test('is made for this user alone, counts its version, and opens again', () => {
    open().close();
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    const database = new DatabaseSync(path());
    expect(database.prepare('PRAGMA user_version').get()).toEqual({ user_version: schema.length });
    database.close();
    open().close();
  });

  test('of a later version is refused, and left as it is', () => {
    open().close();
    const database = new DatabaseSync(path());
    database.exec(`PRAGMA user_version = ${String(schema.length + 1)}`);
    database.close();
    const before = readFileSync(path());
    expect(open).toThrow(StateDirectoryError);
    expect(open).toThrow(`${path()} was written by a later version of this service`);
    expect(readFileSync(path()).equals(before)).toBe(true);
  });

  test('that is no database is refused, and left as it is', () => {
    writeFileSync(path(), Buffer.alloc(8192, 'no database'));
    expect(open).toThrow(StateDirectoryError);
    expect(open).toThrow(/ is damaged; restore it, or move it away/);
    expect(readFileSync(path()).equals(Buffer.alloc(8192, 'no database'))).toBe(true);
  });

  test.runIf(name !== 'state.sqlite')('that is damaged in the middle is refused too', () => {
    fill();
    open().close();
    const bytes = readFileSync(path());
    bytes.fill(0xa5, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 4096);
    writeFileSync(path(), bytes);
    expect(open).toThrow(/ is damaged; restore it, or move it away/);
  });
});

test('files from before versions were counted are taken over with what is in them', () => {
  const webhooks = new DatabaseSync(join(state.path, 'webhooks.sqlite'));
  webhooks.exec(`CREATE TABLE deliveries (id TEXT PRIMARY KEY, execution_id TEXT NOT NULL, owner_id TEXT NOT NULL,
    url TEXT NOT NULL, secret TEXT NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL, attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL, last_error TEXT NOT NULL, created_at INTEGER NOT NULL) STRICT;
    CREATE INDEX deliveries_by_state ON deliveries (state, due_at);
    CREATE INDEX deliveries_by_execution ON deliveries (execution_id);
    INSERT INTO deliveries VALUES ('w', 'e', 'ada', 'u', 's', 'due', 'body', 2, 9, 'timeout', 1)`);
  webhooks.close();
  const usage = new DatabaseSync(join(state.path, 'usage.sqlite'));
  usage.exec(`CREATE TABLE used (caller_id TEXT PRIMARY KEY, window INTEGER NOT NULL, cpu_ms REAL NOT NULL,
    memory_mib_ms REAL NOT NULL) STRICT; INSERT INTO used VALUES ('ada', 7, 1.5, 2)`);
  usage.close();

  const table = new WebhookTable(state.path);
  expect(table.due(9)).toMatchObject([{ id: 'w', attempts: 2, lastError: 'timeout' }]);
  expect(table.get('w')?.body).toBe('body');
  table.close();
  const used = new UsageTable(state.path);
  expect(used.load(7)).toEqual([{ callerId: 'ada', cpuMs: 1.5, memoryMibMs: 2 }]);
  used.close();
});
