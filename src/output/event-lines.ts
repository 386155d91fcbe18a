/**
 * Events as they are kept and sent: one JSON document a line, encoded once.
 *
 * JSON holds no line break, so a line ends at the first one, and how many lines
 * there are can be counted without parsing any. `seq`, `t_ms` and `type` come first,
 * in this order; readers of lines rely on it.
 */
import type { EventBody, OutputStream } from '../domain/events.ts';
import { asciiJson } from './ascii-json.ts';
import type { TextPiece } from './utf8-stream.ts';

export const NEWLINE = 0x0a;
const TYPE_KEY = Buffer.from('"type":"');
const QUOTE = 0x22;

/** Whole lines, one after another. The bytes never change. */
export interface EventLines {
  readonly bytes: Buffer;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Whether the last line is the terminal event. */
  readonly isTerminal: boolean;
}

/** A line before it has a place: its parts, and the bytes they take together. */
export interface EncodedLine {
  readonly bytes: number;
  readonly parts: readonly (string | Buffer)[];
  /** Whether every part is ASCII, which is cheaper to write. */
  readonly isAscii: boolean;
}

export function encodeOutput(seq: number, tMs: number, stream: OutputStream, piece: TextPiece): EncodedLine {
  const head = `{"seq":${String(seq)},"t_ms":${String(tMs)},"type":"${stream}","data":`;
  const data = jsonOf(piece);
  const isAscii = piece.kind !== 'utf8';
  let bytes = head.length + 2;
  for (const part of data) bytes += isAscii || typeof part !== 'string' ? part.length : Buffer.byteLength(part);
  return { bytes, parts: [head, ...data, '}\n'], isAscii };
}

function jsonOf({ bytes, kind }: TextPiece): readonly (string | Buffer)[] {
  if (kind === 'ascii') return asciiJson(bytes) ?? [JSON.stringify(bytes.toString('latin1'))];
  if (kind === 'utf8') return [JSON.stringify(bytes.toString('utf8'))];
  return [`"${bytes.toString('base64')}","encoding":"base64"`];
}

export function encodeEvent(seq: number, tMs: number, body: EventBody): EncodedLine {
  const { type, ...rest } = body;
  const line = `${JSON.stringify({ seq, t_ms: tMs, type, ...rest })}\n`;
  return { bytes: Buffer.byteLength(line), parts: [line], isAscii: false };
}

/** An event that is not output, as a line. */
export function lineOf(seq: number, tMs: number, body: EventBody): Buffer {
  const line = encodeEvent(seq, tMs, body);
  const bytes = Buffer.allocUnsafeSlow(line.bytes);
  writeLine(line, bytes, 0);
  return bytes;
}

export function writeLine(line: EncodedLine, target: Buffer, offset: number): void {
  let at = offset;
  for (const part of line.parts) {
    at += typeof part === 'string' ? target.write(part, at, line.isAscii ? 'latin1' : 'utf8') : part.copy(target, at);
  }
}

/** The lines of `bytes`, each with its line break. */
export function* linesOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf(NEWLINE, at) + 1;
    if (end === 0) throw new Error('a line of events without an end');
    yield bytes.subarray(at, end);
    at = end;
  }
}

/** The type of the event in `line`, without parsing it. */
export function typeOf(line: Buffer): string {
  const start = line.indexOf(TYPE_KEY) + TYPE_KEY.length;
  return line.toString('latin1', start, line.indexOf(QUOTE, start));
}

/** Where line number `count` (from 0) begins in `bytes`; its length when there are no more lines. */
export function skipLines(bytes: Buffer, count: number): number {
  let at = 0;
  for (let skipped = 0; skipped < count && at < bytes.length; skipped += 1) at = bytes.indexOf(NEWLINE, at) + 1;
  return at;
}

export function countLines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, at + 1)) count += 1;
  return count;
}
