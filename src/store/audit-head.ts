/**
 * The head of the audit log's chain, and the lock for moving it: one row in a
 * database file of its own, changed in a transaction that excludes every other
 * process. The lock goes with its process, however that ends.
 */
import { chownSync, closeSync, existsSync, mkdirSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { syncDirectory } from './state-directory.ts';

interface Head {
  readonly seq: number;
  readonly hash: string;
  readonly file: number;
  readonly bytes: number;
  readonly fileBeganAtMs: number;
}

const FILE = 'head.sqlite';
/** How long a process waits, without doing anything else, for another that is appending. */
const BUSY_TIMEOUT_MS = 1_000;
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    hash TEXT NOT NULL,
    file INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    file_began_at_ms INTEGER NOT NULL
  ) STRICT;
`;

export class AuditHead {
  readonly #database: DatabaseSync;
  readonly #start: Head;

  private constructor(database: DatabaseSync, start: Head) {
    this.#database = database;
    this.#start = start;
  }

  /**
   * Opens the head of the log in `directory`, making both (modes 0600 and 0700) where there are none.
   * @param start the head of an empty log.
   * @param flushes whether a head is on the disk before it counts.
   */
  static open(directory: string, start: Head, flushes: boolean): AuditHead {
    const parent = statSync(join(directory, '..'));
    const isNew = mkdirSync(directory, { recursive: true, mode: 0o700 }) !== undefined;
    const path = join(directory, FILE);
    closeSync(openSync(path, 'a', 0o600));
    if (process.getuid?.() === 0 && parent.uid !== 0) {
      if (isNew) chownSync(directory, parent.uid, parent.gid);
      chownSync(path, parent.uid, parent.gid);
    }
    if (flushes) syncDirectory(join(directory, '..'));
    const database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
    try {
      database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${flushes ? 'FULL' : 'NORMAL'}; ${SCHEMA}`);
      return new AuditHead(database, start);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  static exists(directory: string): boolean {
    return existsSync(join(directory, FILE));
  }

  read(): Head {
    const row = this.#database.prepare('SELECT * FROM head').get();
    if (!row) return this.#start;
    return {
      seq: Number(row['seq']),
      hash: String(row['hash']),
      file: Number(row['file']),
      bytes: Number(row['bytes']),
      fileBeganAtMs: Number(row['file_began_at_ms']),
    };
  }

  /** Runs `move` alone among all processes; the head is what it returns, and as it was when it throws. */
  exclusively(move: (head: Head) => Head): Head {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const head = move(this.read());
      this.#database
        .prepare('INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?, ?, ?)')
        .run(head.seq, head.hash, head.file, head.bytes, head.fileBeganAtMs);
      this.#database.exec('COMMIT');
      return head;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}
