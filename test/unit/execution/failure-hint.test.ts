/** A sentence about what to try next, where the failure is one we know. */
import { describe, expect, test } from 'vitest';
import type { Outcome } from '../../../src/domain/outcome.ts';
import { failureHint } from '../../../src/execution/failure-hint.ts';
import { PLAN } from './plan-and-report.ts';

const exited = (exit_code: number): Outcome => ({ kind: 'exited', exit_code });
const online = { ...PLAN, shape: { ...PLAN.shape, network: 'bridge' } };

test.each<[string, Outcome, string, RegExp | undefined]>([
  ['success', exited(0), "ModuleNotFoundError: No module named 'x'", undefined],
  ['a missing module', exited(1), "ModuleNotFoundError: No module named 'yaml'", /PyYAML.*pyexec\/slim.*requirements/],
  ['a missing part of one', exited(1), "ModuleNotFoundError: No module named 'yaml.nodes'", /not in the yaml that is/],
  ['a module Python once had', exited(1), "ModuleNotFoundError: No module named 'imp'", /newer versions of Python/],
  ['the one setuptools has', exited(1), "ModuleNotFoundError: No module named 'distutils'", /setuptools/],
  ['a part of what is no package', exited(1), "…Error: No module named 'a.b'; 'a' is not a package", undefined],
  [
    'a package pandas asks for',
    exited(1),
    "ImportError: Missing optional dependency 'xlrd'. Use pip",
    /xlrd.*requirements/,
  ],
  ['pip', exited(1), '/usr/bin/python3: No module named pip', /requirements/],
  ['pip as a command', exited(2), 'sh: 1: pip: not found', /requirements/],
  ['a screen', exited(1), "ImportError: Cannot load backend 'TkAgg' which requires the 'tk'…", /no screen/],
  ['Tk', exited(1), '_tkinter.TclError: no display name and no $DISPLAY environment variable', /no screen/],
  ['a notebook', exited(1), '  File "a", line 1\n    !ls\n    ^\nSyntaxError: invalid syntax\n', /notebooks/],
  ['a film', exited(1), 'ValueError: unknown file extension: .mp4', /\.gif/],
  ['TeX', exited(1), 'RuntimeError: Failed to process string with tex because latex could not be found', /no LaTeX/],
  ['what was one', exited(1), "NameError: name 'get_ipython' is not defined", /no notebook/],
  ['await', exited(1), "    await f()\nSyntaxError: 'await' outside function", /asyncio\.run/],
  ['threads', exited(1), "RuntimeError: can't start new thread", /limits\.pids/],
  ['descriptors', exited(1), "OSError: [Errno 24] Too many open files: 'x'", /open_files/],
  ['a large array', exited(1), 'numpy._core._exceptions._ArrayMemoryError: Unable to allocate', /memory_bytes/],
  ['no network', exited(1), 'OSError: [Errno 101] Network is unreachable', /no network/],
  ['no DNS', exited(1), 'socket.gaierror: [Errno -3] Temporary failure in name resolution', /no network/],
  ['a full disk', exited(1), 'OSError: [Errno 28] No space left on device', /disk_bytes/],
  ['a read-only file', exited(1), 'OSError: [Errno 30] Read-only file system: /etc/x', /\/work and \/tmp/],
  ['no stdin', exited(1), 'EOFError: EOF when reading a line', /stdin/],
  ['a failure of the program’s own', exited(1), 'ValueError: 7', undefined],
  ['no stderr', exited(2), '', undefined],
  ['the wall clock', { kind: 'timed_out', limit: 'wall_ms', limit_ms: 1 }, '', /wall_ms/],
  ['CPU time', { kind: 'timed_out', limit: 'cpu_ms', limit_ms: 1 }, '', /cpu_ms/],
  ['memory', { kind: 'out_of_memory', limit_bytes: 1 }, '', /memory_bytes/],
  ['output', { kind: 'output_limit', limit_bytes: 1 }, '', /output_bytes/],
  ['a crash', { kind: 'signaled', signal: 'SIGSEGV', signal_number: 11 }, '', /native/],
  ['another signal', { kind: 'signaled', signal: 'SIGTERM', signal_number: 15 }, '', undefined],
  ['a cancellation', { kind: 'cancelled', reason: 'requested' }, '', undefined],
  [
    'our own failure',
    { kind: 'infrastructure_error', code: 'internal', detail: '' },
    'Network is unreachable',
    undefined,
  ],
])('%s', (_, outcome, stderr, expected) => {
  const hint = failureHint(outcome, { stderr }, PLAN);
  if (expected) expect(hint).toMatch(expected);
  else expect(hint).toBeUndefined();
});

test('with a network, a network failure is the program’s own', () => {
  expect(failureHint(exited(1), { stderr: 'Network is unreachable' }, online)).toBeUndefined();
});

test('only the end of stderr counts, and a huge one costs nothing', () => {
  const stderr = `Read-only file system${'x'.repeat(5_000_000)}`;
  expect(failureHint(exited(1), { stderr }, PLAN)).toBeUndefined();
});

test('what the program wrote is quoted in bounds', () => {
  const hint = failureHint(exited(1), { stderr: `ModuleNotFoundError: No module named '${'x'.repeat(3000)}'` }, PLAN);
  expect(hint).toBeUndefined();
});

describe('what was noticed', () => {
  const traceback = (last: string) =>
    `Traceback (most recent call last):\n  File "main.py", line 1, in <module>\n${last}\n`;
  const missing = traceback("ModuleNotFoundError: No module named 'cv2'");

  test.each<[string, string, RegExp | undefined]>([
    ['the last exception counts, not one that was logged', `${missing}note\n${traceback('ValueError: 7')}`, undefined],
    [
      'its causes count',
      `${missing}\nDuring handling of the above exception, another exception occurred:\n\n${traceback('SystemError: 7')}`,
      /opencv/,
    ],
    [
      'one of a group counts',
      `  + Exception Group ${traceback('')}    | ExceptionGroup: x\n    | ${traceback('    | OSError: [Errno 101] Network is unreachable')}    | ${traceback('    | KeyError: 1')}`,
      /no network/,
    ],
  ])('%s', (_, stderr, expected) => {
    const hint = failureHint(exited(1), { stderr }, PLAN);
    if (expected) expect(hint).toMatch(expected);
    else expect(hint).toBeUndefined();
  });

  test('the message counts where the end of stderr lacks it', () => {
    const exception = { type: 'gaierror', message: '[Errno -3] Temporary failure in name resolution', traceback: '' };
    expect(failureHint(exited(1), { stderr: traceback('…'), exception }, PLAN)).toMatch(/no network/);
  });

  test('a process that was ended for memory, whatever became of the others', () => {
    const killed = { stderr: '', memoryKills: 1 };
    for (const outcome of [exited(0), exited(1), { kind: 'timed_out', limit: 'wall_ms', limit_ms: 1 } as const]) {
      expect(failureHint(outcome, killed, PLAN)).toMatch(/the memory ran out/);
    }
  });

  test('displays that nobody could see, beside what failed', () => {
    const unseen = { stderr: missing, unseenDisplays: true };
    expect(failureHint(exited(0), unseen, { ...PLAN, commandChain: ['true'] })).toMatch(/^Figures .* pre_commands/);
    expect(failureHint(exited(1), unseen, PLAN)).toMatch(/cv2 .*requirements.* Figures .* PYTHON\*/);
  });
});
