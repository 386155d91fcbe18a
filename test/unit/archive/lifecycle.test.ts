/** What is held, for how long, and that nothing is left: T54 and the Project interface. */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { ServiceError } from '../../../src/domain/errors.ts';
import { DEFAULT_ARCHIVE_LIMITS, readProject } from '../../../src/archive/read-project.ts';
import { archive, file, header } from '../../support/hostile-archives.ts';
import { chunked, contentOf, openFilesBelow, spoolDirectory } from '../../support/archive-verdict.ts';

const limits = { ...DEFAULT_ARCHIVE_LIMITS, memorySpoolBytes: 100_000 };
const small = archive(file('main.py'));
const bytes = Buffer.alloc(3_000_000, 'some content ');
const large = archive(file('main.py'), file('large.bin', bytes), file('z.py'));

/** A promise that a test must not wait for in vain. */
function within<T>(promise: Promise<T>): Promise<T> {
  return Promise.race([
    promise,
    sleep(10_000, undefined, { ref: false }).then(() => Promise.reject(new Error('hangs'))),
  ]);
}

describe('a project', () => {
  it.each([
    ['small, in memory', small, 0],
    ['large, in an unlinked file', large, 1],
  ])('%s', async (_where, tar, files) => {
    const directory = spoolDirectory();
    const project = await readProject(chunked(tar, 65_536), { gzip: false, limits, spoolDirectory: directory });
    expect(readdirSync(directory)).toEqual([]);
    expect(openFilesBelow(directory)).toHaveLength(files);

    const content = await contentOf(project);
    expect(content.length).toBe(project.tarBytes);
    expect(createHash('sha256').update(content).digest('hex')).toBe(project.sha256);
    expect(project.contentBytes).toBe(project.entries.reduce((sum, entry) => sum + entry.sizeBytes, 0));

    const [again, besides] = await Promise.all([contentOf(project), contentOf(project)]);
    expect(again.equals(content) && besides.equals(content)).toBe(true);

    await Promise.all([project.dispose(), project.dispose()]);
    await project.dispose();
    expect(openFilesBelow(directory)).toEqual([]);
    await expect(contentOf(project)).rejects.toThrow('disposed');
  });

  it.each([
    ['small', small],
    ['large', large],
  ])('%s is not harmed by a reader that changes what it got', async (_size, tar) => {
    const project = await readProject(chunked(tar, 65_536), { gzip: false, limits, spoolDirectory: spoolDirectory() });
    const before = await contentOf(project);
    for await (const part of project.read()) part.fill(0);
    expect((await contentOf(project)).equals(before)).toBe(true);
    await project.dispose();
  });

  it('disposed of while it is read fails the reader', async () => {
    const project = await readProject(chunked(large, 65_536), {
      gzip: false,
      limits,
      spoolDirectory: spoolDirectory(),
    });
    const reading = (async () => {
      for await (const part of project.read()) if (part.length > 0) await project.dispose();
    })();
    await expect(reading).rejects.toThrow('disposed');
  });

  it('has the same canonical tar in memory and in a file', async () => {
    const options = { gzip: false, spoolDirectory: spoolDirectory() };
    const inFile = await readProject(chunked(large, 65_536), { ...options, limits });
    const inMemory = await readProject(chunked(large, 65_536), {
      ...options,
      limits: { ...limits, memorySpoolBytes: 10_000_000 },
    });
    expect(inMemory.sha256).toBe(inFile.sha256);
    const content = await contentOf(inFile);
    expect((await contentOf(inMemory)).equals(content)).toBe(true);
    for (const project of [inFile, inMemory]) {
      const buffer = Buffer.alloc(50_001);
      const parts: Buffer[] = [];
      for (let at = 0, bytes = 0; (bytes = await project.readInto(buffer, at)) > 0; at += bytes) {
        parts.push(Buffer.from(buffer.subarray(0, bytes)));
      }
      expect(Buffer.concat(parts).equals(content)).toBe(true);
      expect(await project.readInto(buffer, project.tarBytes)).toBe(0);
    }
    await inFile.dispose();
    await inMemory.dispose();
  });
});

describe('T54 an abort', () => {
  const reason = new ServiceError('request_timeout', 'The upload took too long.');

  it.each([
    ['before the first byte', 0],
    ['within a header', 300],
    ['within a large file that is already spooled', 2_000_000],
    ['within the end marker', large.length - 300],
  ])('%s ends a silent upload with the reason', async (_when, sent) => {
    const directory = spoolDirectory();
    const controller = new AbortController();
    let isClosed = false;
    const silent: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => {
        let hasSent = sent === 0;
        return {
          next: () => {
            if (hasSent) return new Promise(() => setTimeout(() => controller.abort(reason), 20));
            hasSent = true;
            return Promise.resolve({ done: false, value: large.subarray(0, sent) });
          },
          return: () => {
            isClosed = true;
            return new Promise(() => undefined);
          },
        };
      },
    };
    const reading = readProject(silent, {
      gzip: 'detect',
      limits,
      spoolDirectory: directory,
      signal: controller.signal,
    });
    await expect(within(reading)).rejects.toBe(reason);
    expect(isClosed).toBe(true);
    expect(openFilesBelow(directory)).toEqual([]);
  });

  it('before the start reads nothing', async () => {
    const untouched: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => {
        throw new Error('was read');
      },
    };
    const options = { gzip: false, limits, spoolDirectory: spoolDirectory(), signal: AbortSignal.abort(reason) };
    await expect(readProject(untouched, options)).rejects.toBe(reason);
  });

  it('of a gzip upload frees the decompressor', async () => {
    const directory = spoolDirectory();
    const controller = new AbortController();
    const stalling = async function* () {
      yield gzipSync(large).subarray(0, 2000);
      setTimeout(() => controller.abort(reason), 20);
      await new Promise(() => undefined);
    };
    const options = { gzip: true, limits, spoolDirectory: directory, signal: controller.signal };
    await expect(within(readProject(stalling(), options))).rejects.toBe(reason);
    expect(openFilesBelow(directory)).toEqual([]);
  });

  it('after the project is ready changes nothing', async () => {
    const controller = new AbortController();
    const options = { gzip: false, limits, spoolDirectory: spoolDirectory(), signal: controller.signal };
    const project = await readProject(chunked(small, 512), options);
    controller.abort(reason);
    expect((await contentOf(project)).length).toBe(project.tarBytes);
    await project.dispose();
  });
});

describe('an error', () => {
  it('of the source passes through unchanged', async () => {
    const directory = spoolDirectory();
    const lost = new Error('connection lost');
    const failing = async function* () {
      yield large.subarray(0, 2_000_000);
      throw lost;
    };
    await expect(readProject(failing(), { gzip: false, limits, spoolDirectory: directory })).rejects.toBe(lost);
    expect(openFilesBelow(directory)).toEqual([]);
  });

  it('in the archive closes the source and frees the spool', async () => {
    const directory = spoolDirectory();
    let isClosed = false;
    const bad = Buffer.concat([large.subarray(0, -1024), file('../x')]);
    const source = async function* () {
      try {
        for (;;) yield* chunked(bad, 65_536);
      } finally {
        isClosed = true;
      }
    };
    await expect(readProject(source(), { gzip: false, limits, spoolDirectory: directory })).rejects.toMatchObject({
      code: 'path_escape',
    });
    expect(isClosed).toBe(true);
    expect(openFilesBelow(directory)).toEqual([]);
  });

  it('of the project as a whole frees the spool', async () => {
    const directory = spoolDirectory();
    const loop = Buffer.concat([
      large.subarray(0, -1024),
      header({ name: 'l', type: '2', linkName: 'l' }),
      Buffer.alloc(1024),
    ]);
    await expect(
      readProject(chunked(loop, 65_536), { gzip: false, limits, spoolDirectory: directory }),
    ).rejects.toMatchObject({
      code: 'link_loop',
    });
    expect(openFilesBelow(directory)).toEqual([]);
  });

  it('of the spool directory is ours, and its path stays out of the sentence', async () => {
    const missing = join(spoolDirectory(), 'missing');
    const reading = readProject(chunked(large, 65_536), { gzip: false, limits, spoolDirectory: missing });
    await expect(within(reading)).rejects.toMatchObject({
      code: 'storage_unavailable',
      message: expect.not.stringContaining(missing) as string,
    });
  });
});
