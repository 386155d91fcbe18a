/** A disk that fills up while a project is spooled. The file system is replaced to make it happen. */
import type * as FileSystem from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { buildProject } from '../../../src/archive/build-project.ts';
import { DEFAULT_ARCHIVE_LIMITS, readProject } from '../../../src/archive/read-project.ts';
import { archive, file } from '../../support/hostile-archives.ts';
import { chunked, openFilesBelow, spoolDirectory } from '../../support/archive-verdict.ts';

const disk = vi.hoisted(() => ({ room: 0, code: 'ENOSPC', shortWrites: false }));

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof FileSystem>();
  return {
    ...real,
    open: async (...args: Parameters<typeof real.open>) => {
      if (disk.room < 0) throw Object.assign(new Error('open'), { code: disk.code });
      const handle = await real.open(...args);
      const write = handle.write.bind(handle) as (...args: unknown[]) => Promise<{ bytesWritten: number }>;
      return Object.assign(handle, {
        write: async (buffer: Buffer, offset: number, length: number, position: number) => {
          const count = disk.shortWrites ? Math.min(length, 1000) : length;
          disk.room -= count;
          if (disk.room < 0) throw Object.assign(new Error('write'), { code: disk.code });
          return write(buffer, offset, count, position);
        },
      });
    },
  };
});

const limits = { ...DEFAULT_ARCHIVE_LIMITS, memorySpoolBytes: 300_000 };
const large = archive(...Array.from({ length: 30 }, (_, i) => file(`f${i}`, Buffer.alloc(100_000, i))));

beforeEach(() => Object.assign(disk, { room: Infinity, code: 'ENOSPC', shortWrites: false }));

describe('a full disk', () => {
  it.each([
    ['when the spool is opened', -1, 'ENOSPC'],
    ['at the first byte', 0, 'ENOSPC'],
    ['in the middle', 1_000_000, 'ENOSPC'],
    ['in the last batch', 3_000_000, 'ENOSPC'],
    ['of a quota', 1_000_000, 'EDQUOT'],
  ])('%s is storage_full', async (_when, room, code) => {
    Object.assign(disk, { room, code });
    const directory = spoolDirectory();
    // A slow source, so that the failure arrives while nothing is being written.
    const slow = async function* () {
      for await (const chunk of chunked(large, 65_536)) {
        await sleep(1);
        yield chunk;
      }
    };
    for (const source of [slow(), chunked(large, 65_536), chunked(large, large.length)]) {
      Object.assign(disk, { room, code });
      await expect(readProject(source, { gzip: false, limits, spoolDirectory: directory })).rejects.toMatchObject({
        code: 'storage_full',
      });
      expect(openFilesBelow(directory)).toEqual([]);
    }
  });

  it('is storage_full for JSON too', async () => {
    disk.room = 1_000_000;
    const files = [{ path: 'a', content: Buffer.alloc(3_000_000) }];
    await expect(buildProject(files, { limits, spoolDirectory: spoolDirectory() })).rejects.toMatchObject({
      code: 'storage_full',
    });
  });

  it('of another kind is a failure of the storage', async () => {
    Object.assign(disk, { room: 1000, code: 'EIO' });
    const reading = readProject(chunked(large, 65_536), { gzip: false, limits, spoolDirectory: spoolDirectory() });
    await expect(reading).rejects.toMatchObject({ code: 'storage_unavailable' });
  });

  it('that writes less than asked loses nothing', async () => {
    const options = { gzip: false, limits, spoolDirectory: spoolDirectory() };
    const plain = await readProject(chunked(large, 65_536), options);
    disk.shortWrites = true;
    const short = await readProject(chunked(large, 65_536), options);
    const parts = [];
    for await (const part of short.read()) parts.push(part);
    expect(Buffer.concat(parts).length).toBe(plain.tarBytes);
    expect(short.sha256).toBe(plain.sha256);
    const { createHash } = await import('node:crypto');
    expect(createHash('sha256').update(Buffer.concat(parts)).digest('hex')).toBe(plain.sha256);
    await plain.dispose();
    await short.dispose();
  });
});
