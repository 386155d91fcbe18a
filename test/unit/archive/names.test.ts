/** What an entry may be called: T01-T03, T19, T20, T40, T41, T43-T47, T55-T57. */
import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../../src/domain/errors.ts';
import { archive, directory, file, gnuLong, header, pax, symlink } from '../../support/hostile-archives.ts';
import { expectAccepted, expectRefused, listing } from '../../support/archive-verdict.ts';

const koi8 = Buffer.from([0xd0, 0xd2, 0xc9, 0xd7, 0xc5, 0xd4]);
const cp866 = Buffer.from([0x8f, 0xe0, 0xa8, 0xa2, 0xa5, 0xe2]);
const eucJp = Buffer.from([0xa4, 0xb3, 0xa4, 0xf3]);
const deep = 'd/'.repeat(1000);

const refused: readonly [what: string, code: ErrorCode, ...parts: Buffer[]][] = [
  ['T01 ../moo', 'path_escape', file('../moo')],
  ['T01 a directory ../moo/', 'path_escape', directory('../moo/')],
  ['T02 tmp/../../moo', 'path_escape', file('tmp/../../moo')],
  ['T02 a/./b/../../../x', 'path_escape', file('a/./b/../../../x')],
  ['T02 a/../b, although it stays inside', 'path_escape', file('a/../b')],
  ['T02 a/..', 'path_escape', directory('a/..')],
  ['T03 /tmp/moo', 'path_escape', file('/tmp/moo')],
  ['T03 //tmp/moo', 'path_escape', file('//tmp/moo')],
  ['T03 .//tmp/moo', 'path_escape', file('.//tmp/moo')],
  ['T03 an absolute directory', 'path_escape', directory('/tmp/')],
  ['T19 PAX path that escapes over a clean name', 'path_escape', pax({ path: '../../evil' }), file('ok.py')],
  ['T19 absolute PAX path over a clean name', 'path_escape', pax({ path: '/etc/evil' }), file('ok.py')],
  ['T19 clean PAX path over a name that escapes', 'path_escape', pax({ path: 'ok.py' }), file('../../evil')],
  ['T19 clean PAX path over an absolute name', 'path_escape', pax({ path: 'ok.py' }), file('/etc/evil')],
  ['T19 clean long name over a name that escapes', 'path_escape', gnuLong('L', 'ok.py'), file('../../evil')],
  ['T19 long name that escapes', 'path_escape', gnuLong('L', '../evil'), file('ok.py')],
  ['T19 ustar prefix that escapes', 'path_escape', file('moo', '', { prefix: '..' })],
  ['T19 absolute ustar prefix', 'path_escape', file('moo', '', { prefix: '/tmp' })],
  ['T20 PAX path with NUL', 'invalid_name', pax({ path: 'ok.py\0../../evil' }), file('ok.py')],
  ['T20 ustar name with bytes after NUL', 'invalid_name', file('ok.py\0evil')],
  ['T20 ustar prefix with bytes after NUL', 'invalid_name', file('ok.py', '', { prefix: 'a\0b' })],
  ['T20 link target with bytes after NUL', 'invalid_name', file('a'), symlink('l', 'a\0b')],
  ['T20 PAX link target with NUL', 'invalid_name', file('a'), pax({ linkpath: 'a\0b' }), symlink('l', 'a')],
  ['T20 GNU long name with NUL inside', 'invalid_name', gnuLong('L', 'ok.py\0../../evil'), file('ok.py')],
  ['T20 GNU long link with NUL inside', 'invalid_name', file('a'), gnuLong('K', 'a\0b'), symlink('l', 'a')],
  ['T40 1,000 levels', 'too_deep', pax({ path: `${deep}x.py` }), file('x.py')],
  ['T40 65 levels', 'too_deep', file(`${'d/'.repeat(30)}x`, '', { prefix: 'd/'.repeat(33) + 'd' })],
  ['T40 a path of 450 KB', 'header_too_large', pax({ path: `${'d/'.repeat(225_000)}x` }), file('x.py')],
  ['T41 a component of 256 bytes', 'name_too_long', pax({ path: 'n'.repeat(256) }), file('x.py')],
  ['T41 a path of 4,097 bytes', 'name_too_long', pax({ path: `${'n'.repeat(240)}/`.repeat(17) }), directory('x')],
  ['T41 a component of 255 characters, 510 bytes', 'name_too_long', pax({ path: 'é'.repeat(255) }), file('x.py')],
  ['T41 a component of 128 characters, 256 bytes', 'name_too_long', pax({ path: 'é'.repeat(128) }), file('x.py')],
  ['T44 a KOI8-R name', 'name_not_utf8', file(koi8)],
  ['T44 a CP866 name', 'name_not_utf8', file(cp866)],
  ['T44 an EUC-JP name', 'name_not_utf8', file(eucJp)],
  ['T44 \\xff\\xfe.py', 'name_not_utf8', file(Buffer.from('\xff\xfe.py', 'latin1'))],
  ['T44 a PAX path that is not UTF-8', 'name_not_utf8', pax({ path: koi8 }), file('x.py')],
  ['T44 a surrogate in UTF-8', 'name_not_utf8', file(Buffer.from([0x61, 0xed, 0xa0, 0x80]))],
  ['T44 an overlong slash', 'name_not_utf8', file(Buffer.from([0x2e, 0x2e, 0xc0, 0xaf, 0x61]))],
  ['T44 U+FFFD itself', 'name_not_utf8', file('a\ufffd.py')],
  ['T44 a link target that is not UTF-8', 'name_not_utf8', file('a'), symlink('l', koi8)],
  ['T45 a newline', 'invalid_name', file('a\nb.py')],
  ['T45 an escape sequence', 'invalid_name', file('\x1b[2Jx.py')],
  ['T45 DEL', 'invalid_name', file('a\x7f')],
  ['T45 a C1 control character', 'invalid_name', file('a\u0085b')],
  ['T45 a control character in a link target', 'invalid_name', file('a'), symlink('l', 'a\r')],
  ['T46 ..\\..\\x', 'invalid_name', file('..\\..\\x')],
  ['T46 C:\\x', 'invalid_name', file('C:\\x')],
  ['T46 a backslash in a link target', 'invalid_name', file('a'), symlink('l', '..\\a')],
  ['T47 an empty name', 'invalid_name', file('')],
  ['T47 an empty directory name', 'invalid_name', directory('')],
  ['T47 a file called .', 'invalid_name', file('.')],
  ['T47 a file called ./', 'invalid_name', file('./')],
  ['T47 ..', 'path_escape', directory('..')],
  ['T47 ./..', 'path_escape', directory('./..')],
  ['T47 /', 'path_escape', directory('/')],
  ['T47 a//b', 'invalid_name', file('a//b')],
  ['T47 a/./b', 'invalid_name', file('a/./b')],
  ['T47 ././a', 'invalid_name', file('././a')],
  ['T47 a/.', 'invalid_name', directory('a/.')],
  ['T47 a// as a directory', 'invalid_name', directory('a//')],
  ['T47 a file whose name ends in a slash', 'invalid_name', file('a/')],
  ['T47 a link whose name is the root', 'invalid_name', file('a'), symlink('./', 'a')],
];

const accepted: readonly [what: string, names: readonly string[], ...parts: Buffer[]][] = [
  [
    'T19 a clean long name over a cut one that seems to escape',
    ['a'.repeat(97) + '/..b'],
    gnuLong('L', 'a'.repeat(97) + '/..b'),
    file('a'.repeat(97) + '/..'),
  ],
  ['T40 64 levels', [], file(`${'d/'.repeat(30)}x`, '', { prefix: 'd/'.repeat(32) + 'd' })],
  ['T41 a component of 255 bytes', ['n'.repeat(255)], pax({ path: 'n'.repeat(255) }), file('x.py')],
  ['T41 a component of 127 characters, 254 bytes', ['é'.repeat(127)], pax({ path: 'é'.repeat(127) }), file('x.py')],
  ['T43 an NFC and NFD pair', ['caf\u00e9.py', 'cafe\u0301.py'], file('caf\u00e9.py'), file('cafe\u0301.py')],
  ['T43 ß and SS', ['ß', 'SS', 'ss'], file('ß'), file('SS'), file('ss')],
  ['T43 A.py and a.py', ['A.py', 'a.py'], file('A.py'), file('a.py')],
  ['T45 U+202E', ['a\u202egnp.py'], file('a\u202egnp.py')],
  ['T45 a leading dash and trailing space', ['-rf', 'x '], file('-rf'), file('x ')],
  ['T46 C:.. and a:b and LPT1', ['C:..', 'a:b', 'LPT1'], file('C:..'), file('a:b'), file('LPT1')],
  ['T47 one leading ./', ['a/', 'a/b.py'], directory('./a/'), file('./a/b.py')],
  ['T47 the root itself as ./', ['main.py'], directory('./'), file('./main.py')],
  ['T47 the root itself as .', ['main.py'], directory('.'), file('main.py')],
  [
    'T55 names that Python treats specially',
    ['sitecustomize.py', 'usercustomize.py', 'x.pth', 'python', 'pip.conf', 'json.py', '__main__.py'],
    ...['sitecustomize.py', 'usercustomize.py', 'x.pth', 'python', 'pip.conf', 'json.py', '__main__.py'].map((name) =>
      file(name),
    ),
  ],
  [
    'T56 names that look like options or shell',
    ['-c', '--help', 'a;$(id).py'],
    file('-c'),
    file('--help'),
    file('a;$(id).py'),
  ],
  [
    'names that JavaScript objects inherit',
    ['__proto__', 'constructor/', 'constructor/x'],
    file('__proto__'),
    file('constructor/x'),
  ],
  [
    'names that begin like another format',
    ['PK\u0003\u0004'.slice(0, 2), 'BZh9.py', 'LZIP'],
    file('PK'),
    file('BZh9.py'),
    file('LZIP'),
  ],
];

describe('names that are refused', () => {
  it.each(refused)('%s', async (_what, code, ...parts) => {
    await expectRefused(archive(...parts), code);
  });
});

describe('names that are accepted as they stand', () => {
  it.each(accepted)('%s', async (_what, names, ...parts) => {
    const verdict = await expectAccepted(archive(...parts));
    if (names.length > 0) expect(listing(verdict).filter((path) => !/^a{97}\/$/.test(path))).toEqual(names);
  });

  it('T41 a path of exactly the limit, and not one byte more', async () => {
    const path = `${'n'.repeat(199)}/`.repeat(20).slice(0, -1);
    await expectAccepted(archive(pax({ path }), file('x')), { limits: { nameBytes: path.length } });
    await expectRefused(archive(pax({ path }), file('x')), 'name_too_long', { limits: { nameBytes: path.length - 1 } });
  });
});

describe('T57 reserved names', () => {
  const reservedNames = ['.deps', 'requirements.lock', 'run/result.json'];

  it.each([
    ['.deps', file('.deps')],
    ['.deps as a directory', directory('.deps/')],
    ['.deps/x.py', file('.deps/x.py')],
    ['./.deps/x.py', file('./.deps/x.py')],
    ['a link called requirements.lock', symlink('requirements.lock', 'main.py')],
    ['run/result.json', file('run/result.json')],
    ['a file where a reserved name needs a directory', file('run')],
    ['a link where a reserved name needs a directory', symlink('run', 'elsewhere')],
  ])('%s is refused', async (_what, part) => {
    await expectRefused(archive(file('main.py'), part), 'reserved_name', { reservedNames });
    await expectAccepted(archive(file('main.py'), part));
  });

  it('names that only resemble them pass', async () => {
    const parts = [file('.deps2'), file('a/.deps'), file('run/other'), directory('run')];
    await expectAccepted(archive(...parts), { reservedNames });
  });
});

describe('the sentence of a refusal', () => {
  it('quotes the name, escapes what could forge a line, and shortens it', async () => {
    const escape = await expectRefused(archive(file('../\u202ex')), 'path_escape');
    expect(escape.message).toBe(
      'Entry "../\\u202ex" has an absolute path.'.replace('an absolute path', '".." in its path'),
    );
    expect(escape.members).toEqual({ entry: '../\u202ex' });

    const control = await expectRefused(archive(file('a\n\x1b[31m"b')), 'invalid_name');
    expect(control.message).toBe('Entry "a\\n\\u001b[31m\\"b" has a control character in its name.');

    const long = await expectRefused(archive(pax({ path: `../${'😀'.repeat(900)}` }), file('x')), 'path_escape');
    expect(long.message.length).toBeLessThan(200);
    expect(long.message).toMatch(/😀…" has/u);
    expect(long.message.isWellFormed()).toBe(true);
  });

  it('says the name a long header gave, not the one it replaced', async () => {
    const refusal = await expectRefused(archive(pax({ path: '../evil' }), header({ name: 'ok.py' })), 'path_escape');
    expect(refusal.members).toEqual({ entry: '../evil' });
  });
});
