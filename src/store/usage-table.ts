/**
 * What callers used of their budgets, in a database file of its own.
 *
 * A write survives the end of the process, however it ends; the last ones may be
 * lost with the power.
 */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { ChargedUsage, UsageTable as Table } from '../domain/budget.ts';

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS used (
    caller_id TEXT PRIMARY KEY,
    window INTEGER NOT NULL,
    cpu_ms REAL NOT NULL,
    memory_mib_ms REAL NOT NULL
  ) STRICT;
`;

export class UsageTable implements Table {
  readonly #database: DatabaseSync;

  /** Opens `usage.sqlite` in the directory, made where there is none. Throws what SQLite throws. */
  constructor(directory: string) {
    const file = join(directory, 'usage.sqlite');
    this.#database = new DatabaseSync(file);
    chmodSync(file, 0o600);
    this.#database.exec(SCHEMA);
  }

  load(window: number): readonly ({ readonly callerId: string } & ChargedUsage)[] {
    this.#database.prepare('DELETE FROM used WHERE window <> ?').run(window);
    return this.#database
      .prepare('SELECT * FROM used')
      .all()
      .map((row) => ({
        callerId: String(row['caller_id']),
        cpuMs: Number(row['cpu_ms']),
        memoryMibMs: Number(row['memory_mib_ms']),
      }));
  }

  save(window: number, { callerId, cpuMs, memoryMibMs }: { readonly callerId: string } & ChargedUsage): void {
    this.#database.prepare('INSERT OR REPLACE INTO used VALUES (?, ?, ?, ?)').run(callerId, window, cpuMs, memoryMibMs);
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}
