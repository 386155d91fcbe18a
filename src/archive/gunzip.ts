/**
 * Removes one layer of gzip, strictly: exactly one member, whose checksum and
 * length are verified, and nothing after it. (A second member is where gzip
 * readers differ; zlib's own gunzip also ignores some trailing bytes.)
 *
 * Bombs are stopped while they expand: by the output cap and, beyond a floor, by
 * the ratio of output to input. Only this process's zlib is used; no external
 * decompressor is ever started (CVE-2026-41567 is what that leads to).
 */
import { crc32, createInflateRaw } from 'node:zlib';
import type { ServiceError } from '../domain/errors.ts';
import { type ArchiveLimits, expandedBytes } from './archive-limits.ts';
import { inBlocks } from './byte-source.ts';
import { GZIP_HEADER_MAX_BYTES, gzipHeaderLength } from './gzip-header.ts';
import { refuseArchive } from './refusal.ts';

const BLOCK_BYTES = 64 * 1024;
const OUTPUT_BYTES = 128 * 1024;
const TRAILER_BYTES = 8;

export async function* gunzip(
  source: AsyncIterable<Buffer>,
  limits: ArchiveLimits,
): AsyncGenerator<Buffer, void, void> {
  const blocks = inBlocks(source, BLOCK_BYTES);
  const inflater = new Inflater();
  const guard = new ExpansionGuard(limits);
  let checksum = 0;
  try {
    let block: Buffer | undefined = await afterHeader(blocks);
    let rest: Buffer | undefined;
    while (block !== undefined && rest === undefined) {
      guard.bytesIn += block.length;
      for await (const output of inflater.inflate(block)) {
        guard.count(output.length);
        checksum = crc32(output, checksum);
        yield output;
      }
      rest = inflater.rest(block);
      if (rest === undefined) block = await nextOf(blocks);
    }
    await checkTrailer(rest, blocks, checksum, guard.bytesOut);
  } finally {
    inflater.close();
    await blocks.return();
  }
}

async function nextOf(blocks: AsyncGenerator<Buffer, void, void>): Promise<Buffer | undefined> {
  const step = await blocks.next();
  return step.done ? undefined : step.value;
}

/** Reads the member header and returns the bytes behind it. */
async function afterHeader(blocks: AsyncGenerator<Buffer, void, void>): Promise<Buffer> {
  let head = Buffer.alloc(0);
  for (;;) {
    const block = await nextOf(blocks);
    if (block === undefined) throw invalid('ends within its header');
    head = Buffer.concat([head, block]);
    const length = gzipHeaderLength(head);
    if (typeof length === 'number') return head.subarray(length);
    if (length === 'invalid' || head.length > GZIP_HEADER_MAX_BYTES) throw invalid('has a damaged header');
  }
}

async function checkTrailer(
  rest: Buffer | undefined,
  blocks: AsyncGenerator<Buffer, void, void>,
  checksum: number,
  bytesOut: number,
): Promise<void> {
  if (rest === undefined) throw invalid('is cut off');
  let trailer = rest;
  while (trailer.length <= TRAILER_BYTES) {
    const block = await nextOf(blocks);
    if (block === undefined) break;
    trailer = Buffer.concat([trailer, block]);
  }
  if (trailer.length < TRAILER_BYTES) throw invalid('is cut off');
  if (trailer.readUInt32LE(0) !== checksum) throw invalid('has a wrong checksum');
  if (trailer.readUInt32LE(4) !== bytesOut % 2 ** 32) throw invalid('has a wrong length');
  if (trailer.length > TRAILER_BYTES) throw invalid('has more than one member, or data after its end');
}

/** Refuses output beyond the cap or out of proportion to the input. */
class ExpansionGuard {
  bytesIn = 0;
  bytesOut = 0;
  readonly #limits: ArchiveLimits;

  constructor(limits: ArchiveLimits) {
    this.#limits = limits;
  }

  count(length: number): void {
    this.bytesOut += length;
    const cap = expandedBytes(this.#limits);
    if (this.bytesOut > cap) {
      throw refuseArchive('project_too_large', `The project expands to more than ${cap} bytes.`);
    }
    const { gzipRatio, gzipRatioFloorBytes } = this.#limits;
    if (this.bytesOut > gzipRatioFloorBytes && this.bytesOut > this.bytesIn * gzipRatio) {
      throw refuseArchive('compression_ratio', `The project expands to more than ${gzipRatio} times its size.`);
    }
  }
}

/**
 * A raw inflate stream driven one block at a time, so that its output is the same in
 * every run: all that came out of a block is read before its damage is reported.
 */
class Inflater {
  readonly #zlib = createInflateRaw({ chunkSize: OUTPUT_BYTES });
  #written = 0;
  #isBlockDone = false;
  #failure: Error | undefined;
  #wake: () => void = () => undefined;

  constructor() {
    this.#zlib.on('error', (error) => {
      this.#failure = error;
      this.#wake();
    });
    this.#zlib.on('readable', () => this.#wake());
  }

  async *inflate(block: Buffer): AsyncGenerator<Buffer, void, void> {
    this.#written += block.length;
    this.#isBlockDone = false;
    this.#zlib.write(block, () => {
      this.#isBlockDone = true;
      this.#wake();
    });
    for (;;) {
      const output = this.#zlib.read() as Buffer | null;
      if (output !== null) yield output;
      else if (this.#failure !== undefined) throw invalid('is damaged');
      else if (this.#isBlockDone) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** What follows the compressed data in the block just inflated; undefined while it goes on. */
  rest(block: Buffer): Buffer | undefined {
    const unused = this.#written - this.#zlib.bytesWritten;
    return unused > 0 ? block.subarray(block.length - unused) : undefined;
  }

  close(): void {
    this.#zlib.destroy();
  }
}

function invalid(why: string): ServiceError {
  return refuseArchive('invalid_gzip', `The gzip stream ${why}.`);
}
