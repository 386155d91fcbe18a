/**
 * Memory stays flat: 100 MB of project passes with little growth (T38, T58), and a
 * hundred hostile uploads at once cost a bounded share each.
 *
 * Each case runs in a process of its own, which reports its peak; the archives are
 * made beforehand, so that making them is not measured.
 */
import { execFile } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { constants, deflateRawSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { END, file, header, pax, paxRecord } from '../../support/hostile-archives.ts';

const MIB = 1 << 20;
const PROBE = join(import.meta.dirname, '../../support/archive-memory-probe.ts');
let root: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'archive-memory-'));
});
afterAll(() => rmSync(root, { recursive: true }));

function write(name: string, parts: Iterable<Uint8Array>): string {
  const path = join(root, name);
  const fd = openSync(path, 'w');
  for (const part of parts) writeSync(fd, part);
  closeSync(fd);
  return path;
}

interface Report {
  growth: { validatedBytes: number; totalBytes: number };
  verdicts: string[];
}

async function probe(archives: string[], limits: object = {}): Promise<Report> {
  const spools = mkdtempSync(join(root, 'spool-'));
  const run = await promisify(execFile)(process.execPath, [PROBE, spools, JSON.stringify(limits), ...archives], {
    timeout: 120_000,
  });
  expect(readdirSync(spools)).toEqual([]);
  return JSON.parse(run.stdout) as Report;
}

/**
 * Reading the project back makes a fresh buffer for every piece. V8 lets about
 * 64 MiB of those pile up before it collects, in all readers together.
 */
function expectFlat({ growth }: Report): void {
  expect(growth.validatedBytes).toBeLessThan(64 * MIB);
  expect(growth.totalBytes).toBeLessThan(128 * MIB);
}

/** 20,000 files of 4.5 KiB, a tar of 102 MB. */
function* manyFiles(): Generator<Buffer> {
  for (let block = 0; block < 200; block++) {
    const files = Array.from({ length: 100 }, (_, i) =>
      file(`pkg${i}/module${block}.py`, Buffer.alloc(4600, `${block} ${i} `)),
    );
    yield Buffer.concat(files);
  }
  yield END;
}

function* oneFile(): Generator<Buffer> {
  yield header({ name: 'large.bin', size: 99 * MIB });
  for (let i = 0; i < 99; i++) yield Buffer.alloc(MIB, i);
  yield END;
}

/** T38: many headers of nearly the largest size, then one beyond it. */
function* longHeaders(): Generator<Buffer> {
  for (let i = 0; i < 100; i++) yield Buffer.concat([pax({ comment: 'x'.repeat(60_000) }), file(`f${i}`)]);
  const record = paxRecord('comment', 'x'.repeat(4 * MIB));
  yield header({ type: 'x', size: record.length });
  yield record;
}

/** T39: empty files, more than the limit. */
function* emptyFiles(): Generator<Buffer> {
  for (let i = 0; i < 6000; i++) yield header({ name: `some/directory/file${i}.py` });
  yield END;
}

/** T49: gzip that expands to 10 GiB of zeros. */
function* bomb(): Generator<Buffer> {
  const flush = { finishFlush: constants.Z_FULL_FLUSH };
  yield Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
  yield deflateRawSync(header({ name: 'zeros', size: 500 * MIB }), flush);
  const mebibyte = deflateRawSync(Buffer.alloc(MIB), flush);
  for (let i = 0; i < 10_240; i++) yield mebibyte;
}

describe('100 MB', () => {
  it.each([
    ['in 20,000 files', manyFiles, 'accepted 20100'],
    ['in one file', oneFile, 'accepted 1'],
  ])(
    '%s grow the process by less than 64 MiB',
    async (_what, parts, verdict) => {
      const report = await probe([write('100mb.tar', parts())]);
      expect(report.verdicts).toEqual([verdict]);
      expectFlat(report);
    },
    120_000,
  );

  it('in 20,000 files, gzipped, grow the process by less than 64 MiB', async () => {
    const path = write('100mb.tar', manyFiles());
    writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 1 }));
    const report = await probe([`${path}.gz`], { gzipRatio: 1000 });
    expect(report.verdicts).toEqual(['accepted 20100']);
    expectFlat(report);
  }, 120_000);
});

describe('hostile uploads', () => {
  it('T38 long headers cost less than 64 MiB, whatever they add up to', async () => {
    const { growth, verdicts } = await probe([write('t38', longHeaders())]);
    expect(verdicts).toEqual(['header_too_large']);
    expect(growth.totalBytes).toBeLessThan(64 * MIB);
  }, 120_000);

  it('T58 a hundred at once cost a few MiB each', async () => {
    const kinds = [write('t38', longHeaders()), write('t39', emptyFiles()), write('t49', bomb())];
    const uploads = Array.from({ length: 100 }, (_, i) => kinds[i % 3] as string);
    const { growth, verdicts } = await probe(uploads, { entries: 5000 });
    expect(verdicts).toEqual(
      uploads.map((_, i) => ['header_too_large', 'too_many_entries', 'compression_ratio'][i % 3]),
    );
    expect(growth.totalBytes).toBeLessThan(100 * 6 * MIB);
  }, 120_000);
});
