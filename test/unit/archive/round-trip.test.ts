/**
 * The canonical tar, read by others, holds exactly what the project claims; and
 * what clients send with their own tars is accepted.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildProject } from '../../../src/archive/build-project.ts';
import { DEFAULT_ARCHIVE_LIMITS } from '../../../src/archive/read-project.ts';
import { archive, directory, entry, file, gnuLong, pax, symlink } from '../../support/hostile-archives.ts';
import {
  byPath,
  type Found,
  HAS_PYTHON,
  hasCommand,
  readWithPython,
  readWithTarStream,
  sha256,
  unpackWithTar,
} from '../../support/archive-extraction.ts';
import { contentOf, expectAccepted, judge, chunked, listing } from '../../support/archive-verdict.ts';

interface Item {
  path: string;
  kind: 'file' | 'directory' | 'symlink';
  content: Uint8Array;
  executable: boolean;
  target: string;
}

const component = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('a', 'b', 'c.py', 'é', 'e\u0301', '日本', ' x ', '-', '__proto__', '😀') },
  { weight: 1, arbitrary: fc.integer({ min: 90, max: 255 }).map((length) => 'n'.repeat(length)) },
  { weight: 1, arbitrary: fc.integer({ min: 30, max: 85 }).map((length) => '語'.repeat(length)) },
);
const path = fc.array(component, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('/'));
const item: fc.Arbitrary<Item> = fc.record({
  path,
  kind: fc.constantFrom('file', 'file', 'file', 'directory', 'symlink'),
  content: fc.uint8Array({ maxLength: 1600 }),
  executable: fc.boolean(),
  target: path,
});

/** The items that can stand side by side: no path twice, nothing below a file or link. */
function consistent(items: Item[]): Item[] {
  const kinds = new Map<string, string>();
  return items.filter(({ path, kind }) => {
    const parents = path
      .split('/')
      .map((_, i, all) => all.slice(0, i).join('/'))
      .slice(1);
    if (kinds.has(path) || parents.some((parent) => (kinds.get(parent) ?? 'directory') !== 'directory')) return false;
    for (const parent of parents) kinds.set(parent, 'directory');
    kinds.set(path, kind);
    return true;
  });
}

/** What an unpacker should find, implied directories included. */
function expectedOf(items: Item[]): Found[] {
  const found = new Map<string, Found>();
  for (const { path, kind, content, executable, target } of items) {
    const parts = path.split('/');
    for (let i = 1; i < parts.length; i++) {
      const parent = parts.slice(0, i).join('/');
      found.set(parent, { path: parent, kind: 'directory', mode: '0755' });
    }
    if (kind === 'directory') found.set(path, { path, kind, mode: '0755' });
    else if (kind === 'symlink') found.set(path, { path, kind, target });
    else found.set(path, { path, kind, mode: executable ? '0755' : '0644', content: sha256(content) });
  }
  return [...found.values()].sort(byPath);
}

/** Encodes an item the way one of the usual packers would. */
function encode(item: Item, style: 'gnu' | 'posix'): Buffer {
  const { path, kind, content, executable, target } = item;
  const type = { file: '0', directory: '5', symlink: '2' }[kind];
  const mode = executable ? '0000755\0' : '0000600\0';
  const headers: Buffer[] = [];
  const linkTarget = kind === 'symlink' ? target : '';
  if (style === 'gnu') {
    if (Buffer.byteLength(linkTarget) > 100) headers.push(gnuLong('K', linkTarget));
    if (Buffer.byteLength(path) > 100) headers.push(gnuLong('L', path));
  } else {
    headers.push(pax({ path, ...(linkTarget && { linkpath: linkTarget }), mtime: '1700000000.25' }));
  }
  const fields = { name: path, type, mode, linkName: linkTarget, magic: style, uid: '0001750\0' } as const;
  return Buffer.concat([...headers, entry(fields, kind === 'file' ? content : '')]);
}

describe('an accepted archive', () => {
  it('holds for others exactly what the project claims', async () => {
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(item, { minLength: 1, maxLength: 14 }),
        fc.constantFrom('gnu', 'posix'),
        async (all, style) => {
          const items = consistent([
            { path: 'main.py', kind: 'file', content: new Uint8Array(3), executable: false, target: '' },
            ...all,
          ]);
          const verdict = await judge(chunked(archive(...items.map((each) => encode(each, style))), 4096));
          if (!verdict.accepted) {
            expect(verdict.code).toBe('link_loop');
            return;
          }
          accepted++;
          const expected = expectedOf(items);
          const claimed = verdict.entries
            .map(({ path, kind, linkTarget }) => ({ path, kind, linkTarget }))
            .sort(byPath);
          expect(claimed).toEqual(expected.map(({ path, kind, target }) => ({ path, kind, linkTarget: target })));
          if (HAS_PYTHON) expect(readWithPython(verdict.tar)).toEqual(expected);
          expect(unpackWithTar(verdict.tar)).toEqual(expected);
          expect(await readWithTarStream(verdict.tar)).toEqual(expected);

          // Canonical: reading it again changes nothing.
          const again = await judge(chunked(verdict.tar, 1000));
          expect(again).toEqual(verdict);
        },
      ),
      { numRuns: 25 },
    );
    expect(accepted).toBeGreaterThan(10);
  }, 60_000);

  it('has its parents before their children', async () => {
    const verdict = await expectAccepted(
      archive(file('a/b/c'), file('d/e'), file('a/f'), directory('a/b'), symlink('d/g', 'e')),
    );
    const seen = new Set<string>();
    for (const { path } of verdict.entries) {
      const parent = path.split('/').slice(0, -1).join('/');
      expect(parent === '' || seen.has(parent), path).toBe(true);
      seen.add(path);
    }
  });

  it('is plain ustar unless a name does not fit', async () => {
    const long = (bytes: number) =>
      pax({ path: `${'d'.repeat(bytes)}/${'e'.repeat(90)}/${'n'.repeat(100)}`, mtime: '1.5' });
    const plain = await expectAccepted(archive(long(50), file('x')));
    const extended = await expectAccepted(archive(long(70), file('x')));
    expect([plain, extended].map(({ tar }) => tar.includes('PaxHeader'))).toEqual([false, true]);
  });
});

describe('archives of real packers', () => {
  let root: string;

  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'archive-real-'));
    mkdirSync(join(root, 'pkg/sub'), { recursive: true });
    writeFileSync(join(root, 'main.py'), 'print(1)\n');
    writeFileSync(join(root, 'pkg/sub/é.py'), 'x = 1\n');
    writeFileSync(join(root, `pkg/${'long'.repeat(40)}.py`), 'y = 1\n');
    writeFileSync(join(root, 'run.sh'), 'exit 0\n');
    chmodSync(join(root, 'run.sh'), 0o750);
    symlinkSync('pkg/sub/é.py', join(root, 'link.py'));
    symlinkSync('../main.py', join(root, 'pkg/up.py'));
  });

  afterAll(() => rmSync(root, { recursive: true }));

  const expected = [
    'link.py -> pkg/sub/é.py',
    'main.py',
    'pkg/',
    `pkg/${'long'.repeat(40)}.py`,
    'pkg/sub/',
    'pkg/sub/é.py',
    'pkg/up.py -> ../main.py',
    'run.sh',
  ];

  it.each(['gnu', 'oldgnu', 'pax', 'posix'])('tar --format=%s, of . and padded', async (format) => {
    const bytes = execFileSync('tar', ['-c', `--format=${format}`, '-C', root, '.']);
    expect(bytes.length % 10_240).toBe(0);
    const verdict = await expectAccepted(bytes);
    expect(listing(verdict).sort()).toEqual(expected);
    expect(
      verdict.entries.filter(({ kind, executable }) => kind === 'file' && executable).map(({ path }) => path),
    ).toEqual(['run.sh']);
  });

  it('tar -z, and tar with records of 1 MiB', async () => {
    await expectAccepted(execFileSync('tar', ['-c', '-z', '-C', root, '.']));
    await expectAccepted(execFileSync('tar', ['-c', '-b', '2048', '-C', root, '.'], { maxBuffer: 1 << 24 }), {
      chunkSizes: [65_536],
    });
  });

  it.skipIf(!HAS_PYTHON).each(['USTAR_FORMAT', 'GNU_FORMAT', 'PAX_FORMAT'])(
    'tarfile with %s, from files without directory entries',
    async (format) => {
      const script = `
import os, sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.${format}) as tar:
    for folder, _, names in os.walk('.'):
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), '.')
            if not (tarfile.${format} == tarfile.USTAR_FORMAT and 'long' in path):
                tar.add(path)
`;
      const bytes = execFileSync('python3', ['-c', script], { cwd: root });
      const verdict = await expectAccepted(bytes);
      const without = format === 'USTAR_FORMAT' ? 'long' : '?';
      expect(listing(verdict).sort()).toEqual(expected.filter((path) => !path.includes(without)));
    },
  );

  it('the Go client, with the directory bit of its modes in base 256', async () => {
    const mode = Buffer.from('80000000800001ed', 'hex');
    const parts = [directory('pkg/', { mode, magic: 'gnu' }), file('./main.py', '1', { mode: '0000644\0' })];
    expect(listing(await expectAccepted(archive(...parts)))).toEqual(['pkg/', 'main.py']);
  });

  it.skipIf(!hasCommand('git'))('git archive', async () => {
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], { cwd: root });
    git('init', '-q');
    git('add', '-A');
    git('commit', '-q', '-m', 'x');
    const bytes = git('archive', '--format=tar', 'HEAD');
    rmSync(join(root, '.git'), { recursive: true });
    expect(bytes.includes('comment=')).toBe(true);
    expect(listing(await expectAccepted(bytes)).sort()).toEqual(expected);
  });
});

describe('a project built from contents', () => {
  const options = { limits: DEFAULT_ARCHIVE_LIMITS, spoolDirectory: tmpdir() };
  const content = Buffer.from('print(1)\n');

  it('is the project its tar would be', async () => {
    const project = await buildProject(
      [
        { path: './main.py', content },
        { path: 'pkg/run', content, executable: true },
        { path: 'pkg/empty', content: Buffer.alloc(0) },
        { path: 'large', content: Buffer.alloc(2_000_000, 'x') },
      ],
      options,
    );
    const tar = await expectAccepted(
      archive(
        file('main.py'),
        file('pkg/run', content, { mode: '0000755\0' }),
        file('pkg/empty', ''),
        file('large', Buffer.alloc(2_000_000, 'x')),
      ),
      { chunkSizes: [65_536] },
    );
    expect(project.entries).toEqual(tar.entries);
    expect(project.sha256).toBe(tar.sha256);
    expect((await contentOf(project)).equals(tar.tar)).toBe(true);
    await project.dispose();
  });

  it.each([
    ['no files', 'empty_project', []],
    ['..', 'path_escape', ['../x']],
    ['an absolute path', 'path_escape', ['/x']],
    ['a directory name', 'invalid_name', ['x/']],
    ['an empty name', 'invalid_name', ['']],
    ['NUL', 'invalid_name', ['a\0b']],
    ['a lone surrogate', 'name_not_utf8', ['a\ud800']],
    ['a long name', 'name_too_long', ['é'.repeat(128)]],
    ['a path twice', 'duplicate_entry', ['a', './a']],
    ['a file below a file', 'type_conflict', ['a', 'a/b']],
    ['a reserved name', 'reserved_name', ['.deps/a']],
  ])('%s is refused', async (_what, code, paths) => {
    const building = buildProject(
      paths.map((path) => ({ path, content })),
      { ...options, reservedNames: ['.deps'] },
    );
    await expect(building).rejects.toMatchObject({ code });
  });

  it('is refused beyond the limits', async () => {
    const files = [
      { path: 'a', content },
      { path: 'b', content },
    ];
    const within = (limits: object) =>
      buildProject(files, { ...options, limits: { ...DEFAULT_ARCHIVE_LIMITS, ...limits } });
    await expect(within({ entries: 1 })).rejects.toMatchObject({ code: 'too_many_entries' });
    await expect(within({ contentBytes: 17 })).rejects.toMatchObject({ code: 'project_too_large' });
    await (await within({ entries: 2, contentBytes: 18 })).dispose();
  });

  it('stops when it is aborted', async () => {
    const controller = new AbortController();
    const reason = new Error('gone');
    let taken = 0;
    const files = function* () {
      for (; taken < 10; taken++) {
        yield { path: `f${taken}`, content };
        controller.abort(reason);
      }
    };
    await expect(buildProject(files(), { ...options, signal: controller.signal })).rejects.toBe(reason);
    expect(taken).toBe(1);
  });
});
