/**
 * Decodes one 512-byte tar header. Pure.
 *
 * Only fields that decide something are decoded, and those strictly: a size or a
 * checksum that two readers could understand differently is refused. Owner and
 * times are never looked at, because they are replaced. The mode is read for its
 * execute bit only and may be damaged (Go writes it in base 256).
 *
 * The header's meaning (which type is allowed, which name counts) is judged by
 * tar-walker.ts.
 */
import { refuseArchive, refuseEntry } from './refusal.ts';

export const BLOCK_BYTES = 512;

const POSIX_MAGIC = Buffer.from('ustar\x0000', 'latin1');
const GNU_MAGIC = Buffer.from('ustar  \x00', 'latin1');
const MAGIC_START = 257;
const MAGIC_END = 265;
const NAME_END = 100;
const MODE_START = 100;
const MODE_END = 108;
const CHECKSUM_START = 148;
const CHECKSUM_END = 156;
const LINK_START = 157;
const LINK_END = 257;
const PREFIX_START = 345;
const PREFIX_END = 500;
const SLASH = Buffer.from('/');
const SPACE = 0x20;
const ZERO = 0x30;
const OWNER_MAY_EXECUTE = 0o100;

export interface TarHeader {
  /** The type flag as a character; NUL stands for a plain file. */
  readonly type: string;
  /** Name with its prefix, as bytes up to the first NUL. A view into the block. */
  readonly name: Buffer;
  /** Whether the name fills its field, so that a longer one may have been cut. */
  readonly nameMayBeCut: boolean;
  /** Whether bytes follow the NUL that ends the name or the prefix. */
  readonly nameHasTail: boolean;
  /** The link name field, as bytes up to the first NUL. A view into the block. */
  readonly linkName: Buffer;
  readonly linkNameHasTail: boolean;
  /** May exceed `Number.MAX_SAFE_INTEGER`, and is then inexact. */
  readonly sizeBytes: number;
  readonly executable: boolean;
}

/** Whether the bytes carry the magic of a POSIX or GNU header. V7 headers have none. */
export function hasTarMagic(block: Buffer): boolean {
  return isMagic(block, POSIX_MAGIC) || isMagic(block, GNU_MAGIC);
}

/** Decodes a block that has the magic. Throws `invalid_header`. */
export function decodeHeader(block: Buffer): TarHeader {
  if (decodeNumber(block, CHECKSUM_START, CHECKSUM_END) !== checksum(block)) {
    throw refuseArchive('invalid_header', 'The checksum of an archive header is wrong.');
  }
  const nameEnd = endOfText(block, 0, NAME_END);
  const linkEnd = endOfText(block, LINK_START, LINK_END);
  // GNU headers use the bytes of the prefix for times.
  const hasPrefix = block[PREFIX_START] !== 0 && isMagic(block, POSIX_MAGIC);
  const prefixEnd = hasPrefix ? endOfText(block, PREFIX_START, PREFIX_END) : PREFIX_END;
  const name = hasPrefix
    ? Buffer.concat([block.subarray(PREFIX_START, prefixEnd), SLASH, block.subarray(0, nameEnd)])
    : block.subarray(0, nameEnd);

  const sizeBytes = decodeNumber(block, 124, 136);
  if (sizeBytes === undefined) {
    throw refuseEntry('invalid_header', name.toString('utf8'), 'has a size that is not a number');
  }
  return {
    type: String.fromCharCode(block[156] as number),
    name,
    nameMayBeCut: nameEnd === NAME_END,
    nameHasTail: hasBytes(block, nameEnd, NAME_END) || hasBytes(block, prefixEnd, PREFIX_END),
    linkName: block.subarray(LINK_START, linkEnd),
    linkNameHasTail: hasBytes(block, linkEnd, LINK_END),
    sizeBytes,
    executable: isExecutable(block),
  };
}

function isMagic(block: Buffer, magic: Buffer): boolean {
  return block.length >= MAGIC_END && block.compare(magic, 0, magic.length, MAGIC_START, MAGIC_END) === 0;
}

/** Unsigned sums only; the signed sums of some old tars are refused. */
function checksum(block: Buffer): number {
  let sum = 0;
  for (let i = 0; i < BLOCK_BYTES; i++) sum += block[i] as number;
  for (let i = CHECKSUM_START; i < CHECKSUM_END; i++) sum += SPACE - (block[i] as number);
  return sum;
}

/**
 * A non-negative number in octal (spaces may precede it; spaces and NULs may follow)
 * or in base 256, or undefined. An empty field is 0.
 */
function decodeNumber(block: Buffer, start: number, end: number): number | undefined {
  let value = 0;
  let at = start;
  const first = block[at] as number;
  if (first & 0x80) {
    if (first !== 0x80) return undefined; // negative, or wider than any size
    for (at++; at < end; at++) value = value * 256 + (block[at] as number);
    return value;
  }
  while (at < end && block[at] === SPACE) at++;
  for (; at < end && isOctalDigit(block[at] as number); at++) value = value * 8 + (block[at] as number) - ZERO;
  while (at < end && (block[at] === SPACE || block[at] === 0)) at++;
  return at === end ? value : undefined;
}

function isOctalDigit(byte: number): boolean {
  return byte >= ZERO && byte <= ZERO + 7;
}

function isExecutable(block: Buffer): boolean {
  return ((decodeNumber(block, MODE_START, MODE_END) ?? 0) & OWNER_MAY_EXECUTE) !== 0;
}

function endOfText(block: Buffer, start: number, end: number): number {
  const nul = block.indexOf(0, start);
  return nul === -1 || nul > end ? end : nul;
}

function hasBytes(block: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (block[i] !== 0) return true;
  return false;
}
