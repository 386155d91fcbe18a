/**
 * The directory that holds everything of this server that survives a restart, and
 * the lock that keeps a second server out of it.
 *
 * The lock is an exclusive transaction on a database file of its own, open for as
 * long as the process lives: the kernel takes it back when the process dies,
 * however it dies, so no crash leaves a lock behind and no pid has to be believed.
 * It holds on file systems with working POSIX locks, that is on local disks.
 *
 * It does not know what is kept in the directory beside `executions/`.
 */
import { accessSync, closeSync, constants, existsSync, fsyncSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

const LOCK_FILE = 'lock';
const SQLITE_BUSY = 5;

/** The state directory cannot be used; the message is one sentence for the operator. */
export class StateDirectoryError extends Error {
  override readonly name = 'StateDirectoryError';
}

export class StateDirectory {
  readonly path: string;
  readonly #lock: DatabaseSync;

  private constructor(path: string, lock: DatabaseSync) {
    this.path = path;
    this.#lock = lock;
  }

  /**
   * Makes the directory where there is none (mode 0700) and locks it.
   * @throws {StateDirectoryError} when it cannot be made, read or written, when others may write to it, or when
   *   another server has it.
   */
  static open(path: string): StateDirectory {
    try {
      makeDirectory(join(path, 'executions'));
      accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    } catch (error) {
      throw new StateDirectoryError(`${path} cannot be made or written to (${reasonOf(error)})`, { cause: error });
    }
    if ((statSync(path).mode & 0o022) !== 0) {
      throw new StateDirectoryError(`other users may write to ${path}; chmod 700 it`);
    }
    return new StateDirectory(path, lock(path));
  }

  /** Where an execution keeps what is too large for the database. Not made before it is needed. */
  executionDirectory(id: string): string {
    return join(this.path, 'executions', id);
  }

  /** Gives the directory up to the next server. */
  close(): void {
    if (this.#lock.isOpen) this.#lock.close();
  }
}

/** Made with all above it that is missing; its name, and theirs, are on the disk then. */
function makeDirectory(path: string): void {
  const firstMade = mkdirSync(path, { recursive: true, mode: 0o700 });
  if (firstMade === undefined) return;
  for (let made = resolve(path); made.length >= resolve(firstMade).length; made = dirname(made))
    syncDirectory(dirname(made));
}

/** The names in a directory survive a power cut. One that may not be read is left to the file system. */
export function syncDirectory(path: string): void {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EACCES') return;
    throw error;
  }
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function lock(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    const file = join(path, LOCK_FILE);
    // SQLite would make it readable by everybody the umask allows. One that is there is not opened here: closing
    // it would give up the lock of a server in this very process.
    if (!existsSync(file)) closeSync(openSync(file, 'a', 0o600));
    database = new DatabaseSync(file, { timeout: 0 });
    // Without a journal on the disk, so that a full one can be locked. Nothing is written.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database?.close();
    if (error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY) {
      throw new StateDirectoryError(`${path} is in use by another server`, { cause: error });
    }
    throw new StateDirectoryError(`${path} cannot be locked (${reasonOf(error)})`, { cause: error });
  }
}

const REASONS = new Map([
  ['EACCES', 'this user may not'],
  ['EPERM', 'this user may not'],
  ['EROFS', 'the file system is read-only'],
  ['ENOSPC', 'the disk is full'],
  ['EDQUOT', 'the disk quota is used up'],
  ['ENOTDIR', 'a part of the path is no directory'],
  ['EISDIR', 'it is a directory'],
  ['EEXIST', 'a file of that name is there'],
]);

/** What is wrong with a file, in few words. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error ? String(error.code) : '';
  return REASONS.get(code) ?? (code === 'ERR_SQLITE_ERROR' ? error.message : code);
}
