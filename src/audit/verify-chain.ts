/**
 * Whether the audit log is as it was written, or which line is the first that is not.
 *
 * The hashes show what was changed by somebody who did not rewrite everything after
 * it, head included. Who can write to all of it can do that: note the head elsewhere
 * now and then, and give it as `expected`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileName, FIRST_HASH, hashOfLine, isHoled, placeOf, type ChainHead } from './audit-chain.ts';

export interface ChainVerdict {
  readonly ok: boolean;
  /** One sentence: what was found, naming file and line where something is wrong. */
  readonly detail: string;
}

export interface VerifyOptions {
  /** The head as it is kept, read before the files; absent: it is gone. */
  readonly head: ChainHead | undefined;
  /** The first line there is to be; those before were taken away by the operator. */
  readonly from?: number;
  /** A head that was noted earlier: the line of this number had this hash. */
  readonly expected?: { readonly seq: number; readonly hash: string };
}

interface Line {
  readonly where: string;
  readonly text: Buffer;
}

const NEWLINE = 10;
const FILE = /^audit-(\d{6,})\.jsonl$/;

/** Reads every file of the log. @throws {Error} when they cannot be read. */
export function verifyChain(directory: string, options: VerifyOptions): ChainVerdict {
  const { head, from = 1, expected } = options;
  const files = readdirSync(directory)
    .flatMap((name) => FILE.exec(name)?.[1] ?? [])
    .map(Number)
    .toSorted((a, b) => a - b);
  if (!head) return broken('the head of the chain is gone: where the log ended cannot be known');
  let seq = from - 1;
  let hash = from === 1 ? FIRST_HASH : undefined;
  let before: Line | undefined;
  let torn = '';
  for (const [index, file] of files.entries()) {
    const { lines, rest } = linesOf(directory, file);
    for (const [at, line] of lines.entries()) {
      const place = placeOf(line.text);
      if (!place) return broken(`${line.where} is not a line of this log`);
      if (place.seq !== seq + 1) {
        return broken(`${line.where} is number ${String(place.seq)} where ${String(seq + 1)} should be`);
      }
      if (hash !== undefined && place.prev !== hash) {
        const next = lines[at + 1];
        const follows = next ? placeOf(next.text)?.prev : place.seq === head.seq ? head.hash : undefined;
        const isThisOne = follows !== undefined && follows !== hashOfLine(line.text);
        return broken(`${before === undefined || isThisOne ? line.where : before.where} was changed`);
      }
      seq = place.seq;
      hash = hashOfLine(line.text);
      before = line;
      for (const known of [head, expected]) {
        if (known?.seq === seq && known.hash !== hash) return broken(`${line.where} was changed`);
      }
    }
    if (rest > 0 && index < files.length - 1) {
      return broken(`${fileName(file)} ends in the middle of a line, and is not the last file`);
    }
    if (rest > 0) torn = `; ${String(rest)} bytes that a crash tore off are not part of it`;
  }
  const until = Math.max(head.seq, expected?.seq ?? 0);
  if (seq < until) {
    return broken(`lines ${String(seq + 1)} to ${String(until)} are missing after ${before?.where ?? 'the beginning'}`);
  }
  const lines = seq < from ? 'no lines' : `lines ${String(from)} to ${String(seq)}`;
  return { ok: true, detail: `${lines} in ${String(files.length)} files, head ${String(seq)}:${hash ?? ''}${torn}` };
}

const broken = (detail: string): ChainVerdict => ({ ok: false, detail });

/** The lines of a file up to one with a hole, and how many bytes are behind them. */
function linesOf(directory: string, file: number): { readonly lines: readonly Line[]; readonly rest: number } {
  const data = readFileSync(join(directory, fileName(file)));
  const lines: Line[] = [];
  let start = 0;
  for (let end = data.indexOf(NEWLINE); end !== -1; end = data.indexOf(NEWLINE, start)) {
    const text = data.subarray(start, end);
    if (isHoled(text)) break;
    lines.push({ where: `${fileName(file)} line ${String(lines.length + 1)}`, text });
    start = end + 1;
  }
  return { lines, rest: data.length - start };
}
