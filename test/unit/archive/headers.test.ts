/** Header fields and meta headers: T16-T18, T21-T33, T38, T48. */
import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../../src/domain/errors.ts';
import {
  archive,
  base256,
  body,
  directory,
  entry,
  file,
  gnuLong,
  hardlink,
  header,
  pax,
  paxRecord,
  symlink,
} from '../../support/hostile-archives.ts';
import { expectAccepted, expectRefused, judgeInChunks, listing } from '../../support/archive-verdict.ts';

const main = file('main.py');
const smuggled = archive(file('smuggled.py'));
const seven = file('seven.bin', 'x'.repeat(700));

type Refusal = [what: string, code: ErrorCode, ...parts: Uint8Array[]];

const refused: readonly Refusal[] = [
  ['T16 a fifo', 'special_file', main, header({ name: 'p', type: '6' })],
  ['T16 a character device', 'special_file', main, header({ name: 'null', type: '3' })],
  ['T16 a block device', 'special_file', main, header({ name: 'sda', type: '4' })],

  [
    'T22 PAX size, then a GNU long name',
    'ambiguous_header',
    pax({ size: '1024' }),
    gnuLong('L', 'a'),
    file('a', smuggled),
  ],
  ['T22 a GNU long name, then PAX', 'ambiguous_header', gnuLong('L', 'a'), pax({ size: '1024' }), file('a', smuggled)],
  ['T22 PAX, then a GNU long link', 'ambiguous_header', pax({ mtime: '1' }), gnuLong('K', 'a'), symlink('l', 'a')],

  ...['0x10', '1e3', '-1', '+5', ' 5', '5 ', '', '5.0', '1'.repeat(20)].map<Refusal>((size) => [
    `T23 PAX size ${JSON.stringify(size)}`,
    'invalid_header',
    pax({ size }),
    file('a', 'x'.repeat(16)),
  ]),
  ...['x', 'g', 'L', 'K'].map<Refusal>((type) => [
    `T24 an empty ${type} header before a file`,
    'invalid_header',
    header({ name: 'meta', type }),
    seven,
    main,
  ]),
  ['T25 a negative base-256 size on L', 'invalid_header', header({ type: 'L', size: base256(-1n, 12) }), seven],
  ['T25 a size on L that is no number', 'invalid_header', header({ type: 'L', size: 'nonsense....' }), seven],
  ['T25 a negative base-256 size on a file', 'invalid_header', file('a', 'x', { size: base256(-512n, 12) })],
  ['T25 a negative base-256 size on an empty file', 'invalid_header', file('a', '', { size: base256(-512n, 12) })],
  ['T25 an octal size with a minus', 'invalid_header', file('a', 'x', { size: '-0000000001\0' })],
  ['T25 an octal size with a digit too high', 'invalid_header', file('a', 'x', { size: '00000000008\0' })],
  ['T25 an octal size with a tail', 'invalid_header', file('a', 'x', { size: '0000001\0 1\0\0' })],
  ['T26 a directory of 1,024 bytes', 'invalid_header', main, entry({ name: 'd', type: '5' }, 'x'.repeat(1024))],
  [
    'T26 a directory of 1,024 bytes by PAX',
    'invalid_header',
    main,
    pax({ size: '1024' }),
    directory('d'),
    Buffer.alloc(1024, 1),
  ],
  [
    'T26 a directory whose PAX size hides its own',
    'invalid_header',
    main,
    pax({ size: '0' }),
    entry({ name: 'd', type: '5' }, 'x'),
  ],
  [
    'T26 a directory of 1,024 bytes by PAX, without a body',
    'invalid_header',
    main,
    pax({ size: '1024' }),
    directory('d'),
  ],
  [
    'T26 a directory whose PAX size hides its own, without a body',
    'invalid_header',
    main,
    pax({ size: '0' }),
    directory('d', { size: 1024 }),
  ],
  [
    'T27 a link with a tar in its body',
    'invalid_header',
    main,
    entry({ name: 'l', type: '2', linkName: 'main.py' }, smuggled),
  ],
  [
    'T27 a hard link with a tar in its body',
    'hard_link',
    main,
    entry({ name: 'h', type: '1', linkName: 'main.py' }, smuggled),
  ],
  ['T27 a fifo with a tar in its body', 'special_file', main, entry({ name: 'p', type: '6' }, smuggled)],

  ['T28 a global path', 'ambiguous_header', pax({ path: 'x.py' }, 'g'), main],
  ['T28 a global size', 'ambiguous_header', pax({ size: '0' }, 'g'), main],
  ['T28 a global linkpath', 'ambiguous_header', pax({ linkpath: '/etc' }, 'g'), main],
  ['T28 a global mtime', 'ambiguous_header', pax({ mtime: '1' }, 'g'), main],
  ['T28 a global comment and path', 'ambiguous_header', pax({ comment: 'c', path: '../x' }, 'g'), main],
  ['T28 two global comments', 'ambiguous_header', pax({ comment: 'a' }, 'g'), pax({ comment: 'b' }, 'g'), main],
  [
    'T28 a global comment between PAX and its entry',
    'ambiguous_header',
    pax({ path: 'a' }),
    pax({ comment: 'b' }, 'g'),
    main,
  ],
  ['T29 two PAX headers', 'ambiguous_header', pax({ path: 'a' }), pax({ path: 'b' }), main],
  ['T29 two long names', 'ambiguous_header', gnuLong('L', 'a'), gnuLong('L', 'b'), main],
  ['T29 two long links', 'ambiguous_header', gnuLong('K', 'a'), gnuLong('K', 'b'), symlink('l', 'a')],
  ['T29 a long link for a file', 'ambiguous_header', gnuLong('K', 'a'), main],
  ['T29 a PAX linkpath for a file', 'ambiguous_header', pax({ linkpath: 'a' }), main],
  ['T29 a long name for nothing', 'ambiguous_header', main, gnuLong('L', 'a')],
  ['T29 a PAX header for nothing', 'ambiguous_header', main, pax({ path: 'a' })],
  [
    'T29 a PAX path twice in one header',
    'ambiguous_header',
    entry({ type: 'x' }, Buffer.concat([paxRecord('path', 'a'), paxRecord('path', 'b')])),
    main,
  ],
  [
    'T29 a PAX size twice in one header',
    'ambiguous_header',
    entry({ type: 'x' }, Buffer.concat([paxRecord('size', '1'), paxRecord('size', '0')])),
    main,
  ],

  ['T30 an old GNU sparse file', 'sparse_file', header({ name: 's', type: 'S', magic: 'gnu', size: 60 * 2 ** 30 })],
  ['T30 GNU sparse 0.0', 'sparse_file', pax({ 'GNU.sparse.size': '64424509440', 'GNU.sparse.numblocks': '1' }), main],
  ['T30 GNU sparse 0.1', 'sparse_file', pax({ 'GNU.sparse.map': '0,512', 'GNU.sparse.name': 'x' }), main],
  ['T30 GNU sparse 1.0', 'sparse_file', pax({ 'GNU.sparse.major': '1', 'GNU.sparse.realsize': '64424509440' }), main],
  ['T30 star and Solaris sparse', 'sparse_file', pax({ 'SCHILY.realsize': '64424509440' }), main],
  ...['V', 'M', 'D', 'X', 'N', 'A', 'Z', 'E', '8', '\x01', Buffer.from([0xff])].map<Refusal>((type) => [
    `T31 type ${JSON.stringify(type)}`,
    'unsupported_entry_type',
    main,
    header({ name: 'x', type }),
  ]),
  ['T32 a file of 8 GiB', 'project_too_large', header({ name: 'a', size: base256(8n << 30n, 12) })],
  ['T32 a file of 8 GiB - 1 in octal', 'project_too_large', header({ name: 'a', size: '77777777777\0' })],
  ['T32 a file of 2^63 - 1 bytes', 'project_too_large', header({ name: 'a', size: base256(2n ** 63n - 1n, 12) })],
  ['T32 a file of 2^94 bytes', 'project_too_large', header({ name: 'a', size: base256(2n ** 87n, 12) })],
  ['T32 a file of 10^15 - 1 bytes by PAX', 'project_too_large', pax({ size: '9'.repeat(15) }), header({ name: 'a' })],
  ['T32 a directory of 8 GiB', 'invalid_header', main, directory('d', { size: base256(8n << 30n, 12) })],
  ['T32 a PAX header of 8 GiB', 'header_too_large', header({ type: 'x', size: base256(8n << 30n, 12) })],
  ['T33 a wrong checksum in the first header', 'invalid_header', file('a', 'x', { checksum: 'wrong' })],
  ['T33 a wrong checksum in a later header', 'invalid_header', main, file('a', 'x', { checksum: 'wrong' })],
  [
    'T33 a wrong checksum in a PAX header',
    'invalid_header',
    Buffer.concat([header({ type: 'x', size: 10, checksum: 'wrong' }), body('10 path=a\n')]),
    main,
  ],
  ['T33 a signed checksum that differs', 'invalid_header', file('\u00e9', 'x', { checksum: 'signed' })],
  ['T33 a later block without magic', 'invalid_header', main, file('a', 'x', { magic: 'none' })],
  ['T33 a later block of text', 'invalid_header', main, body('print(1)\n'.repeat(80)), Buffer.alloc(0)],

  ['T38 a PAX header of 4 MiB', 'header_too_large', pax({ comment: 'x'.repeat(4 << 20) }), main],
  ['T38 a PAX path of 1 MB', 'header_too_large', pax({ path: 'x'.repeat(1_000_000) }), main],
  ['T38 a global header of 2 GB', 'header_too_large', header({ type: 'g', size: 2_000_000_000 })],
  ['T38 a long name of 64 KiB + 1', 'header_too_large', gnuLong('L', 'x'.repeat(65_536)), main],

  ['a PAX record with a wrong length', 'invalid_header', entry({ type: 'x' }, '12 path=a\n'), main],
  ['a PAX record that is too short', 'invalid_header', entry({ type: 'x' }, '9 path=a\n\n'), main],
  ['a PAX record that does not end in a newline', 'invalid_header', entry({ type: 'x' }, '10 path=ab'), main],
  ['a PAX record of length 0', 'invalid_header', entry({ type: 'x' }, '0 path=a\n'), main],
  ['a PAX record with a leading zero', 'invalid_header', entry({ type: 'x' }, '011 path=a\n'), main],
  ['a PAX record without =', 'invalid_header', entry({ type: 'x' }, '8 patha\n'), main],
  ['a PAX record without a key', 'invalid_header', entry({ type: 'x' }, '5 =a\n'), main],
  ['a PAX record without a length', 'invalid_header', entry({ type: 'x' }, ' path=a\n'), main],
  ['a PAX header with NULs after its records', 'invalid_header', entry({ type: 'x' }, '10 path=a\n\0\0'), main],
  ['a PAX record whose = belongs to the next', 'invalid_header', entry({ type: 'x' }, '5 ab\n10 path=a\n'), main],
  ['an empty PAX path', 'invalid_header', pax({ path: '' }), main],
];

describe('headers that are refused', () => {
  it.each(refused)('%s', async (_what, code, ...parts) => {
    const bytes = archive(...parts);
    // A few MiB byte by byte would take seconds and show nothing new.
    const chunkSizes = bytes.length > 200_000 ? [512, 1000, 65_536] : undefined;
    await expectRefused(bytes, code, chunkSizes && { chunkSizes });
  });

  it('T26 T27 T32 a header alone is enough: nothing waits for the body', async () => {
    for (const [part, code] of [
      [entry({ name: 'd', type: '5', size: 1024 }), 'invalid_header'],
      [symlink('l', 'main.py', { size: 1024 }), 'invalid_header'],
      [hardlink('h', 'main.py', { size: 1024 }), 'hard_link'],
      [header({ name: 'big', size: base256(2n ** 63n - 1n, 12) }), 'project_too_large'],
    ] as const) {
      await expectRefused(Buffer.concat([main, part]), code);
    }
  });

  it('T38 a thousand long headers within the cap cost their bytes and no more', async () => {
    const parts = Array.from({ length: 1000 }, (_, i) =>
      Buffer.concat([pax({ comment: 'x'.repeat(60_000) }), file(`f${i}`)]),
    );
    const verdict = await expectAccepted(archive(...parts), { chunkSizes: [65_536] });
    expect(verdict.entries).toHaveLength(1000);
    expect(verdict.tar.length).toBe(1000 * 1024 + 1024);
  });
});

describe('headers that are accepted', () => {
  const plain = archive(main);

  it.each<[what: string, part: Buffer, isExecutable?: boolean]>([
    ['T17 setuid, setgid, sticky', file('main.py', undefined, { mode: '0007644\0' })],
    ['T17 mode 000', file('main.py', undefined, { mode: '0000000\0' })],
    ['T17 mode 07777', file('main.py', undefined, { mode: '0007777\0' }), true],
    ['T17 mode 0755', file('main.py', undefined, { mode: '0000755\0' }), true],
    ['T17 a mode that is no number', file('main.py', undefined, { mode: 'rwxr-xr-' })],
    ['T17 an empty mode', file('main.py', undefined, { mode: Buffer.alloc(8) })],
    [
      'T17 the base-256 mode of Go, 0755',
      file('main.py', undefined, { mode: Buffer.from('80000000800001ed', 'hex') }),
      true,
    ],
    ['T17 the base-256 mode of Go, 0644', file('main.py', undefined, { mode: Buffer.from('80000000800001a4', 'hex') })],
    [
      'T18 extended attributes, ACLs, capabilities',
      Buffer.concat([
        pax({
          'SCHILY.xattr.security.capability': Buffer.from([1, 0, 0, 2, 0xff, 0]),
          'SCHILY.xattr.security.selinux': 'system_u:object_r:bin_t:s0\0',
          'SCHILY.xattr.user.nul': 'a\0b',
          'LIBARCHIVE.xattr.user.x': 'eA',
          'SCHILY.acl.access': 'user::rwx,user:root:rwx',
          'RHT.security.selinux': 'x',
          'NFS.acl': 'x',
        }),
        main,
      ]),
    ],
    ['T48 uid 2^31', file('main.py', undefined, { uid: base256(2n ** 31n, 8), gid: base256(2n ** 31n, 8) })],
    ['T48 uid -1', file('main.py', undefined, { uid: base256(-1n, 8) })],
    ['T48 mtime -1', file('main.py', undefined, { mtime: base256(-1n, 12) })],
    ['T48 mtime 2^63', file('main.py', undefined, { mtime: base256(2n ** 63n, 12) })],
    ['T48 a mtime that is no number', file('main.py', undefined, { mtime: 'yesterday' })],
    ['T48 a bad PAX mtime', Buffer.concat([pax({ mtime: '17b.1', atime: '' }), main])],
    ['T31 type 7, a contiguous file', file('main.py', undefined, { type: '7' })],
    ['type NUL, a file of old tars', file('main.py', undefined, { type: '\0' })],
    ['GNU magic', file('main.py', undefined, { magic: 'gnu' })],
    [
      'GNU times where the prefix would be',
      file('main.py', undefined, { magic: 'gnu', prefix: '00000000001\x0000000000001\0' }),
    ],
    ['a size without a terminator', file('main.py', undefined, { size: '000000000011' })],
    ['a size with leading spaces', file('main.py', undefined, { size: '         11 ' })],
    ['a base-256 size', file('main.py', undefined, { size: base256(9n, 12) })],
    ['a PAX size that agrees', Buffer.concat([pax({ size: '9' }), main])],
    ['T28 the global comment of git archive', Buffer.concat([pax({ comment: 'a'.repeat(40) }, 'g'), main])],
    ['a PAX character set', Buffer.concat([pax({ hdrcharset: 'BINARY' }), main])],
  ])('%s', async (_what, part, isExecutable = false) => {
    const verdict = await expectAccepted(archive(part));
    expect(verdict.entries).toEqual([{ path: 'main.py', kind: 'file', sizeBytes: 9, executable: isExecutable }]);
    // Nothing of the oddity is left: the canonical tar is that of a plain file.
    const reference = isExecutable ? archive(file('main.py', undefined, { mode: '0000755\0' })) : plain;
    expect(verdict.sha256).toBe((await expectAccepted(reference)).sha256);
  });

  it('T21 a PAX size over a nested tar: the nested tar is content (CVE-2025-62518)', async () => {
    const parts = [pax({ size: String(smuggled.length) }), entry({ name: 'a.tar', size: 0 }), smuggled, main];
    const verdict = await expectAccepted(archive(...parts));
    expect(listing(verdict)).toEqual(['a.tar', 'main.py']);
    expect(verdict.tar.subarray(512, 512 + smuggled.length)).toEqual(smuggled);
  });

  it('T21 the reverse, a PAX size of 0 over a size: the body is entries for every reader of PAX', async () => {
    const verdict = await judgeInChunks(archive(pax({ size: '0' }), entry({ name: 'a', size: 1024 }), main));
    expect(verdict).toMatchObject({ accepted: true });
  });

  it('T33 a signed checksum that happens to agree', async () => {
    await expectAccepted(archive(file('a', 'x', { checksum: 'signed' })));
  });

  it('T38 a long name of exactly the cap is judged as a name', async () => {
    await expectRefused(archive(gnuLong('L', 'x'.repeat(65_535)), main), 'name_too_long');
  });
});
