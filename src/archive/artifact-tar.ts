/**
 * The tar that artifacts are kept and sent as, written a header at a time. Pure.
 *
 * POSIX ustar with a PAX `path` record where the name does not fit; owner, group and
 * times say nothing, modes are 0644 or 0755. How long a header is follows from the
 * path alone, so where a file lies in the tar follows from the list of files.
 */
import { DEFAULT_ARCHIVE_LIMITS } from './archive-limits.ts';
import { checkPath } from './entry-rules.ts';

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;
/** 2000-01-01, as in the canonical tar: a time of a sandbox's clock would say nothing. */
const MTIME_SECONDS = 946_684_800;

/** Two blocks of zeros end a tar. */
const END_BYTES = 2 * BLOCK_BYTES;

/**
 * The path as a project's file could have it.
 * @throws {ServiceError} the archive gate's refusal of it.
 */
export function checkedArtifactPath(path: string): string {
  return checkPath(path, 'file', DEFAULT_ARCHIVE_LIMITS).join('/');
}

/** The header of a file, a PAX header before it where the path is long. */
export function tarHeader(path: string, size: number, executable: boolean): Buffer {
  const name = Buffer.from(path);
  const mode = executable ? 0o755 : 0o644;
  if (name.length <= NAME_BYTES && isAscii(name)) return ustarBlock(name, '0', size, mode);
  const record = paxRecord(path);
  return Buffer.concat([
    ustarBlock(Buffer.from('PaxHeader'), 'x', record.length, 0o644),
    record,
    tarPadding(record.length),
    ustarBlock(name.subarray(0, NAME_BYTES), '0', size, mode),
  ]);
}

/** What follows `size` bytes of content. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES);
}

/** Where the last of `files` ends in their tar, and how long the tar is with the zeros at its end. */
export function tarLayout(files: readonly { readonly path: string; readonly size: number }[]): {
  readonly end: number;
  readonly bytes: number;
} {
  let end = 0;
  for (const { path, size } of files) end += tarHeader(path, size, false).length + size + tarPadding(size).length;
  return { end, bytes: end + END_BYTES };
}

function isAscii(name: Buffer): boolean {
  return name.every((byte) => byte < 0x80);
}

/** `LENGTH path=VALUE\n`, where the length counts itself. */
function paxRecord(path: string): Buffer {
  const rest = Buffer.from(` path=${path}\n`);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function ustarBlock(name: Buffer, type: '0' | 'x', size: number, mode: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  const octal = (value: number, digits: number, offset: number) => {
    block.write(`${value.toString(8).padStart(digits, '0')}\0`, offset, 'latin1');
  };
  name.copy(block, 0);
  octal(mode, 7, 100);
  octal(0, 7, 108);
  octal(0, 7, 116);
  octal(size, 11, 124);
  octal(MTIME_SECONDS, 11, 136);
  block.fill(0x20, 148, 156);
  block.write(type, 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
