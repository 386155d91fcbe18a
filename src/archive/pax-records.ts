/**
 * Decodes the body of a PAX header (`x` or `g`). Pure.
 *
 * A record that is not exactly `length key=value newline` refuses the archive:
 * readers that skip or guess disagree about what follows. Of the values only
 * `path`, `linkpath` and `size` are kept; owners, times, extended attributes and
 * ACLs are dropped here and can never be applied. A sparse map is refused,
 * because without it the content is not the file.
 */
import { refuseArchive } from './refusal.ts';

const SPACE = 0x20;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;
const LENGTH_DIGITS = 7;

export interface PaxRecords {
  readonly path?: Buffer;
  readonly linkPath?: Buffer;
  readonly sizeBytes?: number;
  /** Every key of the header, in order of first appearance. */
  readonly keys: ReadonlySet<string>;
}

/** Throws `invalid_header`, `ambiguous_header` or `sparse_file`. */
export function decodePaxRecords(body: Buffer): PaxRecords {
  const keys = new Set<string>();
  const kept: { path?: Buffer; linkPath?: Buffer; sizeBytes?: number } = {};
  for (let at = 0; at < body.length;) {
    const end = at + recordLength(body, at);
    const keyStart = body.indexOf(SPACE, at) + 1;
    const equals = body.indexOf(EQUALS, keyStart);
    if (end > body.length || body[end - 1] !== NEWLINE || equals <= keyStart || equals >= end - 1) throw damaged();
    const key = body.toString('utf8', keyStart, equals);
    const value = body.subarray(equals + 1, end - 1);
    at = end;

    if (key.startsWith('GNU.sparse.') || key === 'SCHILY.realsize') {
      throw refuseArchive('sparse_file', `A PAX header describes a sparse file (${key.slice(0, 40)}).`);
    }
    const isKept = key === 'path' || key === 'linkpath' || key === 'size';
    if (isKept && keys.has(key)) {
      throw refuseArchive('ambiguous_header', `A PAX header states ${key} twice.`);
    }
    keys.add(key);
    if (key === 'path') kept.path = nonEmpty(key, value);
    else if (key === 'linkpath') kept.linkPath = nonEmpty(key, value);
    else if (key === 'size') kept.sizeBytes = decimal(value);
  }
  return { ...kept, keys };
}

function recordLength(body: Buffer, at: number): number {
  const space = body.indexOf(SPACE, at);
  const digits = space === -1 || space - at > LENGTH_DIGITS ? '' : body.toString('latin1', at, space);
  if (!/^[1-9][0-9]*$/.test(digits)) throw damaged();
  return Number(digits);
}

/** Anything else is read as different numbers by different tars. */
function decimal(value: Buffer): number {
  const text = value.toString('latin1');
  if (!/^[0-9]{1,15}$/.test(text)) {
    throw refuseArchive('invalid_header', 'A PAX header states a size that is not a plain decimal number.');
  }
  return Number(text);
}

function nonEmpty(key: string, value: Buffer): Buffer {
  if (value.length === 0) throw refuseArchive('invalid_header', `A PAX header states an empty ${key}.`);
  return value;
}

function damaged(): Error {
  return refuseArchive('invalid_header', 'A PAX header has a damaged record.');
}
