/**
 * A database file: opened, brought to the schema of this version, and what its
 * failures mean.
 *
 * WAL with one writer, this process. Readable by this user alone. A commit is durable against the death of the
 * process as soon as it returns; against the loss of power only under FULL, which
 * waits for the disk. Who writes says which; see docs/ARCHITECTURE.md.
 */
import { accessSync, closeSync, constants, existsSync, fdatasyncSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { ServiceError } from '../domain/errors.ts';
import { reasonOf, StateDirectoryError } from './state-directory.ts';

/** Pages in the write-ahead log when SQLite begins to overwrite it: its default. */
const LOG_PAGES = 1000;
/** Of the page cache, in KiB: memory stays the same however much is stored. */
const CACHE_KIB = 4096;
const SQLITE = { IOERR: 10, FULL: 13, CORRUPT: 11, CANTOPEN: 14, NOTADB: 26 } as const;
/** What the system says of a file that will be no other before somebody sees to it. */
const NO_SUCH_FILE = new Set(['EACCES', 'EPERM', 'EISDIR', 'ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO']);

/** `FULL`: survives the loss of power. `NORMAL`: survives the death of the process. */
export type Durability = 'FULL' | 'NORMAL';

class Damaged extends Error {}

export class Database {
  readonly #handle: DatabaseSync;
  readonly #path: string;
  #countChanges: StatementSync | undefined;
  /** Whether a commit that returned would be lost with the power. */
  #isBehind = false;
  #durability: Durability = 'FULL';

  /**
   * @param migrations the schema, a step for each version. A step that was released is never changed: a new one is
   *   added at the end. `user_version` counts those that were taken.
   * @param isChecked whether every page is read: for what is small enough.
   * @throws {StateDirectoryError} when it is damaged or of a later version, or is no file that this user may write to.
   * @throws {Error} of SQLite or the system, when it cannot be opened now.
   */
  constructor(path: string, migrations: readonly string[], isChecked = false) {
    this.#path = path;
    this.#handle = openFile(path);
    try {
      const version = this.pragma('user_version');
      if (version > migrations.length) {
        throw new StateDirectoryError(`${path} was written by a later version of this service`);
      }
      this.#handle.exec(`PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
        PRAGMA cache_size = -${String(CACHE_KIB)}; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;
        PRAGMA journal_size_limit = 16777216`);
      if (isChecked) this.#check();
      this.#migrate(version, migrations);
    } catch (error) {
      this.#handle.close();
      const code = primaryCode(error);
      if (error instanceof Damaged || code === SQLITE.CORRUPT || code === SQLITE.NOTADB) {
        throw new StateDirectoryError(
          `${path} is damaged; restore it, or move it away together with its -wal and -shm files to begin anew`,
          { cause: error },
        );
      }
      throw error;
    }
  }

  prepare(sql: string) {
    return this.#handle.prepare(sql);
  }

  /** A number SQLite tells about the file. */
  pragma(name: string): number {
    return Number(Object.values(this.#handle.prepare(`PRAGMA ${name}`).get() ?? {})[0] ?? 0);
  }

  /** All of `work` or nothing of it, synchronously. What it throws passes through. */
  transaction<T>(durability: Durability, work: () => T): T {
    if (durability !== this.#durability) {
      this.#handle.exec(`PRAGMA synchronous = ${durability}`);
      this.#durability = durability;
    }
    const changesBefore = this.#changes();
    this.#handle.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.#handle.exec('COMMIT');
      // A commit of nothing does not wait for the disk, whatever its durability.
      if (this.#changes() > changesBefore) this.#isBehind = durability === 'NORMAL';
      return result;
    } catch (error) {
      // Some failures have rolled back already.
      if (this.#handle.isTransaction) this.#handle.exec('ROLLBACK');
      throw error;
    }
  }

  /**
   * What was committed is on the disk when this returns. Needs no room there, but a descriptor.
   * @throws {ServiceError} storage_unavailable where there is none: nothing is wrong with the disk.
   * @throws {Error} of the system, when the disk fails.
   */
  sync(): void {
    if (!this.#isBehind) return;
    const log = openToSync(`${this.#path}-wal`);
    try {
      fdatasyncSync(log);
    } finally {
      closeSync(log);
    }
    this.#isBehind = false;
  }

  /**
   * Makes the write-ahead log as long as it becomes anyway: a commit that overwrites blocks of a file waits for the
   * disk a quarter less than one that makes the file longer. Changes nothing else; where there is no room, nothing.
   */
  lengthenLog(): void {
    const version = String(this.pragma('user_version'));
    try {
      // Each of these commits is the same page once more, and none waits for the disk.
      this.#handle.exec('PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = OFF');
      for (let page = 0; page < LOG_PAGES; page += 1) this.#handle.exec(`PRAGMA user_version = ${version}`);
      this.#handle.exec('PRAGMA synchronous = FULL; PRAGMA wal_checkpoint(RESTART)');
    } catch {
      // What is wrong with the disk, whoever writes next is told; and what room there is, is theirs.
      try {
        this.#handle.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      } catch {
        // It stays as long as it is.
      }
    } finally {
      this.#handle.exec(`PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = ${String(LOG_PAGES)}`);
      this.#durability = 'FULL';
    }
  }

  close(): void {
    if (this.#handle.isOpen) this.#handle.close();
  }

  /** Rows that were changed since it was opened. */
  #changes(): number {
    this.#countChanges ??= this.#handle.prepare('SELECT total_changes() AS n');
    return Number(this.#countChanges.get()?.['n']);
  }

  /** What SQLite finds wrong with the order of its pages. */
  #check(): void {
    const [first] = Object.values(this.#handle.prepare('PRAGMA quick_check(1)').get() ?? {});
    if (first !== 'ok') throw new Damaged(String(first));
  }

  #migrate(version: number, migrations: readonly string[]): void {
    for (const [index, sql] of migrations.entries()) {
      if (index < version) continue;
      this.transaction('FULL', () => {
        this.#handle.exec(`${sql}; PRAGMA user_version = ${String(index + 1)}`);
      });
    }
  }
}

function openToSync(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    throw new ServiceError('storage_unavailable', 'What was recorded cannot be made sure of at the moment.', { cause });
  }
}

function openFile(path: string): DatabaseSync {
  try {
    if (!existsSync(path)) closeSync(openSync(path, 'a', 0o600));
    // SQLite would open one that this user may only read, and every write would fail.
    accessSync(path, constants.R_OK | constants.W_OK);
    return new DatabaseSync(path, { timeout: 2000 });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (primaryCode(error) !== SQLITE.CANTOPEN && !NO_SUCH_FILE.has(code)) throw error;
    throw new StateDirectoryError(`${path} cannot be opened and written to (${reasonOf(error)})`, { cause: error });
  }
}

function primaryCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined;
  return error.errcode & 0xff;
}

export function isDiskFull(error: unknown): boolean {
  return primaryCode(error) === SQLITE.FULL;
}

/** Whether a database could not be opened for what may be want of space: what lies beside it is told as a failure of the disk. */
export function mayLackSpace(error: unknown): boolean {
  return isDiskFull(error) || primaryCode(error) === SQLITE.IOERR;
}

/** What a failure of the database is to callers. */
export function storageError(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error;
  return isDiskFull(error)
    ? new ServiceError('storage_full', 'There is no disk space to record the execution.', { cause: error })
    : new ServiceError('storage_unavailable', 'Executions cannot be recorded at the moment.', { cause: error });
}
