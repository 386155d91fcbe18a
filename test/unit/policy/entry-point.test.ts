/** Which file Python is told to run. T56 of the hostile cases is here. */
import { describe, expect, test } from 'vitest';
import { ServiceError } from '../../../src/domain/errors.ts';
import type { EntryPoint } from '../../../src/domain/plan.ts';
import type { Project, ProjectEntry } from '../../../src/domain/project.ts';
import { chooseEntryPoint } from '../../../src/policy/entry-point.ts';

/** `name/` is a directory, `name@` a link. */
function projectOf(names: readonly string[]): Project {
  const entries = names.map((name): ProjectEntry => {
    const kind = name.endsWith('/') ? 'directory' : name.endsWith('@') ? 'symlink' : 'file';
    return { path: name.replace(/[/@]$/, ''), kind, sizeBytes: 0, executable: false };
  });
  return {
    entries,
    contentBytes: 0,
    tarBytes: 0,
    sha256: '',
    read: () => {
      throw new Error('policy does not read projects');
    },
    readInto: () => Promise.reject(new Error('policy does not read projects')),
    dispose: () => Promise.resolve(),
  };
}

const script = (path: string): EntryPoint => ({ kind: 'script', path });
const choose = (names: readonly string[], asked?: EntryPoint, mayAppear = false) =>
  chooseEntryPoint(asked, projectOf(names), mayAppear);

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof ServiceError) return error.code;
    throw error;
  }
  return 'accepted';
}

describe('implied', () => {
  test.each([
    [['main.py', '__main__.py', 'a.py'], 'main.py'],
    [['__main__.py', 'a.py', 'b.py'], '__main__.py'],
    [['only.py', 'data.csv', 'docs/'], 'only.py'],
    [['pkg/', 'pkg/only.py'], 'pkg/only.py'],
  ])('%j runs %s', (names, expected) => {
    expect(choose(names)).toEqual(script(expected));
  });

  test.each([[[]], [['a.py', 'b.py']], [['data.csv']], [['main.py/', 'main.py/x.txt']], [['a.pyc', 'b.PY']]])(
    '%j implies nothing',
    (names) => {
      expect(codeOf(() => choose(names))).toBe('entrypoint_missing');
    },
  );

  test('the refusal lists what there is, but not everything', () => {
    const names = Array.from({ length: 50 }, (_, index) => `m${String(index)}.py`);
    try {
      choose(names);
      expect.unreachable();
    } catch (error) {
      expect((error as ServiceError).members['files']).toHaveLength(20);
    }
  });
});

describe('a script by name', () => {
  const names = [
    'main.py',
    'pkg/',
    'pkg/run.py',
    'app/',
    'app/__main__.py',
    'data',
    'link@',
    '$(id).py',
    'a;b.py',
    '-c',
  ];

  test.each([
    ['main.py', 'main.py'],
    ['./main.py', 'main.py'],
    ['pkg//run.py', 'pkg/run.py'],
    ['pkg/./run.py', 'pkg/run.py'],
    ['app', 'app'],
    ['app/', 'app'],
    ['data', 'data'],
    ['link', 'link'],
    ['link/inside.py', 'link/inside.py'],
    ['$(id).py', '$(id).py'],
    ['a;b.py', 'a;b.py'],
  ])('%j runs %j', (asked, expected) => {
    expect(choose(names, script(asked))).toEqual(script(expected));
  });

  test.each([
    ['missing.py', 'entrypoint_missing'],
    ['main.py/x', 'entrypoint_missing'],
    ['MAIN.py', 'entrypoint_missing'],
    ['pkg', 'entrypoint_missing'],
    ['.', 'entrypoint_missing'],
    [';$(id)', 'entrypoint_missing'],
    ['main.py; id', 'entrypoint_missing'],
    ['', 'invalid_entrypoint'],
    ['-c', 'invalid_entrypoint'],
    ['./-c', 'invalid_entrypoint'],
    ['--help', 'invalid_entrypoint'],
    ['/etc/passwd', 'invalid_entrypoint'],
    ['../main.py', 'invalid_entrypoint'],
    ['pkg/../main.py', 'invalid_entrypoint'],
    ['pkg/../../../etc/passwd', 'invalid_entrypoint'],
    ['main.py\0', 'invalid_entrypoint'],
    ['main.py\n', 'invalid_entrypoint'],
    ['main\u007f.py', 'invalid_entrypoint'],
    ['a'.repeat(5000), 'invalid_entrypoint'],
  ])('%j is refused: %s', (asked, code) => {
    expect(codeOf(() => choose(names, script(asked)))).toBe(code);
  });

  test('the whole project runs when it has a __main__.py', () => {
    expect(choose(['__main__.py'], script('.'))).toEqual(script('.'));
  });

  test('commands before the program may still create it, but not outside', () => {
    expect(choose([], script('made/later.py'), true)).toEqual(script('made/later.py'));
    for (const path of ['../x.py', '/x.py', '-x', './-x', 'a\0']) {
      expect(codeOf(() => choose([], script(path), true))).toBe('invalid_entrypoint');
    }
  });

  test('both refusals are answered 422', () => {
    for (const path of ['missing.py', '-c']) {
      try {
        choose(names, script(path));
        expect.unreachable();
      } catch (error) {
        expect((error as ServiceError).status).toBe(422);
      }
    }
  });
});

describe('a module by name', () => {
  test.each(['pkg', 'pkg.sub.mod', '_private', 'http.server', 'größe', 'x1'])('%s', (name) => {
    expect(choose([], { kind: 'module', name })).toEqual({ kind: 'module', name });
  });

  test.each(['', '.', '.x', 'x.', 'a..b', '-c', '--help', 'a b', 'a;b', 'a/b', '1x', 'a\n', 'a\0', 'a'.repeat(257)])(
    '%j is refused',
    (name) => {
      expect(codeOf(() => choose([], { kind: 'module', name }))).toBe('invalid_entrypoint');
    },
  );
});
