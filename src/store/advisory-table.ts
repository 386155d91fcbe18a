/**
 * What a source of advisories answered, in a database file of its own.
 *
 * A write survives the end of the process, however it ends; the last ones may be
 * lost with the power, and are asked for again.
 */
import { join } from 'node:path';
import type { AdvisoryAnswer, AdvisoryTable as Table, KeptAnswer } from '../domain/advisories.ts';
import { Database } from './database.ts';
import { ADVISORIES_SCHEMA } from './migrations.ts';

export class AdvisoryTable implements Table {
  readonly #database: Database;

  /**
   * Opens `advisories.sqlite` in the directory, made where there is none.
   * @throws {StateDirectoryError} when it is damaged or of a later version. @throws {Error} of SQLite.
   */
  constructor(directory: string) {
    this.#database = new Database(join(directory, 'advisories.sqlite'), ADVISORIES_SCHEMA, true);
  }

  load(max: number): readonly KeptAnswer[] {
    this.#database
      .prepare('DELETE FROM answers WHERE key NOT IN (SELECT key FROM answers ORDER BY checked_ms DESC LIMIT ?)')
      .run(max);
    return this.#database
      .prepare('SELECT key, checked_ms, answer FROM answers ORDER BY checked_ms DESC')
      .all()
      .map((row) => ({
        key: String(row['key']),
        checkedMs: Number(row['checked_ms']),
        answer: JSON.parse(String(row['answer'])) as AdvisoryAnswer,
      }));
  }

  put({ key, checkedMs, answer }: KeptAnswer): void {
    this.#database.transaction('NORMAL', () => {
      this.#database
        .prepare('INSERT OR REPLACE INTO answers VALUES (?, ?, ?)')
        .run(key, checkedMs, JSON.stringify(answer));
    });
  }

  remove(key: string): void {
    this.#database.transaction('NORMAL', () => {
      this.#database.prepare('DELETE FROM answers WHERE key = ?').run(key);
    });
  }

  close(): void {
    this.#database.close();
  }
}
