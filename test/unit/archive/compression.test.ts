/** One layer of gzip and nothing else: T49-T52. */
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { constants, createGzip, crc32, deflateRawSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { DEFAULT_ARCHIVE_LIMITS } from '../../../src/archive/archive-limits.ts';
import { gunzip } from '../../../src/archive/gunzip.ts';
import { archive, file, pax } from '../../support/hostile-archives.ts';
import { expectAccepted, expectRefused, judge, judgeInChunks } from '../../support/archive-verdict.ts';

const noise = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * i * 31 + i * 7) & 0xff));
const tar = archive(file('main.py'), file('noise.bin', noise));

interface MemberFields {
  flags?: number;
  fields?: Uint8Array;
  method?: number;
  checksum?: number;
  length?: number;
  deflated?: Uint8Array;
}

/** A gzip member with every field open to change. */
function member(content: Uint8Array, fields: MemberFields = {}): Buffer {
  const head = Buffer.from([0x1f, 0x8b, fields.method ?? 8, fields.flags ?? 0, 0, 0, 0, 0, 0, 3]);
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(fields.checksum ?? crc32(content), 0);
  trailer.writeUInt32LE(fields.length ?? content.length, 4);
  return Buffer.concat([head, fields.fields ?? Buffer.alloc(0), fields.deflated ?? deflateRawSync(content), trailer]);
}

/** FEXTRA with `length` bytes. */
function extra(length: number): Buffer {
  const field = Buffer.alloc(2 + length, 7);
  field.writeUInt16LE(length, 0);
  return field;
}

/** Compressed zeros without end, about a thousand times smaller than what they expand to. */
async function* endlessZeros(first: Uint8Array): AsyncGenerator<Buffer> {
  const flush = constants.Z_FULL_FLUSH;
  yield Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
  yield deflateRawSync(first, { finishFlush: flush });
  const mebibyte = deflateRawSync(Buffer.alloc(1 << 20), { finishFlush: flush });
  for (;;) yield mebibyte;
}

describe('gzip', () => {
  it('gives the project that the plain tar gives', async () => {
    const plain = await expectAccepted(tar);
    for (const level of [0, 1, 6, 9]) {
      const verdict = await expectAccepted(gzipSync(tar, { level }));
      expect(verdict).toEqual(plain);
    }
    expect(await judgeInChunks(gzipSync(tar), { gzip: true })).toEqual(plain);
    expect(await judgeInChunks(tar, { gzip: false })).toEqual(plain);
  });

  it('is believed when announced, and must then be gzip', async () => {
    await expectRefused(tar, 'invalid_gzip', { gzip: true });
    await expectRefused(Buffer.alloc(0), 'invalid_gzip', { gzip: true });
    await expectRefused(gzipSync(tar), 'unsupported_compression', { gzip: false });
  });

  it.each([
    ['FNAME', 0x08, Buffer.from('code.tar\0')],
    ['FCOMMENT', 0x10, Buffer.from('a comment\0')],
    ['FEXTRA', 0x04, extra(300)],
    ['the longest FEXTRA', 0x04, extra(65_535)],
    ['FTEXT', 0x01, Buffer.alloc(0)],
    ['all of them', 0x1d, Buffer.concat([extra(3), Buffer.from('name\0comment\0')])],
  ])('T51 with %s is accepted', async (_what, flags, fields) => {
    await expectAccepted(member(tar, { flags, fields }));
  });

  it('T51 with a header checksum is accepted if it is right', async () => {
    const head = Buffer.from([0x1f, 0x8b, 8, 0x02, 0, 0, 0, 0, 0, 3]);
    const fields = Buffer.alloc(2);
    fields.writeUInt16LE(crc32(head) & 0xffff);
    await expectAccepted(member(tar, { flags: 0x02, fields }));
    fields.writeUInt16LE((crc32(head) + 1) & 0xffff);
    await expectRefused(member(tar, { flags: 0x02, fields }), 'invalid_gzip');
  });

  it('T51 is read alike wherever its data ends in our blocks', async () => {
    const deflated = deflateRawSync(tar);
    const beforeExtra = 10 + 2;
    for (let shift = -9; shift <= 1; shift++) {
      const fields = extra(65_536 - beforeExtra - deflated.length + shift);
      await expectAccepted(member(tar, { flags: 0x04, fields }), { chunkSizes: [1000, 65_536] });
      await expectRefused(Buffer.concat([member(tar, { flags: 0x04, fields }), Buffer.from('x')]), 'invalid_gzip', {
        chunkSizes: [1000, 65_536],
      });
    }
  });
});

describe('damaged gzip', () => {
  const whole = gzipSync(tar);

  it('T51 is refused when cut off anywhere', async () => {
    for (let length = 2; length < whole.length; length += 13) {
      await expectRefused(whole.subarray(0, length), 'invalid_gzip', { chunkSizes: [65_536] });
    }
    await expectRefused(whole.subarray(0, -1), 'invalid_gzip');
    await expectRefused(whole.subarray(0, -8), 'invalid_gzip');
  });

  it.each([
    ['a wrong CRC', member(tar, { checksum: 1 })],
    ['a wrong length', member(tar, { length: 1 })],
    ['trailing garbage', Buffer.concat([whole, Buffer.from('garbage')])],
    ['one trailing zero byte', Buffer.concat([whole, Buffer.alloc(1)])],
    ['a second member', Buffer.concat([whole, gzipSync(Buffer.from('more'))])],
    ['a second, empty member', Buffer.concat([whole, gzipSync(Buffer.alloc(0))])],
    ['a tar split over two members', Buffer.concat([gzipSync(tar.subarray(0, 700)), gzipSync(tar.subarray(700))])],
    ['an unknown method', member(tar, { method: 9 })],
    ['reserved flags', member(tar, { flags: 0x20 })],
    ['an endless FNAME', Buffer.concat([member(tar, { flags: 0x08 }).subarray(0, 10), Buffer.alloc(300_000, 65)])],
    ['an invalid block', member(tar, { deflated: Buffer.from([0xff, 0xff, 0xff, 0xff]) })],
  ])('T51 %s is refused', async (_what, bytes) => {
    await expectRefused(bytes, 'invalid_gzip', {
      chunkSizes: bytes.length > 100_000 ? [1000, 65_536] : [1, 1000, 65_536],
    });
  });

  it('T51 gives the same verdict however it is cut, also with a fault in the tar before the damage', async () => {
    const faulty = archive(file('../escape'), file('noise.bin', noise));
    for (let at = 12; at < 200; at += 9) {
      const damaged = gzipSync(faulty, { level: 0 });
      damaged[damaged.length - at] = (damaged[damaged.length - at] as number) ^ 0xff;
      await judgeInChunks(damaged, { chunkSizes: [7, 1000, 65_536] });
    }
  });

  it('T51 is found even where the tar had come to its end', async () => {
    await expectRefused(member(tar, { checksum: 1 }), 'invalid_gzip');
  });
});

describe('damage in the middle of compressed data', () => {
  const flush = { level: 0, finishFlush: constants.Z_FULL_FLUSH };
  const invalidBlock = Buffer.alloc(16, 0xff);

  it('T51 gets one verdict, whether or not a fault in the tar came out before it', async () => {
    const faulty = archive(file('../escape'), file('noise.bin', noise));
    const deflated = Buffer.concat([deflateRawSync(faulty, flush), invalidBlock]);
    await expectRefused(member(faulty, { deflated }), 'invalid_gzip', { chunkSizes: [1, 7, 1000, 65_536] });
  });

  it('T51 loses nothing of what came out before it, however slow the reader', async () => {
    const content = randomBytes(400_000);
    for (let length = 120_000; length < 400_000; length += 13_001) {
      const deflated = Buffer.concat([deflateRawSync(content.subarray(0, length), flush), invalidBlock]);
      const lengths = [];
      for (const pauseMs of [0, 5]) {
        let delivered = 0;
        const reading = (async () => {
          for await (const piece of gunzip(Readable.from([member(content, { deflated })]), DEFAULT_ARCHIVE_LIMITS)) {
            delivered += piece.length;
            if (pauseMs > 0) await sleep(pauseMs);
          }
        })();
        await expect(reading).rejects.toMatchObject({ code: 'invalid_gzip' });
        lengths.push(delivered);
      }
      expect(lengths[1], `${length} bytes before the damage`).toBe(lengths[0]);
    }
  });

  it('T51 of a header without end is given up soon', async () => {
    let sent = 0;
    const endless = async function* () {
      yield Buffer.from([0x1f, 0x8b, 8, 0x08, 0, 0, 0, 0, 0, 3]);
      for (; sent < 1000; sent++) yield Buffer.alloc(65_536, 'A');
    };
    expect(await judge(endless())).toMatchObject({ code: 'invalid_gzip' });
    expect(sent).toBeLessThan(10);
  });
});

describe('T49 a gzip bomb', () => {
  it('of a little over 8 MiB of zeros is refused by its ratio', async () => {
    const bomb = gzipSync(archive(file('zeros', Buffer.alloc(8 << 20))), { level: 9 });
    expect(bomb.length).toBeLessThan(10_000);
    await expectRefused(bomb, 'compression_ratio', { chunkSizes: [512, 65_536] });
    await expectAccepted(bomb, { chunkSizes: [65_536], limits: { gzipRatio: 2000 } });
  });

  it('below the floor is a project that compresses well', async () => {
    await expectAccepted(gzipSync(archive(file('zeros', Buffer.alloc(7 << 20))), { level: 9 }), {
      chunkSizes: [65_536],
    });
  });

  it('of 10 GiB is refused long before that', async () => {
    expect(await judge(endlessZeros(file('zeros', '', { size: 400 << 20 })))).toMatchObject({
      code: 'compression_ratio',
    });
  });

  it('of meta headers, which are no content, is cut off by the cap on output', async () => {
    const parts = Array.from({ length: 100 }, (_, i) =>
      Buffer.concat([pax({ comment: '0'.repeat(60_000) }), file(`f${i}`)]),
    );
    const limits = { gzipRatio: 1_000_000, contentBytes: 1 << 20, entries: 1000 };
    await expectAccepted(archive(...parts), { limits, chunkSizes: [65_536] });
    await expectRefused(gzipSync(archive(...parts)), 'project_too_large', { limits });
  });

  it('of raw zeros ends as data after the end of an archive', async () => {
    expect(await judge(endlessZeros(Buffer.alloc(1024)))).toMatchObject({ code: 'trailing_data' });
  });
});

describe('T50 more than one layer', () => {
  it('of gzip is not removed', async () => {
    await expectRefused(gzipSync(gzipSync(tar)), 'not_a_tar');
  });

  it('of anything inside gzip is not looked into', async () => {
    await expectRefused(gzipSync(Buffer.from('\xfd7zXZ\0 and more', 'latin1')), 'not_a_tar');
    await expectRefused(gzipSync(Buffer.alloc(0)), 'not_a_tar');
  });
});

describe('T52 other formats', () => {
  it.each([
    ['xz', 'fd377a585a000004e6d6b446'],
    ['zstd', '28b52ffd2400'],
    ['bzip2', '425a6839314159265359'],
    ['lz4', '04224d186440a7'],
    ['lzip', '4c5a495001'],
    ['compress', '1f9d90'],
    ['zip', '504b030414000000'],
    ['an empty zip', '504b050600000000'],
    ['7z', '377abcaf271c0004'],
  ])('%s is refused by name', async (_what, signature) => {
    const bytes = Buffer.from(signature, 'hex');
    await expectRefused(Buffer.concat([bytes, noise]), 'unsupported_compression');
    await expectRefused(bytes, 'unsupported_compression');
  });

  it('brotli, which has no signature, is no tar', async () => {
    await expectRefused(Buffer.concat([Buffer.from('1b0b0080', 'hex'), noise]), 'not_a_tar');
  });
});

describe('a slow sender of gzip', () => {
  it('is read as it comes', async () => {
    const gzip = createGzip();
    gzip.write(tar.subarray(0, 1000));
    setTimeout(() => gzip.end(tar.subarray(1000)), 20);
    expect(await judge(gzip)).toMatchObject({ accepted: true });
  });
});
