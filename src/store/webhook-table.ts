/**
 * Deliveries of webhooks in a database file of their own, readable by this user
 * alone: it holds the secrets that sign them.
 *
 * Every write is on the disk when the call returns.
 */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import type { ExecutionId } from '../domain/execution.ts';
import type { DeliveryState, DeliveryTable, WebhookDelivery } from '../domain/webhook.ts';

/** Of one owner so many are looked at, so that nobody's fill the view. */
const DUE_OF_ONE_OWNER = 8;

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
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
  CREATE INDEX IF NOT EXISTS deliveries_by_state ON deliveries (state, due_at);
  CREATE INDEX IF NOT EXISTS deliveries_by_execution ON deliveries (execution_id);
`;

export class WebhookTable implements DeliveryTable {
  readonly #database: DatabaseSync;

  /** Opens `webhooks.sqlite` in the directory, made where there is none. Throws what SQLite throws. */
  constructor(directory: string) {
    const file = join(directory, 'webhooks.sqlite');
    this.#database = new DatabaseSync(file);
    chmodSync(file, 0o600);
    this.#database.exec(SCHEMA);
  }

  put(delivery: WebhookDelivery): void {
    this.#database
      .prepare('INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
      .run(
        delivery.id,
        delivery.executionId,
        delivery.ownerId,
        delivery.url,
        delivery.secret,
        delivery.state,
        delivery.body,
        delivery.attempts,
        Math.round(delivery.dueAt),
        delivery.lastError,
        delivery.createdAt,
      );
  }

  get(id: string): WebhookDelivery | undefined {
    return this.#rows('WHERE id = ?', id)[0];
  }

  remove(id: string): void {
    this.#database.prepare('DELETE FROM deliveries WHERE id = ?').run(id);
  }

  waitingFor(executionId: string): WebhookDelivery | undefined {
    return this.#rows("WHERE execution_id = ? AND state = 'waiting'", executionId)[0];
  }

  inState(state: DeliveryState, limit: number): readonly WebhookDelivery[] {
    return this.#rows('WHERE state = ? LIMIT ?', state, limit);
  }

  due(limit: number): readonly WebhookDelivery[] {
    return this.#database
      .prepare(
        `SELECT * FROM
          (SELECT *, row_number() OVER (PARTITION BY owner_id ORDER BY due_at, id) AS place
           FROM deliveries WHERE state = 'due')
         WHERE place <= ? ORDER BY due_at, id LIMIT ?`,
      )
      .all(DUE_OF_ONE_OWNER, limit)
      .map((row) => deliveryOf(row));
  }

  dead(ownerId: string | undefined, limit: number): readonly WebhookDelivery[] {
    return ownerId === undefined
      ? this.#rows("WHERE state = 'dead' ORDER BY due_at DESC LIMIT ?", limit)
      : this.#rows("WHERE state = 'dead' AND owner_id = ? ORDER BY due_at DESC LIMIT ?", ownerId, limit);
  }

  count(state: DeliveryState): number {
    const row = this.#database.prepare('SELECT count(*) AS n FROM deliveries WHERE state = ?').get(state);
    return Number(row?.['n'] ?? 0);
  }

  trimDead(kept: number): void {
    this.#database
      .prepare(
        `DELETE FROM deliveries WHERE state = 'dead' AND id NOT IN
          (SELECT id FROM deliveries WHERE state = 'dead' ORDER BY due_at DESC LIMIT ?)`,
      )
      .run(kept);
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #rows(where: string, ...values: (string | number)[]): WebhookDelivery[] {
    return this.#database
      .prepare(`SELECT * FROM deliveries ${where}`)
      .all(...values)
      .map((row) => deliveryOf(row));
  }
}

function deliveryOf(row: Record<string, SQLOutputValue>): WebhookDelivery {
  const text = (name: string) => row[name] as string;
  return {
    id: text('id'),
    executionId: text('execution_id') as ExecutionId,
    ownerId: text('owner_id'),
    url: text('url'),
    secret: text('secret'),
    state: text('state') as DeliveryState,
    body: text('body'),
    attempts: Number(row['attempts']),
    dueAt: Number(row['due_at']),
    lastError: text('last_error'),
    createdAt: Number(row['created_at']),
  };
}
