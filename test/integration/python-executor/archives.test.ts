/**
 * Archives as python-executor's clients make them, and those that are refused here.
 */
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { archive, END, file, gnuLong, hardlink, symlink } from '../../support/hostile-archives.ts';
import { Door } from '../../support/python-executor-requests.ts';
import {
  EMPTY_TAR,
  goTarOfFolder,
  plainTar,
  pythonTarOfDict,
  pythonTarOfFolder,
} from '../../support/python-executor-tars.ts';

let door: Door;
beforeAll(async () => {
  door = await Door.open();
});
afterAll(() => door[Symbol.asyncDispose]());

const LONG = `${'a-rather-long-folder-name/'.repeat(8)}${'n'.repeat(120)}.txt`;
/** Prints what it finds, sorted, with contents. */
const LIST = `
import os
for folder, _, names in sorted(os.walk(".")):
    for name in sorted(names):
        path = os.path.join(folder, name)
        if name != "main.py":
            print(path[2:], os.path.islink(path), open(path).read())
`;

describe('the Python client', () => {
  it('a dict of files', async () => {
    const tar = pythonTarOfDict({ 'main.py': LIST, 'sub/deep/x.txt': 'X', 'ä/😀.txt': 'Y', [LONG]: 'Z' });
    expect(tar.length % 10_240).toBe(0);
    const { body } = await door.exec(tar);
    expect(body).toMatchObject({
      exit_code: 0,
      stdout: [`${LONG} False Z`, 'sub/deep/x.txt False X', 'ä/😀.txt False Y', ''].join('\n'),
    });
  });

  it('a folder: no entries for directories, PAX times, links, owners and modes', async () => {
    const tar = pythonTarOfFolder(`
(root / "main.py").write_text(${JSON.stringify(LIST)})
(root / "sub").mkdir()
(root / "sub" / "data.txt").write_text("D")
os.chmod(root / "sub" / "data.txt", 0o600)
os.utime(root / "sub" / "data.txt", (1.25, 1234567890.123456))
(root / "link.txt").symlink_to("sub/data.txt")
(root / "ü.txt").write_text("U")
`);
    expect(tar.includes('mtime=')).toBe(true);
    const { body } = await door.exec(tar);
    expect(body).toMatchObject({
      exit_code: 0,
      stdout: 'link.txt True D\nü.txt False U\nsub/data.txt False D\n',
    });
  });
});

describe('the Go client', () => {
  it('a folder: directories with a mode in base 256', async () => {
    const tar = goTarOfFolder(['sub', 'empty'], { 'main.py': LIST, 'sub/x.txt': 'X' });
    expect(tar.includes(Buffer.from('80000000800001ed', 'hex'))).toBe(true);
    expect((await door.exec(tar)).body).toMatchObject({ exit_code: 0, stdout: 'sub/x.txt False X\n' });
  });

  it('names as it stores them', async () => {
    expect((await door.exec(plainTar({ './main.py': 'print(1)' }), { entrypoint: './main.py' })).body['stdout']).toBe(
      '1\n',
    );
  });

  it('a long name in a PAX record', async () => {
    const tar = goTarOfFolder([], { 'main.py': LIST, [LONG]: 'Z' });
    expect((await door.exec(tar)).body['stdout']).toBe(`${LONG} False Z\n`);
  });
});

it('a long name in a GNU header', async () => {
  const tar = archive(file('main.py', LIST), gnuLong('L', LONG), file(LONG.slice(0, 100), 'Z', { magic: 'gnu' }));
  expect((await door.exec(tar)).body['stdout']).toBe(`${LONG} False Z\n`);
});

it('a tar that is gzipped', async () => {
  expect((await door.exec(gzipSync(plainTar({ 'main.py': 'print(1)' })))).body['stdout']).toBe('1\n');
});

const main = file('main.py', 'print(1)');

describe.each<[string, number, [string, Uint8Array, RegExp][]]>([
  [
    'difference: Archives that leave the project or are damaged',
    400,
    [
      ['a path above', archive(main, file('../x.py')), /\.\.\/x\.py/],
      ['an absolute path', archive(main, file('/etc/x')), /\/etc\/x/],
      ['a link out of it', archive(main, symlink('l', '/etc')), /"?l"?/],
      ['a link above it', archive(main, symlink('l', '../..')), /"?l"?/],
      ['a device', archive(main, file('null', '', { type: '3' })), /null/],
      ['no archive', Buffer.from('this is no archive'.repeat(100)), /./],
      ['a header that is damaged', archive(file('main.py', 'x', { checksum: 'wrong' })), /./],
      ['an archive cut off', archive(file('main.py', 'x'.repeat(5000))).subarray(0, 2048), /./],
    ],
  ],
  [
    'difference: Hard links, a path twice, data behind the end',
    400,
    [
      ['a hard link', archive(main, hardlink('b.py', 'main.py')), /b\.py/],
      ['a path twice', archive(main, file('main.py', 'print(2)')), /main\.py/],
      ['data behind the end', Buffer.concat([archive(main), main, END]), /./],
    ],
  ],
  [
    'difference: An empty archive',
    400,
    [
      ['no entry', EMPTY_TAR, /./],
      ['no byte', Buffer.alloc(0), /./],
    ],
  ],
  [
    'difference: Compression',
    415,
    [
      ['bzip2', Buffer.concat([Buffer.from('BZh91AY&SY'), Buffer.alloc(600)]), /./],
      ['xz', Buffer.concat([Buffer.from('fd377a585a00', 'hex'), Buffer.alloc(600)]), /./],
    ],
  ],
])('%s', (_row, status, cases) => {
  it.each(cases)('%s', async (_name, tar, error) => {
    const answer = await door.exec(tar);
    expect(answer.status).toBe(status);
    expect(answer.body['error']).toMatch(error);
    expect(Object.keys(answer.body)).toEqual(['error']);
  });
});
