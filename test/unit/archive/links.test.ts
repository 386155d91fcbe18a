/** Links and paths taken twice: T04-T15, T42, and what clients really send. */
import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../../src/domain/errors.ts';
import { archive, directory, file, gnuLong, hardlink, pax, symlink } from '../../support/hostile-archives.ts';
import { expectAccepted, expectRefused, listing } from '../../support/archive-verdict.ts';

const main = file('main.py');

/** CVE-2025-4517: a link through so many long directories that the path exceeds PATH_MAX. */
function pathMaxChain(): Buffer[] {
  const long = 'd'.repeat(238);
  const parts: Buffer[] = [];
  let path = '';
  for (const step of 'abcdefghijklmnop') {
    parts.push(pax({ path: `${path}${long}` }), directory('d'));
    parts.push(pax({ path: `${path}${step}`, linkpath: long }), symlink(step, 'd'));
    path += `${step}/`;
  }
  const climb = 'l'.repeat(254);
  parts.push(pax({ path: `${path}${climb}`, linkpath: '../'.repeat(16) }), symlink('l', 'x'));
  parts.push(pax({ path: 'escape', linkpath: `${path}${climb}/../../etc` }), symlink('escape', 'x'));
  parts.push(hardlink('flag', 'escape/passwd'), file('flag', 'overwritten'));
  return parts;
}

/** libarchive secure744: checks skipped once a name is long. */
function nestedLinks(): Buffer[] {
  const parts: Buffer[] = [symlink('s', '/tmp')];
  for (let path = 's/'; path.length < 8192; path += 's/') parts.push(pax({ path: `${path}s` }), symlink('s', '.'));
  return parts;
}

/** l00 -> end, l01 -> l00, ... so that the last link needs `count` of them. */
function chain(count: number): Buffer[] {
  const name = (i: number) => `l${String(i).padStart(5, '0')}`;
  return Array.from({ length: count }, (_, i) => symlink(name(i), i === 0 ? 'main.py' : name(i - 1)));
}

const refused: readonly [what: string, code: ErrorCode, ...parts: Buffer[]][] = [
  ['T04 moo -> /tmp/moo, then moo', 'link_escape', symlink('moo', '/tmp/moo'), file('moo')],
  ['T05 tmp -> /tmp, then tmp/moo', 'link_escape', symlink('tmp', '/tmp'), file('tmp/moo')],
  [
    'T06 cur -> ., par -> cur/.., par/moo',
    'write_through_link',
    symlink('cur', '.'),
    symlink('par', 'cur/..'),
    file('par/moo'),
  ],
  ['T06 the same without the file', 'link_escape', main, symlink('cur', '.'), symlink('par', 'cur/..')],
  [
    'T07 cur -> ., cur/par -> .., par/moo',
    'write_through_link',
    symlink('cur', '.'),
    symlink('cur/par', '..'),
    file('par/moo'),
  ],
  [
    'T08 a link whose name ends in a slash',
    'invalid_name',
    symlink('linktoroot/', '/'),
    file('linktoroot/root/.bashrc'),
  ],
  ['T09 a hard link to /etc/passwd', 'hard_link', main, hardlink('passwd', '/etc/passwd')],
  ['T09 a hard link to ../secret.txt', 'hard_link', main, hardlink('secret', '../secret.txt')],
  ['T09 a hard link inside the project', 'hard_link', main, hardlink('copy.py', 'main.py')],
  [
    'T10 a link that climbs through another (CVE-2026-26960)',
    'hard_link',
    symlink('a/b/c/up', '../..'),
    symlink('a/b/escape', 'c/up/../..'),
    hardlink('exfil', 'a/b/escape/x'),
  ],
  [
    'T10 the same without the hard link',
    'link_escape',
    main,
    symlink('a/b/c/up', '../..'),
    symlink('a/b/escape', 'c/up/../..'),
  ],
  [
    'T10 the climbing link stored first',
    'link_escape',
    main,
    symlink('a/b/escape', 'c/up/../..'),
    symlink('a/b/c/up', '../..'),
  ],
  ['T11 a chain beyond PATH_MAX (CVE-2025-4517)', 'write_through_link', ...pathMaxChain()],
  ['T12 a link with an empty name (CVE-2026-7774)', 'invalid_name', symlink('', '/tmp'), file('x')],
  ['T12 a link called ./', 'invalid_name', symlink('./', 'a'), file('a/x')],
  ['T13 a hard link to itself', 'hard_link', hardlink('a', 'a')],
  ['T13 a hard link ahead of its target', 'hard_link', hardlink('b', 'main.py'), main],
  [
    'T14 a link, then a directory of its name',
    'duplicate_entry',
    symlink('d', 'e'),
    directory('d', { mode: '0000777\0' }),
  ],
  [
    'T14 a link out, then a directory of its name',
    'link_escape',
    symlink('d', '/etc'),
    directory('d', { mode: '0000777\0' }),
  ],
  ['T15 8 KB of nested links', 'link_escape', ...nestedLinks()],
  [
    'T15 8 KB of nested links that begin inside',
    'write_through_link',
    main,
    symlink('s', '.'),
    ...nestedLinks().slice(1),
  ],
  ['a link to ..', 'link_escape', main, symlink('l', '..')],
  ['a link to a/../..', 'link_escape', main, symlink('l', 'a/../..')],
  ['a link out and back in', 'link_escape', main, symlink('l', '../work/main.py')],
  ['a link that climbs one level too many', 'link_escape', main, symlink('a/b/l', '../../../x')],
  [
    'a PAX link target that escapes over a clean one',
    'link_escape',
    main,
    pax({ linkpath: '../x' }),
    symlink('l', 'main.py'),
  ],
  [
    'a GNU link target that escapes over a clean one',
    'link_escape',
    main,
    gnuLong('K', '../x'),
    symlink('l', 'main.py'),
  ],
  ['a link without a target', 'invalid_name', main, symlink('l', '')],
  ['a link to itself', 'link_loop', main, symlink('l', 'l')],
  ['a link below itself', 'link_loop', main, symlink('l', 'l/x')],
  ['two links in a circle', 'link_loop', main, symlink('a', 'b'), symlink('b', 'a')],
  ['a chain of 41 links', 'link_loop', main, ...chain(41)],
  ['a chain of 41 links stored backwards', 'link_loop', main, ...chain(41).reverse()],
  ['a link that follows 41 links side by side', 'link_loop', main, symlink('s', '.'), symlink('l', 's/'.repeat(40))],
  ['a directory with content, then a link in its place', 'duplicate_entry', file('d/x'), symlink('d', 'e')],
  ['T42 the same path twice', 'duplicate_entry', file('a'), file('a')],
  ['T42 a and ./a', 'duplicate_entry', file('a'), file('./a')],
  ['T42 a link twice', 'duplicate_entry', main, symlink('l', 'main.py'), symlink('l', 'main.py')],
  ['T42 a link, then a file of its name', 'duplicate_entry', symlink('l', 'x'), file('l')],
  ['T42 a file, then a link of its name', 'duplicate_entry', file('l'), symlink('l', 'x')],
  ['T42 a directory twice', 'duplicate_entry', main, directory('d'), directory('d/')],
  ['T42 the root twice', 'duplicate_entry', directory('./'), directory('.'), main],
  ['T42 a file, then something below it', 'type_conflict', file('a'), file('a/b')],
  ['T42 a file, then a directory', 'type_conflict', file('a'), directory('a')],
  ['T42 a directory, then a file', 'type_conflict', directory('a'), file('a')],
  ['T42 an implied directory, then a file', 'type_conflict', file('a/b'), file('a')],
];

describe('links and paths that are refused', () => {
  it.each(refused)('%s', async (_what, code, ...parts) => {
    await expectRefused(archive(...parts), code);
  });
});

describe('links that are accepted', () => {
  it.each<[what: string, target: string, ...rest: Buffer[]]>([
    ['to a file', 'main.py'],
    ['to a file stored later', 'later.py', file('later.py')],
    ['to nothing', 'nowhere/at/all'],
    ['through nothing and back', 'nowhere/../main.py'],
    ['to the root', '.'],
    ['to a directory, with a slash', 'pkg/', file('pkg/x.py')],
    ['through a link that climbs, when that stays inside', 'pkg/up/main.py', symlink('pkg/up', '..')],
    ['with . and empty components', './pkg//x.py', file('pkg/x.py')],
    ['in a chain of 40', 'l00038', ...chain(39)],
  ])('%s', async (_what, target, ...rest) => {
    const verdict = await expectAccepted(archive(main, symlink('link', target), ...rest));
    expect(listing(verdict)).toContain(`link -> ${target}`);
  });

  it('a link through a missing name and one that is a link elsewhere', async () => {
    await expectAccepted(archive(main, symlink('pkg/up', '..'), symlink('pkg/l', 'missing/up/../../..')));
  });

  it('a link of a subdirectory that climbs to the root and no further', async () => {
    await expectAccepted(archive(main, symlink('a/b/l', '../../main.py'), symlink('a/b/m', '../../.')));
  });

  it('a long target by GNU and by PAX header', async () => {
    const target = `${'t'.repeat(120)}/x`;
    const gnu = await expectAccepted(archive(main, gnuLong('K', target), symlink('l', target.slice(0, 100))));
    const posix = await expectAccepted(archive(main, pax({ linkpath: target }), symlink('l', target.slice(0, 100))));
    expect(listing(gnu)).toContain(`l -> ${target}`);
    expect(posix.sha256).toBe(gnu.sha256);
  });

  it('a long name and a long target together', async () => {
    const [name, target] = ['n'.repeat(120), 't'.repeat(120)];
    for (const headers of [
      [gnuLong('L', name), gnuLong('K', target)],
      [gnuLong('K', target), gnuLong('L', name)],
      [pax({ path: name, linkpath: target })],
    ]) {
      const verdict = await expectAccepted(archive(main, ...headers, symlink('short', 'short')));
      expect(listing(verdict)).toContain(`${name} -> ${target}`);
    }
  });
});

describe('the work of following links', () => {
  it('is bounded however many there are', async () => {
    const target = 'x/'.repeat(45);
    const links = Array.from({ length: 23_000 }, (_, i) => symlink(`l${i}`, target));
    await expectRefused(archive(main, ...links), 'link_loop', { chunkSizes: [65_536] });
  });

  it('needs no stack for a chain of 20,000', async () => {
    await expectRefused(archive(main, ...chain(20_000).reverse()), 'link_loop', { chunkSizes: [65_536] });
  });

  it('does not grow with a tower of links that double', async () => {
    const tower = Array.from({ length: 30 }, (_, i) => symlink(`l${i + 1}`, `l${i}/../l${i}`));
    await expectRefused(archive(main, symlink('l0', 'd'), directory('d'), ...tower), 'link_loop');
  });
});

describe('directories', () => {
  it('may be stated after what they hold, once', async () => {
    const verdict = await expectAccepted(archive(file('a/b/c.py'), directory('a/'), directory('a/b/')));
    expect(listing(verdict)).toEqual(['a/', 'a/b/', 'a/b/c.py']);
    await expectRefused(archive(file('a/b'), directory('a'), directory('a')), 'duplicate_entry');
  });

  it('that are left out are added before what they hold', async () => {
    const verdict = await expectAccepted(archive(file('a/b/c.py'), file('a/d.py')));
    expect(listing(verdict)).toEqual(['a/', 'a/b/', 'a/b/c.py', 'a/d.py']);
  });
});
