/**
 * A page of an index, read to its end before any of it is passed on: unpacked, and no
 * longer than a page may be. A page that was cut off is none.
 *
 * What stands in it is not looked at here (page-links.ts).
 */
import type { IncomingMessage } from 'node:http';
import { pipeline, type Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';

/** Longest page, unpacked. The longest of PyPI have some 10 MB. */
const PAGE_BYTES_MAX = 32 * 2 ** 20;

/** The page cannot be had whole, and why. */
export class NoPage extends Error {
  readonly problem: 'PAGE_TOO_LONG' | 'PAGE_CUT_OFF' | 'PAGE_PACKED_ODDLY';
  constructor(problem: NoPage['problem'], options: { cause?: unknown } = {}) {
    super(problem, options);
    this.problem = problem;
  }
}

/** Ways to pack that are undone (RFC 9110, 8.4.1), whatever was asked for: some servers know no other. */
const UNPACKERS: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
};

/**
 * The page, as it is without its packing.
 * @throws {NoPage}
 */
export async function wholePage(incoming: IncomingMessage): Promise<Buffer> {
  const encoding = incoming.headers['content-encoding']?.trim().toLowerCase() ?? 'identity';
  const unpacker = UNPACKERS[encoding]?.();
  if (!unpacker && encoding !== 'identity') throw new NoPage('PAGE_PACKED_ODDLY');
  const source: AsyncIterable<Buffer> = unpacker ? pipeline(incoming, unpacker, () => undefined) : incoming;
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const part of source) {
      bytes += part.length;
      if (bytes > PAGE_BYTES_MAX) throw new NoPage('PAGE_TOO_LONG');
      parts.push(part);
    }
  } catch (cause) {
    if (cause instanceof NoPage) throw cause;
    // What ends early says so by this code; everything else is the unpacker's.
    const isCutOff = !unpacker || (cause instanceof Error && 'code' in cause && cause.code === 'ECONNRESET');
    throw new NoPage(isCutOff ? 'PAGE_CUT_OFF' : 'PAGE_PACKED_ODDLY', { cause });
  }
  return Buffer.concat(parts);
}
