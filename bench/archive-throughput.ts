/**
 * How fast archives go through validation, and what memory that takes: 100 MB as
 * one file, as 200 files and as 20,000 files, plain and gzipped.
 *
 * usage: node bench/archive-throughput.ts [runs]
 *
 * The source is memory, cut into chunks of 64 KiB, so that the network is not part
 * of the figure; the spool is a file in the system's temporary directory. Prints
 * the median of the runs after one to warm up.
 */
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { DEFAULT_ARCHIVE_LIMITS, readProject } from '../src/archive/read-project.ts';

const CHUNK_BYTES = 64 * 1024;
const TOTAL_BYTES = 100_000_000;
const runs = Number(process.argv[2] ?? 5);

async function archiveOf(files: number): Promise<Buffer> {
  const content = randomBytes(Math.floor(TOTAL_BYTES / files) - 512 - (files > 1000 ? 392 : 0));
  const tar = pack();
  for (let i = 0; i < files; i++) tar.entry({ name: `pkg${i % 100}/module${i}.py` }, content);
  tar.finalize();
  const parts: Buffer[] = [];
  for await (const part of tar as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

async function* chunks(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    yield bytes.subarray(at, at + CHUNK_BYTES);
    await turn();
  }
}

async function measure(what: string, body: Buffer, tarBytes: number): Promise<void> {
  const times: number[] = [];
  const before = process.memoryUsage.rss();
  let peak = before;
  const sampler = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 5);
  for (let run = 0; run <= runs; run++) {
    const start = performance.now();
    const project = await readProject(chunks(body), {
      gzip: 'detect',
      limits: { ...DEFAULT_ARCHIVE_LIMITS, gzipRatio: 10_000 },
      spoolDirectory: tmpdir(),
    });
    if (run > 0) times.push(performance.now() - start);
    await project.dispose();
  }
  clearInterval(sampler);
  const median = times.sort((a, b) => a - b)[Math.floor(times.length / 2)] as number;
  const speed = tarBytes / 1e6 / (median / 1000);
  const growth = (peak - before) / 2 ** 20;
  console.log(
    `${what.padEnd(24)} ${(tarBytes / 1e6).toFixed(0)} MB in ${median.toFixed(0)} ms: ` +
      `${speed.toFixed(0)} MB/s, RSS grew by ${growth.toFixed(0)} MiB`,
  );
}

for (const files of [1, 200, 20_000]) {
  const tar = await archiveOf(files);
  await measure(`${files} files`, tar, tar.length);
  await measure(`${files} files, gzip`, gzipSync(tar, { level: 1 }), tar.length);
}
