/** Where an archive ends and how much it may hold: T34-T37, T39, T53. */
import { describe, expect, it } from 'vitest';
import { DEFAULT_ARCHIVE_LIMITS } from '../../../src/archive/read-project.ts';
import { archive, directory, END, file, gnuLong, header, pax, symlink } from '../../support/hostile-archives.ts';
import { expectAccepted, expectRefused, judge, judgeInChunks } from '../../support/archive-verdict.ts';

const main = file('main.py', 'x'.repeat(700));

describe('T34 a truncated archive', () => {
  const whole = archive(pax({ path: 'a.py' }), file('x', 'y'.repeat(700)), gnuLong('L', 'b.py'), main);

  it('is refused at every length', async () => {
    for (let length = 0; length < whole.length; length += 37) {
      const code = length === 0 || length < 265 ? 'not_a_tar' : 'truncated';
      const verdict = await judgeInChunks(whole.subarray(0, length), { chunkSizes: [512, 65_536] });
      expect(verdict, `cut at ${length}`).toMatchObject({ accepted: false, code });
    }
    await expectAccepted(whole);
  });

  it.each([
    ['mid-header', 300],
    ['mid-body', 512 + 300],
    ['mid-padding', 512 + 800],
    ['mid end marker', 512 + 1024 + 700],
  ])('%s', async (_where, length) => {
    await expectRefused(archive(main).subarray(0, length), 'truncated');
  });

  it('names the entry that is cut off', async () => {
    const refusal = await expectRefused(main.subarray(0, 900), 'truncated');
    expect(refusal.members).toEqual({ entry: 'main.py' });
    const inHeader = await expectRefused(Buffer.concat([main, pax({ path: 'a' }).subarray(0, 900)]), 'truncated');
    expect(inHeader.members).toEqual({});
  });
});

describe('T35 the end marker', () => {
  it('is required after the last entry', async () => {
    await expectRefused(main, 'truncated');
  });

  it('is two blocks, not one', async () => {
    await expectRefused(Buffer.concat([main, END.subarray(0, 512)]), 'truncated');
    await expectRefused(Buffer.concat([main, END.subarray(0, 512), main, END]), 'trailing_data');
  });
});

describe('T36 what follows the end marker', () => {
  it.each([
    ['a second archive', archive(file('second.py'))],
    ['one byte', Buffer.from('x')],
    ['one byte after zeros', Buffer.concat([Buffer.alloc(9000), Buffer.from('x')])],
    ['text', Buffer.from('print(1)\n'.repeat(100))],
  ])('%s is refused', async (_what, tail) => {
    await expectRefused(Buffer.concat([archive(main), tail]), 'trailing_data');
  });

  it.each([1, 511, 512, 7168, 10_240])('%i zero bytes are accepted', async (count) => {
    await expectAccepted(Buffer.concat([archive(main), Buffer.alloc(count)]));
  });

  it('zeros are accepted up to the limit', async () => {
    const trailingZeroBytes = 5000;
    const limits = { trailingZeroBytes };
    await expectAccepted(Buffer.concat([archive(main), Buffer.alloc(trailingZeroBytes)]), { limits });
    await expectRefused(Buffer.concat([archive(main), Buffer.alloc(trailingZeroBytes + 1)]), 'trailing_data', {
      limits,
    });
  });
});

describe('T37 what is no project', () => {
  const javascript = Buffer.from('export const a = 1;\n'.repeat(60));
  // CVE-2019-20907: a PAX record of length 0 made a reader loop for ever.
  const recursion = archive(
    header({ type: 'x', size: 20 }),
    Buffer.concat([Buffer.from('0 hdrcharset=BINARY\n'), Buffer.alloc(492)]),
    main,
  );

  it.each([
    ['0 bytes', 'not_a_tar', Buffer.alloc(0)],
    ['one byte', 'not_a_tar', Buffer.from('x')],
    ['1,024 zero bytes', 'empty_project', END],
    ['10,240 zero bytes', 'empty_project', Buffer.alloc(10_240)],
    ['1,023 zero bytes', 'truncated', Buffer.alloc(1023)],
    ['directories only', 'empty_project', archive(directory('a'), directory('b'))],
    ['the root only', 'empty_project', archive(directory('./'))],
    ['links only', 'empty_project', archive(symlink('a', 'b'))],
    ['a short JavaScript file', 'not_a_tar', javascript.subarray(0, 100)],
    ['a long JavaScript file', 'not_a_tar', javascript],
    ['a v7 tar without magic', 'not_a_tar', archive(file('a', 'x', { magic: 'none' }))],
    ['recursion.tar', 'invalid_header', recursion],
  ] as const)('%s: %s', async (_what, code, bytes) => {
    await expectRefused(bytes, code);
  });
});

describe('T39 entries', () => {
  it('are refused one beyond the limit', async () => {
    const files = (count: number) => Array.from({ length: count }, (_, i) => file(`f${i}`, ''));
    await expectAccepted(archive(...files(100)), { limits: { entries: 100 } });
    await expectRefused(archive(...files(101)), 'too_many_entries', { limits: { entries: 100 } });
  });

  it('include the directories that are only implied', async () => {
    const bytes = archive(file('a/b/c/d/e.py'));
    await expectAccepted(bytes, { limits: { entries: 5 } });
    await expectRefused(bytes, 'too_many_entries', { limits: { entries: 4 } });
  });

  it('stop a million empty files after limit + 1 headers', async () => {
    let headers = 0;
    const endless = async function* () {
      for (; headers < 1_000_000; headers++) yield file(`f${headers}`, '');
    };
    expect(await judge(endless())).toMatchObject({ code: 'too_many_entries' });
    expect(headers).toBe(DEFAULT_ARCHIVE_LIMITS.entries);
  });

  it('have names that add up to a limit', async () => {
    const bytes = archive(file('aaaa/bbbb'), symlink('cccc', 'dddd'));
    await expectAccepted(bytes, { limits: { totalNameBytes: 21 } });
    await expectRefused(bytes, 'project_too_large', { limits: { totalNameBytes: 20 } });
  });
});

describe('T53 bytes', () => {
  it('of one file are judged by its header', async () => {
    let sent = 0;
    const zeros = async function* () {
      yield header({ name: 'zeros', size: 2_000_000_000 });
      for (;;) {
        sent++;
        yield Buffer.alloc(65_536);
      }
    };
    expect(await judge(zeros())).toMatchObject({ code: 'project_too_large', members: { entry: 'zeros' } });
    expect(sent).toBe(0);
  });

  it('of many files are summed, to the last byte', async () => {
    const parts = [file('a', 'x'.repeat(1000)), file('b', 'x'.repeat(1000)), file('c', 'x')];
    await expectAccepted(archive(...parts), { limits: { contentBytes: 2001 } });
    const refusal = await expectRefused(archive(...parts), 'project_too_large', { limits: { contentBytes: 2000 } });
    expect(refusal.members).toEqual({ entry: 'c' });
  });

  it('of the body are counted as sent, to the last byte', async () => {
    const bytes = archive(main);
    await expectAccepted(bytes, { limits: { bodyBytes: bytes.length } });
    await expectRefused(bytes, 'body_too_large', { limits: { bodyBytes: bytes.length - 1 } });
  });

  it('within the cap are judged before the cap is', async () => {
    await expectRefused(archive(file('../x'), main), 'path_escape', { limits: { bodyBytes: 512 } });
    await expectRefused(archive(file('../x'), main), 'body_too_large', { limits: { bodyBytes: 511 } });
  });
});
