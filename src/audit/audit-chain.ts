/**
 * The audit log's files: lines of JSON, each with the SHA-256 of the one before,
 * numbered without a gap, over files that follow one another.
 *
 * Several processes may append (the server, the command line): each does so alone,
 * with the head of the chain in its hand, so the chain never forks. What is in the
 * files is not changed: a tail that a crash tore off in the middle of a line, or a
 * loss of power made a hole in, was never part of the log and is dropped; anything
 * else that is not as it was left stays for verify to find, and the chain goes on in
 * a new file.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fchownSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

/** Where the chain stands: its last line, and where that is. */
export interface ChainHead {
  /** 0: there is no line yet. */
  readonly seq: number;
  /** SHA-256 of the last line, without its line end. */
  readonly hash: string;
  readonly file: number;
  /** Length of the file up to the end of the last line. */
  readonly bytes: number;
  readonly fileBeganAtMs: number;
}

/** Keeps the head, and lets one process at a time move it. */
export interface HeadKeeper {
  /** Runs `move` alone among all processes. The head is what it returns; as it was, when it throws. */
  exclusively(move: (head: ChainHead) => ChainHead): ChainHead;
}

export interface AuditEntry {
  readonly kind: string;
  readonly [member: string]: unknown;
}

export interface AuditChainOptions {
  readonly directory: string;
  readonly head: HeadKeeper;
  readonly fileBytesMax: number;
  readonly fileAgeMsMax: number;
  /** Whether a line is on the disk, not only handed to the system, before append returns. */
  readonly flushes: boolean;
}

export const FIRST_HASH = '0'.repeat(64);
export const START: ChainHead = { seq: 0, hash: FIRST_HASH, file: 1, bytes: 0, fileBeganAtMs: 0 };

export const fileName = (file: number): string => `audit-${String(file).padStart(6, '0')}.jsonl`;
export const hashOfLine = (line: string | Buffer): string => createHash('sha256').update(line).digest('hex');

/** A line's place in the chain; undefined where it is no line of an audit log. */
export function placeOf(line: Buffer): { readonly seq: number; readonly prev: string } | undefined {
  try {
    const { seq, prev } = JSON.parse(line.toString('utf8')) as Record<string, unknown>;
    return typeof seq === 'number' && typeof prev === 'string' ? { seq, prev } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Whether a part of it never came to the disk, which then shows zeros there: the power was lost before anybody was told
 * that it was written. JSON has none.
 */
export const isHoled = (line: Buffer): boolean => line.includes(0);

const NEWLINE = 10;

export class AuditChain {
  readonly #options: AuditChainOptions;
  /** The file of which the name is on the disk, too. */
  #namedFile: number | undefined;

  constructor(options: AuditChainOptions) {
    this.#options = options;
  }

  /**
   * Appends entries, all of them or none.
   * @returns the head after it.
   * @throws {Error} when the disk is full or cannot be written, or the head cannot be had.
   */
  append(entries: readonly AuditEntry[]): ChainHead {
    return this.#options.head.exclusively((stored) => {
      const { descriptor, head, recovered } = this.#resume(stored);
      try {
        return this.#write(descriptor, head, [...recovered, ...entries]);
      } finally {
        closeSync(descriptor);
      }
    });
  }

  #write(descriptor: number, head: ChainHead, entries: readonly AuditEntry[]): ChainHead {
    let { seq, hash } = head;
    let text = '';
    for (const entry of entries) {
      seq += 1;
      const line = JSON.stringify({ seq, prev: hash, time: new Date().toISOString(), ...entry });
      hash = hashOfLine(line);
      text += `${line}\n`;
    }
    const data = Buffer.from(text);
    try {
      for (let written = 0; written < data.length;) {
        written += writeSync(descriptor, data, written, data.length - written, head.bytes + written);
      }
      if (this.#options.flushes) {
        fdatasyncSync(descriptor);
        if (this.#namedFile !== head.file) syncDirectory(this.#options.directory);
        this.#namedFile = head.file;
      }
    } catch (error) {
      // The head has not moved: what was written of it is not part of the log.
      ftruncateSync(descriptor, head.bytes);
      throw error;
    }
    return { ...head, seq, hash, bytes: head.bytes + data.length };
  }

  /** The file to write to, at the place where the log really ends. */
  #resume(stored: ChainHead): { descriptor: number; head: ChainHead; recovered: readonly AuditEntry[] } {
    const { fileBytesMax, fileAgeMsMax } = this.#options;
    let recovered: readonly AuditEntry[] = [];
    for (let head = stored; ; head = { ...head, file: head.file + 1, bytes: 0 }) {
      const descriptor = this.#open(head);
      if (descriptor === undefined) continue;
      try {
        const { head: end, tornBytes, isIntact } = adoptTail(descriptor, head);
        head = end;
        if (tornBytes > 0) {
          ftruncateSync(descriptor, end.bytes);
          recovered = [{ kind: 'recovered', torn_bytes: tornBytes }];
        }
        const isFull = end.bytes >= fileBytesMax || Date.now() - end.fileBeganAtMs > fileAgeMsMax;
        if (isIntact && end.bytes === 0) return { descriptor, head: { ...end, fileBeganAtMs: Date.now() }, recovered };
        if (isIntact && !isFull) return { descriptor, head: end, recovered };
      } catch (error) {
        closeSync(descriptor);
        throw error;
      }
      closeSync(descriptor);
    }
  }

  /** Makes the file where nothing was in it yet; undefined where it is gone. */
  #open({ file, bytes }: ChainHead): number | undefined {
    const { directory } = this.#options;
    const flags = constants.O_RDWR | (bytes === 0 ? constants.O_CREAT : 0);
    let descriptor: number;
    try {
      descriptor = openSync(join(directory, fileName(file)), flags, 0o600);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT' && bytes > 0) return undefined;
      throw error;
    }
    const { uid, gid } = statSync(directory);
    // The command line run by root, for a server that is somebody else.
    if (process.getuid?.() === 0 && uid !== 0) fchownSync(descriptor, uid, gid);
    return descriptor;
  }
}

/**
 * What is in the file after the stored head: whole lines that follow it were written by a
 * process that died before it could say so, and count; half a line at the end does not, nor what follows one with a hole.
 */
function adoptTail(descriptor: number, stored: ChainHead): { head: ChainHead; tornBytes: number; isIntact: boolean } {
  const { size } = fstatSync(descriptor);
  if (size < stored.bytes) return { head: stored, tornBytes: 0, isIntact: false };
  let tail = Buffer.alloc(size - stored.bytes);
  if (tail.length > 0) tail = tail.subarray(0, readSync(descriptor, tail, 0, tail.length, stored.bytes));
  let head = stored;
  for (let end = tail.indexOf(NEWLINE); end !== -1; end = tail.indexOf(NEWLINE)) {
    const line = tail.subarray(0, end);
    const place = placeOf(line);
    if (isHoled(line)) return { head, tornBytes: tail.length, isIntact: true };
    if (place?.seq !== head.seq + 1 || place.prev !== head.hash) return { head, tornBytes: 0, isIntact: false };
    head = { ...head, seq: place.seq, hash: hashOfLine(line), bytes: head.bytes + end + 1 };
    tail = tail.subarray(end + 1);
  }
  return { head, tornBytes: tail.length, isIntact: true };
}

function syncDirectory(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
