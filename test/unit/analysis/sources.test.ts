/** Which files of a project are read as sources. */
import { expect, it } from 'vitest';
import { sourcesOf } from '../../../src/analysis/sources.ts';
import type { ProjectEntry } from '../../../src/domain/project.ts';

const file = (path: string): ProjectEntry => ({ path, kind: 'file', sizeBytes: 1, executable: false });
const link = (path: string, linkTarget: string): ProjectEntry => ({
  ...{ path, kind: 'symlink', sizeBytes: 0, executable: false, linkTarget },
});
const directory = (path: string): ProjectEntry => ({ path, kind: 'directory', sizeBytes: 0, executable: false });
const script = (path: string) => ({ kind: 'script', path }) as const;

it('those with the name of one, and no folder that has it', () => {
  const entries = [file('a.py'), file('b.PYW'), file('c.txt'), directory('d.py'), file('d.py/e.py'), file('py')];
  expect(sourcesOf(entries)).toEqual(['a.py', 'b.PYW', 'd.py/e.py']);
});

it('the one the program begins with, whatever its name', () => {
  expect(sourcesOf([file('run'), file('data')], script('./run'))).toEqual(['run']);
  expect(sourcesOf([file('run'), file('data')], { kind: 'module', name: 'run' })).toEqual([]);
});

it('what a link with the name of one leads to, once', () => {
  const entries = [
    file('data.bin'),
    link('a.py', 'b.txt'),
    link('b.txt', './c/../data.bin'),
    directory('c'),
    link('d', 'c'),
    file('c/x'),
    link('y.py', 'd/x'),
    link('z.py', 'y.py'),
  ];
  expect(sourcesOf(entries)).toEqual(['data.bin', 'c/x']);
  expect(sourcesOf([file('c/x'), link('d', 'c'), file('e')], script('d/x'))).toEqual(['c/x']);
});

it('none, and an end, where links lead nowhere or round', () => {
  expect(sourcesOf([link('a.py', 'a.py'), link('b.py', '../../b.py'), link('c.py', 'gone')])).toEqual([]);
});
