/** The exception that ended a program, as data: in the words of the project's own files. */
import { describe, expect, it } from 'vitest';
import type { Files } from '../../support/engine.ts';
import { slimImages } from '../../support/images.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';
import type { RunRequest } from '../../../src/domain/plan.ts';

const shared = sandboxForFile();
/** Runs programs in one of the images. */
const within = (image: string) => ({
  run: (program: string | Files, request: Partial<RunRequest> = {}) => shared.run(program, { image, ...request }),
});

describe.each(await slimImages())('an uncaught exception in %s', (image) => {
  const sandbox = within(image);

  it('is told with message, place and the frames of the project alone', async () => {
    const run = await sandbox.run({
      'main.py': `import helper\n\nhelper.parse('{')\n`,
      'helper.py': `import json\ndef parse(text):\n    return json.loads(text)\n`,
    });
    expect(run.error_type).toBe('JSONDecodeError');
    expect(run.error_line).toBe(3);
    expect(run.exception).toEqual({
      type: 'JSONDecodeError',
      message: 'Expecting property name enclosed in double quotes: line 1 column 2 (char 1)',
      file: 'helper.py',
      line: 3,
      traceback: [
        'Traceback (most recent call last):',
        '  File "/work/main.py", line 3, in <module>',
        `    helper.parse('{')`,
        '  File "/work/helper.py", line 3, in parse',
        '    return json.loads(text)',
        'JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)',
      ].join('\n'),
    });
  });

  it('in the syntax is where the syntax is', async () => {
    const run = await sandbox.run({ 'main.py': 'import broken\n', 'broken.py': 'x = 1\ndef (:\n' });
    expect(run.exception).toMatchObject({ type: 'SyntaxError', file: 'broken.py', line: 2 });
  });

  it('after a deep recursion is short', async () => {
    const run = await sandbox.run('def f(n):\n    return f(n + 1)\nf(0)\n');
    expect(run.exception).toMatchObject({ type: 'RecursionError', file: 'main.py', line: 2 });
    expect(run.exception?.traceback).toMatch(/\[\d{3,} frames\]/);
    expect(run.exception?.traceback.length).toBeLessThan(8001);
  });

  it('has no message where that would run the project a second time', async () => {
    const run = await sandbox.run(`
class Loud(Exception):
    def __str__(self): print('asked'); return 'loud'
raise Loud
`);
    expect(run.stdout).toBe('asked\n');
    expect(run.exception).toMatchObject({ type: 'Loud', message: '', line: 4 });
  });

  it('has no message either where an argument of it would run the project, but has one of all others', async () => {
    const of = async (raised: string) => {
      const run = await sandbox.run(`
class Thing:
    def __repr__(self): print('asked'); return 'thing'
class Own(Exception): pass
raise ${raised}
`);
      expect(run.exception?.line).toBe(5);
      return [run.stdout, run.exception?.message];
    };
    expect(await of('Own(Thing())')).toEqual(['asked\n', '']);
    expect(await of('ValueError([{1: (Thing(),)}])')).toEqual(['asked\n', '']);
    expect(await of('Own({"a": [1, None, b"x"]}, 2)')).toEqual(['', "({'a': [1, None, b'x']}, 2)"]);
    expect(await of('KeyError("k")')).toEqual(['', "'k'"]);
    expect(await of('OSError(2, "no", "file")')).toEqual(['', "[Errno 2] no: 'file'"]);
    expect(await of('RuntimeError(OSError(OSError(1)))')).toEqual(['', '1']);
    expect(await of('KeyboardInterrupt("stop")')).toEqual(['', 'stop']);
    expect(await of('MemoryError()')).toEqual(['', '']);
    expect(await of('ExceptionGroup("several", [ValueError(1), Own()])')).toEqual(['', 'several (2 sub-exceptions)']);
    expect(await of('Own("ä\\udc80\\0" * 3)')).toEqual(['', 'ä\\udc80 '.repeat(3)]);
  });

  it('of a module, a folder and an archive is told like that of a script', async () => {
    const code = 'import sys\ndef f():\n    raise ValueError("x")\nif len(sys.argv) == 1: f()\n';
    const module = await sandbox.run(
      { 'pkg/__init__.py': '', 'pkg/__main__.py': code },
      { entryPoint: { kind: 'module', name: 'pkg' } },
    );
    expect(module).toMatchObject({
      error_type: 'ValueError',
      error_line: 4,
      exception: { type: 'ValueError', message: 'x', file: 'pkg/__main__.py', line: 3 },
    });
    const folder = await sandbox.run({ 'app/__main__.py': code }, { entryPoint: { kind: 'script', path: 'app' } });
    expect(folder.exception).toEqual({ ...module.exception, ...folder.exception, file: 'app/__main__.py' });
    expect(folder.exception?.traceback.split('\n').at(-1)).toBe('ValueError: x');
    const left = await sandbox.run(
      { 'app/__main__.py': code },
      { entryPoint: { kind: 'script', path: 'app' }, args: ['a'] },
    );
    expect([left.exit_code, left.exception]).toEqual([0, undefined]);
  });

  it('in the syntax of the program itself, and in a message without end', async () => {
    expect((await sandbox.run('x = 1\ny = (\n')).exception).toMatchObject({
      type: 'SyntaxError',
      file: 'main.py',
      line: 2,
    });
    const run = await sandbox.run('raise ValueError("x" * 30_000_000)', { limits: { output_bytes: 1000 } });
    expect(run.exception?.message).toBe('x'.repeat(2000));
  });

  it('of a group is told with those in it, and with notes', async () => {
    const run = await sandbox.run(`
class Own(Exception):
    def __str__(self): print('asked'); return 'own'
problem = ExceptionGroup('two', [ValueError('é'), ExceptionGroup('inner', [KeyError('k'), Own()])])
problem.add_note('a note'); problem.__notes__.append(7)
import sys
def hook(*_): pass
sys.excepthook = hook
raise problem
`);
    expect([run.outcome, run.stdout]).toMatchObject([{ exit_code: 1 }, '']);
    expect(run.exception).toMatchObject({ type: 'ExceptionGroup', message: 'two (2 sub-exceptions)', line: 9 });
    expect(run.exception?.traceback.split('\n').slice(3)).toEqual([
      'ExceptionGroup: two (2 sub-exceptions)',
      'a note',
      '| ValueError: é',
      '| ExceptionGroup: inner (2 sub-exceptions)',
      "  | KeyError: 'k'",
      '  | Own',
    ]);
    const many = await sandbox.run(`raise ExceptionGroup('m', [ValueError('x' * 5000) for n in range(1000)])`);
    expect(many.exception?.traceback).toMatch(/\n\| \[990 more\]$/);
  });

  it('in a thread, a forked child or before sys.exit is not what ended the program', async () => {
    const thread = await sandbox.run(
      'import threading\nt = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()',
    );
    expect([thread.exit_code, thread.exception]).toEqual([0, undefined]);
    const fork = await sandbox.run('import os, sys\nif os.fork() == 0: 1 / 0\nos.wait(); sys.exit(4)');
    expect([fork.exit_code, fork.exception]).toEqual([4, undefined]);
    const text = await sandbox.run('import sys\nsys.exit("a text")');
    expect([text.exit_code, text.stderr, text.exception]).toEqual([1, 'a text\n', undefined]);
  });

  it('is not there when there was none, or it was caught, or the program left by itself', async () => {
    for (const code of ['print(1)', 'try: 1/0\nexcept ZeroDivisionError: pass', 'import sys; sys.exit(3)']) {
      expect(await sandbox.run(code)).not.toHaveProperty('exception');
    }
  });

  it('of a hostile program is text and nothing else', async () => {
    const run = await sandbox.run(`
class E(Exception): pass
E.__name__ = 'x' * 5000
raise E('\\0' * 10 + 'm' * 100_000 + '\\udc80')
`);
    expect(run.outcome).toMatchObject({ kind: 'exited', exit_code: 1 });
    expect(run.exception?.message.length).toBeLessThan(2100);
    expect(run.exception?.file).toBe('main.py');
  });
});

describe.each(await slimImages())('a hint in %s', (image) => {
  const sandbox = within(image);

  it.each([
    ['import yaml', /module yaml \(on the index: PyYAML\).*requirements/],
    ['import cv2', /on the index: opencv-python/],
    ['import sklearn.linear_model', /on the index: scikit-learn/],
    ['import urllib.request\nurllib.request.urlopen("http://example.com")', /no network/],
    ['input()', /send the text as stdin/],
    ['open("/etc/x", "w")', /Only \/work and \/tmp/],
  ])('%s', async (code, hint) => {
    expect((await sandbox.run(code)).hint).toMatch(hint);
  });
});
