import { describe, expect, it } from 'vitest';
import { tracebackEnd } from '../../../../src/doors/python-executor/traceback-text.ts';

const TRACEBACK = 'Traceback (most recent call last):\n';
const frame = (line: number, file = '/work/main.py') =>
  `  File "${file}", line ${String(line)}, in <module>\n    x()\n`;

describe('the exception that ended a program', () => {
  it.each<[string, string, { error_type: string; error_line?: number } | undefined]>([
    ['with a message', `${TRACEBACK}${frame(3)}ValueError: bad: thing\n`, { error_type: 'ValueError', error_line: 3 }],
    ['without one', `${TRACEBACK}${frame(3)}ValueError\n`, { error_type: 'ValueError', error_line: 3 }],
    ['with an empty one', `${TRACEBACK}${frame(3)}KeyError: \n`, { error_type: 'KeyError', error_line: 3 }],
    ['not ending in Error', `${TRACEBACK}${frame(1)}StopIteration\n`, { error_type: 'StopIteration', error_line: 1 }],
    [
      'of a module',
      `${TRACEBACK}${frame(2)}${frame(355, '/usr/lib/python3.13/json/decoder.py')}json.decoder.JSONDecodeError: no\n`,
      { error_type: 'JSONDecodeError', error_line: 2 },
    ],
    ['with digits', `${TRACEBACK}${frame(2)}My_Error2: x\n`, { error_type: 'My_Error2', error_line: 2 }],
    [
      'of several lines',
      `${TRACEBACK}${frame(2)}ValueError: a\nKeyError: b\n`,
      { error_type: 'ValueError', error_line: 2 },
    ],
    [
      'outermost frame of several',
      `${TRACEBACK}${frame(9)}${frame(2)}OSError: x\n`,
      { error_type: 'OSError', error_line: 9 },
    ],
    [
      'behind frames that are not the project',
      `${TRACEBACK}${frame(198, '<frozen runpy>')}${frame(4, '/work/pkg/__main__.py')}OSError: x\n`,
      { error_type: 'OSError', error_line: 4 },
    ],
    [
      'at the end of a chain',
      `${TRACEBACK}${frame(2)}KeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\n${TRACEBACK}${frame(4)}ValueError: x\n`,
      { error_type: 'ValueError', error_line: 4 },
    ],
    [
      'of syntax',
      '  File "/work/main.py", line 2\n    def f(:\n          ^\nSyntaxError: invalid syntax\n',
      { error_type: 'SyntaxError', error_line: 2 },
    ],
    [
      'in a file that is not of the project',
      `${TRACEBACK}${frame(3, '/usr/x.py')}OSError: x\n`,
      { error_type: 'OSError' },
    ],
    ['after other output', `warning\n${TRACEBACK}${frame(3)}OSError: x\n`, { error_type: 'OSError', error_line: 3 }],
    ['no traceback', 'ValueError: not really\n', undefined],
    ['a traceback cut off', `${TRACEBACK}${frame(3)}`, undefined],
    ['no exception behind it', `${TRACEBACK}${frame(3)}--- x ---\n`, undefined],
    ['nothing', '', undefined],
  ])('%s', (_name, stderr, expected) => {
    expect(tracebackEnd(stderr)).toEqual(expected);
  });

  it('is found in little time, whatever the text', () => {
    const startedAt = performance.now();
    for (const text of ['  File "'.repeat(200_000), 'a.'.repeat(500_000), `${frame(1)}${'a.'.repeat(30_000)}!`]) {
      expect(tracebackEnd(text)).toBeUndefined();
    }
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });
});
