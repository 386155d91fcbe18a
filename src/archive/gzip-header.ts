/**
 * Finds the end of a gzip member header (RFC 1952). Pure.
 *
 * Optional fields are skipped, never used: the stored file name has no meaning
 * here. A header checksum, where there is one, is verified.
 */
import { crc32 } from 'node:zlib';

/** Longer headers are refused; the extra field alone may take 64 KiB. */
export const GZIP_HEADER_MAX_BYTES = 128 * 1024;

const FIXED_BYTES = 10;
const DEFLATE = 8;
const HAS_CHECKSUM = 0x02;
const HAS_EXTRA = 0x04;
const HAS_NAME = 0x08;
const HAS_COMMENT = 0x10;
const RESERVED = 0xe0;

export function hasGzipMagic(bytes: Buffer): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/** The header's length, or what keeps it from being known. */
export function gzipHeaderLength(bytes: Buffer): number | 'incomplete' | 'invalid' {
  if (bytes.length < FIXED_BYTES) return 'incomplete';
  const flags = bytes[3] as number;
  if (!hasGzipMagic(bytes) || bytes[2] !== DEFLATE || (flags & RESERVED) !== 0) return 'invalid';

  let end = FIXED_BYTES;
  if (flags & HAS_EXTRA) {
    if (bytes.length < end + 2) return 'incomplete';
    end += 2 + bytes.readUInt16LE(end);
  }
  for (const field of [HAS_NAME, HAS_COMMENT]) {
    if (!(flags & field)) continue;
    const nul = bytes.indexOf(0, end);
    if (nul === -1) return 'incomplete';
    end = nul + 1;
  }
  if (flags & HAS_CHECKSUM) {
    if (bytes.length < end + 2) return 'incomplete';
    if (bytes.readUInt16LE(end) !== (crc32(bytes.subarray(0, end)) & 0xffff)) return 'invalid';
    end += 2;
  }
  return bytes.length < end ? 'incomplete' : end;
}
