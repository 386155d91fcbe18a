/**
 * Deliveries of webhooks in a database file of their own, readable by this user
 * alone: it holds the secrets that sign them.
 *
 * Every write is on the disk when the call returns.
 */
import { join } from 'node:path';
import type { SQLOutputValue } from 'node:sqlite';
import type { ExecutionId } from '../domain/execution.ts';
import type { DeliveryNote, DeliveryState, DeliveryTable, WebhookDelivery } from '../domain/webhook.ts';
import { Database } from './database.ts';
import { WEBHOOKS_SCHEMA } from './migrations.ts';

/** Of one owner so many are looked at, so that nobody's fill the view. */
const DUE_OF_ONE_OWNER = 8;
const NOTE_COLUMNS = [
  'id',
  'execution_id',
  'owner_id',
  'url',
  'state',
  'attempts',
  'due_at',
  'last_error',
  'created_at',
]
  .map((name) => `deliveries.${name}`)
  .join(', ');

export class WebhookTable implements DeliveryTable {
  readonly #database: Database;

  /**
   * Opens `webhooks.sqlite` in the directory, made where there is none.
   * @throws {StateDirectoryError} when it is damaged or of a later version. @throws {Error} of SQLite.
   */
  constructor(directory: string) {
    this.#database = new Database(join(directory, 'webhooks.sqlite'), WEBHOOKS_SCHEMA, true);
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

  due(limit: number): readonly DeliveryNote[] {
    return this.#database
      .prepare(
        // From the index alone, but for the few that are wanted.
        `SELECT ${NOTE_COLUMNS} FROM
          (SELECT rowid AS row, due_at, row_number() OVER (PARTITION BY owner_id ORDER BY due_at) AS place
           FROM deliveries WHERE state = 'due') AS due
         JOIN deliveries ON deliveries.rowid = due.row
         WHERE place <= ? ORDER BY due.due_at LIMIT ?`,
      )
      .all(DUE_OF_ONE_OWNER, limit)
      .map((row) => noteOf(row));
  }

  dead(ownerId: string | undefined, limit: number): readonly DeliveryNote[] {
    const whose = ownerId === undefined ? [] : [ownerId];
    return this.#database
      .prepare(
        `SELECT ${NOTE_COLUMNS} FROM deliveries
         WHERE state = 'dead' ${ownerId === undefined ? '' : 'AND owner_id = ?'} ORDER BY due_at DESC LIMIT ?`,
      )
      .all(...whose, limit)
      .map((row) => noteOf(row));
  }

  count(state: DeliveryState): number {
    const row = this.#database.prepare('SELECT count(*) AS n FROM deliveries WHERE state = ?').get(state);
    return Number(row?.['n'] ?? 0);
  }

  pending(ownerId: string): { readonly all: number; readonly ofOwner: number } {
    const row = this.#database
      .prepare(
        `SELECT count(*) AS n, coalesce(sum(owner_id = ?), 0) AS own FROM deliveries WHERE state IN ('waiting', 'due')`,
      )
      .get(ownerId);
    return { all: Number(row?.['n'] ?? 0), ofOwner: Number(row?.['own'] ?? 0) };
  }

  trimDead(keptOfOne: number, kept: number): void {
    this.#database
      .prepare(
        `DELETE FROM deliveries WHERE rowid IN
          (SELECT row FROM
            (SELECT rowid AS row, row_number() OVER (PARTITION BY owner_id ORDER BY due_at DESC) AS place,
              row_number() OVER (ORDER BY due_at DESC) AS place_of_all
             FROM deliveries WHERE state = 'dead')
           WHERE place > ? OR place_of_all > ?)`,
      )
      .run(keptOfOne, kept);
  }

  close(): void {
    this.#database.close();
  }

  #rows(where: string, ...values: (string | number)[]): WebhookDelivery[] {
    return this.#database
      .prepare(`SELECT * FROM deliveries ${where}`)
      .all(...values)
      .map((row) => deliveryOf(row));
  }
}

function deliveryOf(row: Record<string, SQLOutputValue>): WebhookDelivery {
  return { ...noteOf(row), secret: String(row['secret']), body: String(row['body']) };
}

function noteOf(row: Record<string, SQLOutputValue>): DeliveryNote {
  const text = (name: string) => row[name] as string;
  return {
    id: text('id'),
    executionId: text('execution_id') as ExecutionId,
    ownerId: text('owner_id'),
    url: text('url'),
    state: text('state') as DeliveryState,
    attempts: Number(row['attempts']),
    dueAt: Number(row['due_at']),
    lastError: text('last_error'),
    createdAt: Number(row['created_at']),
  };
}
