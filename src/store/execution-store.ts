/**
 * The executions that survive a crash: accepted, starting, done, in this order and
 * each written before what follows from it is visible to anybody.
 *
 * Nothing is held in memory but two sums; an execution is read when it is asked
 * for. Every call is one short transaction in the event loop. What is too large for
 * a row lies in the execution's directory, and whoever wrote it there synced it.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ServiceError } from '../domain/errors.ts';
import type { DoorForm, ExecutionId, ExecutionResult } from '../domain/execution.ts';
import { Database, isDiskFull, storageError } from './database.ts';
import { DiskReserve } from './disk-reserve.ts';
import { statementsOf, type ExecutionRow, type StoredEvents, type Statements } from './execution-rows.ts';
import { EXECUTIONS_SCHEMA } from './migrations.ts';
import type { StateDirectory } from './state-directory.ts';

/** What a row takes beside its texts, and an index entry. */
const ROW_OVERHEAD_BYTES = 512;

export interface Retention {
  /** A finished execution can be fetched this long, in ms of wall clock. */
  readonly ttlMs: number;
  readonly bytesMax: number;
  readonly countMax: number;
}

/** An execution as it was recorded. */
export interface StoredExecution {
  readonly id: ExecutionId;
  readonly ownerId: string;
  readonly state: 'accepted' | 'starting' | 'done';
  /** Everything but the output. */
  readonly result: ExecutionResult;
  readonly form: DoorForm | undefined;
  /** While it runs: readers have been shown no event after this one. */
  readonly shownSeq: number;
  /** Without lines while it is not done. */
  readonly events: StoredEvents;
}

/** A key by which a caller recognises a request it repeats. */
export interface IdempotencyKey {
  readonly key: string;
  /** SHA-256 of what was asked for. */
  readonly request: string;
}

/** What is known of an execution when it is accepted. */
export interface Acceptance {
  readonly key?: IdempotencyKey | undefined;
  /** The container its program may run in from now on. */
  readonly container?: string | undefined;
  /** Whether nobody learns of the execution before its end is recorded. */
  readonly isToldAtEnd?: boolean;
}

export class ExecutionStore {
  readonly #state: StateDirectory;
  readonly #retention: Retention;
  readonly #reserve: DiskReserve;
  readonly #path: string;
  /** The file it all began with. Another in its place, or none, is not written to: what is in it would be lost. */
  #inode: bigint | undefined;
  #open: { readonly database: Database; readonly statements: Statements; readonly log: bigint | undefined } | undefined;
  #doneCount = 0;
  #doneBytes = 0;

  /** @throws {StateDirectoryError} when the database is damaged or of a later version. @throws {Error} of SQLite. */
  constructor(state: StateDirectory, retention: Retention) {
    this.#state = state;
    this.#retention = retention;
    this.#path = join(state.path, 'state.sqlite');
    this.#reserve = new DiskReserve(state.path, 'ends');
    const { count, bytes } = this.#connection().statements.sums();
    this.#doneCount = count;
    this.#doneBytes = bytes;
    // Where there was no room for the one there is none for the other: what is left is for those who open after this.
    if (this.#reserve.fill()) this.#connection().database.lengthenLog();
  }

  /** Executions that can be fetched and have ended. */
  get size(): number {
    return this.#doneCount;
  }

  /** What they take on disk, about. */
  get bytes(): number {
    return this.#doneBytes;
  }

  /**
   * Records that an execution was accepted, and, where it has its container already, that the program may run from
   * now on. On return it is on the disk, unless its id is told with its end and not before: then a loss of power takes
   * it until `sync` or any end is recorded.
   * @throws {ServiceError} storage_full, storage_unavailable: nothing was accepted.
   */
  accept(
    execution: Omit<StoredExecution, 'state' | 'events' | 'shownSeq'>,
    { key, container, isToldAtEnd = false }: Acceptance = {},
  ): void {
    const { id, ownerId, result, form } = execution;
    this.#checkPlace();
    // A program that has a key must not run a second time, whoever knows of the first.
    this.#write(isToldAtEnd && key === undefined ? 'NORMAL' : 'FULL', (rows) => {
      rows.insert(id, ownerId, Date.parse(result.created_at), formText(form), JSON.stringify(result));
      if (key) rows.putKey(ownerId, key.key, key.request, id);
      if (container !== undefined) rows.starting(id, container);
    });
  }

  /**
   * What was recorded so far is on the disk when this returns; where the records were taken away, it is where they are.
   * @throws {ServiceError} storage_unavailable.
   */
  sync(): void {
    if (inodeOf(this.#path) !== this.#inode) return;
    this.#guarded(() => {
      this.#open?.database.sync();
    });
  }

  /**
   * Records that the program may run from now on. Lost only with the power, and the program with it.
   * @throws {ServiceError} storage_full, storage_unavailable.
   */
  starting(id: ExecutionId, container: string): void {
    this.#write('NORMAL', (rows) => {
      rows.starting(id, container);
    });
  }

  /**
   * Records that readers may see events of a running execution up to this one: none of its own making gets a lower
   * number after a crash. Lost only with the power.
   * @throws {ServiceError} storage_full, storage_unavailable.
   */
  showing(id: ExecutionId, seq: number): void {
    this.#write('NORMAL', (rows) => {
      rows.shown(id, seq);
    });
  }

  /**
   * Records how an execution ended, with everything there is to fetch of it. On return it is on the disk.
   * A full disk is met with the space that was set aside for it.
   * @throws {ServiceError} storage_full, storage_unavailable: it stands as it stood.
   */
  finish(id: ExecutionId, result: ExecutionResult, events: StoredEvents): void {
    const text = JSON.stringify(result);
    const files = this.#directoryBytes(id);
    const bytes = ROW_OVERHEAD_BYTES + text.length + (events.inline?.length ?? 0) + (files ?? 0);
    const finishedMs = Date.parse(result.finished_at ?? new Date().toISOString());
    this.#checkPlace();
    const save = () => {
      const row = { id, finishedMs, bytes, hasFiles: files !== undefined, result: text, events };
      const changed = this.#write('FULL', (rows) => rows.finish(row));
      if (changed === 0) throw new ServiceError('storage_unavailable', 'The execution is not in the records any more.');
    };
    this.#withReserve(save);
    this.#doneCount += 1;
    this.#doneBytes += bytes;
  }

  /** The execution, unless there is none or its time is over, where that matters. @throws {ServiceError} storage_unavailable. */
  read(id: string, age?: 'however old'): StoredExecution | undefined {
    const row = this.#read((rows) => rows.byId(id));
    return row === undefined || (age === undefined && this.#isOver(row)) ? undefined : executionOf(row);
  }

  /** Which execution a caller's key stands for, and for what request. @throws {ServiceError} storage_unavailable. */
  byKey(ownerId: string, key: string): { readonly request: string; readonly id: string } | undefined {
    return this.#read((rows) => rows.byKey(ownerId, key));
  }

  /** Executions a process before this one left without an end, a bounded number. @throws {ServiceError} storage_unavailable. */
  unfinished(limit: number): readonly StoredExecution[] {
    return this.#read((rows) => rows.unfinished(limit).map(executionOf));
  }

  /** Whether the id is recorded at all, however old. @throws {ServiceError} storage_unavailable. */
  has(id: string): boolean {
    return this.#read((rows) => rows.byId(id)) !== undefined;
  }

  /** Writes something. @throws {ServiceError} storage_full, storage_unavailable: nothing could be accepted now. */
  probe(): void {
    this.#checkPlace();
    this.#write('NORMAL', (rows) => {
      rows.probe(Date.now());
    });
  }

  /**
   * Removes finished executions that are too old, and the oldest while there are too many or they are too large: at
   * most `limit`, so that it takes a bounded time.
   * @returns the ids of those that had files, which are the caller's to remove, and whether more is due.
   * @throws {ServiceError} storage_full, storage_unavailable.
   */
  removeDue(limit: number): { readonly withFiles: readonly string[]; readonly isMoreDue: boolean } {
    const dueAt = Date.now() - this.#retention.ttlMs;
    const due: ReturnType<Statements['oldest']> = [];
    let [count, bytes] = [this.#doneCount, this.#doneBytes];
    const isOver = () => count > 1 && (count > this.#retention.countMax || bytes > this.#retention.bytesMax);
    for (const row of this.#read((rows) => rows.oldest(limit))) {
      if (row.finished_ms > dueAt && !isOver()) break;
      due.push(row);
      count -= 1;
      bytes -= row.bytes;
    }
    if (due.length === 0) return { withFiles: [], isMoreDue: false };
    this.#withReserve(() => {
      this.#write('NORMAL', (rows) => {
        for (const { id } of due) rows.remove(id);
      });
    });
    this.#doneCount = count;
    this.#doneBytes = bytes;
    this.#open?.statements.shrink();
    return { withFiles: due.filter((row) => row.has_files === 1).map(({ id }) => id), isMoreDue: due.length === limit };
  }

  close(): void {
    this.#open?.database.close();
    this.#open = undefined;
  }

  #isOver(row: ExecutionRow): boolean {
    return row.finished_ms !== null && row.finished_ms + this.#retention.ttlMs <= Date.now();
  }

  /** Bytes of the files an execution left in its directory; undefined when it has none. */
  #directoryBytes(id: string): number | undefined {
    const directory = this.#state.executionDirectory(id);
    if (!statSync(directory, { throwIfNoEntry: false })) return undefined;
    const files = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isFile());
    return files.reduce((sum, { name }) => sum + statSync(join(directory, name)).size, 0);
  }

  #withReserve(save: () => void): void {
    try {
      save();
    } catch (error) {
      if (!(error instanceof ServiceError) || !isDiskFull(error.cause)) throw error;
      this.#reserve.release();
      save();
    }
  }

  #connection() {
    if (!this.#open) {
      this.#checkPlace();
      const database = new Database(this.#path, EXECUTIONS_SCHEMA);
      this.#inode ??= inodeOf(this.#path);
      this.#open = { database, statements: statementsOf(database), log: inodeOf(logOf(this.#path)) };
    }
    return this.#open;
  }

  /**
   * A log that was taken away holds what was recorded and is not in the file yet: the end of the connection writes it
   * there, and the next one makes a log that the next process finds.
   * @throws {ServiceError} storage_unavailable when the state directory, or the file in it, was taken away or emptied.
   */
  #checkPlace(): void {
    if (this.#inode === undefined) return;
    const file = statOf(this.#path);
    if (file?.ino !== this.#inode || file.size === 0n) {
      // What is open still tells what it holds.
      throw new ServiceError('storage_unavailable', 'Executions cannot be recorded: their records were taken away.');
    }
    if (this.#open?.log !== undefined && inodeOf(logOf(this.#path)) !== this.#open.log) this.#drop();
  }

  #write<T>(durability: 'FULL' | 'NORMAL', work: (rows: Statements) => T): T {
    return this.#guarded(() => {
      const { database, statements } = this.#connection();
      return database.transaction(durability, () => work(statements));
    });
  }

  #read<T>(work: (rows: Statements) => T): T {
    return this.#guarded(() => work(this.#connection().statements));
  }

  /** A connection that failed, but for want of space, is not trusted again: the next call opens another. */
  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!isDiskFull(error) && !(error instanceof ServiceError)) this.#drop();
      throw storageError(error);
    }
  }

  #drop(): void {
    const failed = this.#open;
    this.#open = undefined;
    try {
      failed?.database.close();
    } catch {
      // It could not even be closed; it is not used any more.
    }
  }
}

function statOf(path: string) {
  try {
    return statSync(path, { bigint: true });
  } catch {
    return undefined;
  }
}

const inodeOf = (path: string) => statOf(path)?.ino;

const logOf = (path: string) => `${path}-wal`;

const formText = (form: DoorForm | undefined) => (form === undefined ? null : JSON.stringify(form));

function inlineOf({ events, events_bytes: bytes }: ExecutionRow): { readonly inline?: Buffer } {
  if (events) return { inline: Buffer.from(events.buffer, events.byteOffset, events.byteLength) };
  return bytes === 0 ? { inline: Buffer.alloc(0) } : {};
}

function executionOf(row: ExecutionRow): StoredExecution {
  return {
    id: row.id as ExecutionId,
    ownerId: row.owner,
    state: row.state,
    result: JSON.parse(row.result) as ExecutionResult,
    shownSeq: row.shown_seq,
    form: row.form === null ? undefined : (JSON.parse(row.form) as DoorForm),
    events: {
      lastSeq: row.last_seq,
      bytes: row.events_bytes,
      ...(row.terminal_seq !== null && { terminalSeq: row.terminal_seq }),
      ...(row.terminal_ms !== null && { terminalMs: row.terminal_ms }),
      ...inlineOf(row),
    },
  };
}
