/**
 * What callers used of their budgets, in a database file of its own.
 *
 * A write survives the end of the process, however it ends; the last ones may be
 * lost with the power.
 */
import { join } from 'node:path';
import type { ChargedUsage, UsageTable as Table } from '../domain/budget.ts';
import { Database } from './database.ts';
import { USAGE_SCHEMA } from './migrations.ts';

export class UsageTable implements Table {
  readonly #database: Database;

  /**
   * Opens `usage.sqlite` in the directory, made where there is none.
   * @throws {StateDirectoryError} when it is damaged or of a later version. @throws {Error} of SQLite.
   */
  constructor(directory: string) {
    this.#database = new Database(join(directory, 'usage.sqlite'), USAGE_SCHEMA, true);
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
    this.#database.transaction('NORMAL', () => {
      this.#database
        .prepare('INSERT OR REPLACE INTO used VALUES (?, ?, ?, ?)')
        .run(callerId, window, cpuMs, memoryMibMs);
    });
  }

  close(): void {
    this.#database.close();
  }
}
