/** The exception that ended a program, as data: in the words of the project's own files. */
import { describe, expect, it } from 'vitest';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile({ PYEXEC_DEFAULT_IMAGE: 'pyexec/slim:latest' });

describe('an uncaught exception', () => {
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

describe('a hint', () => {
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
