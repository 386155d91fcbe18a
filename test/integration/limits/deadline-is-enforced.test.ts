/**
 * A run ends when its time is over, whatever it does, keeps what it printed until
 * then, and is told apart from every other ending.
 * Control: the same kind of program under a longer limit ends by itself.
 */
import { describe, expect, it } from 'vitest';
import { isTerminal, type ExecutionEvent } from '../../../src/domain/events.ts';
import { eventsOf } from '../../support/events.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

/** How late a run may end after its limit on a busy machine: far below the host's own backstop. */
const GRACE_MS = 3_000;
const WALL_MS = 700;

const ENDLESS: Readonly<Record<string, string>> = {
  'L01 a busy loop': 'while True: pass',
  'L01 a sleep': 'import time; time.sleep(60)',
  'L14 a program that ignores every signal it can': `
import signal, time
for number in signal.valid_signals():
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
while True: time.sleep(1)`,
  'L14 a program that catches everything': `
import time
while True:
    try: time.sleep(1)
    except BaseException: pass`,
  'L17 a program that stops itself': 'import os, signal; os.kill(os.getpid(), signal.SIGSTOP)',
  'L17 a group of stopped processes': `
import os, signal
for _ in range(10):
    if os.fork() == 0: break
os.kill(os.getpid(), signal.SIGSTOP)`,
  'L19 a regular expression that backtracks': `import re; re.match(r'(a+)+$', 'a' * 64 + 'b')`,
  'L19 arithmetic inside one C call': 'x = 9 ** (9 ** 9)',
  'L19 a conversion of many digits': 'import sys; sys.set_int_max_str_digits(0); str(7 ** 9_000_000)',
  'L01 a thread that never ends': 'import threading, time; threading.Thread(target=lambda: time.sleep(60)).start()',
  'L14 an exit handler that never ends': 'import atexit, time; atexit.register(time.sleep, 60)',
  'L15 a child that is waited for': 'import subprocess; subprocess.run(["sleep", "60"])',
  'L01 a read of stdin that a second process holds open': `
import os, time
if os.fork(): os.wait()
time.sleep(60)`,
};

describe('the deadline', () => {
  it.for(Object.entries(ENDLESS))('%s is timed out, with what it printed', async ([, code]) => {
    const run = await sandbox.run(`print('begun', flush=True)\n${code}`, { limits: { wall_ms: WALL_MS } });
    expect(run).toMatchObject({
      status: 'failed',
      exit_code: 124,
      outcome: { kind: 'timed_out', limit: 'wall_ms', limit_ms: run.limits?.wall_ms },
      error: expect.stringMatching(/^execution timeout after /) as string,
      stdout: 'begun\n',
    });
    expect(run.usage?.wall_ms).toBeGreaterThanOrEqual(WALL_MS);
    expect(run.duration_ms).toBeLessThan(WALL_MS + GRACE_MS);
  });

  it('L01 control: the same length of time under a longer limit is no timeout', async () => {
    const run = await sandbox.run(`import time; time.sleep(${String((WALL_MS * 2) / 1000)})`, {
      limits: { wall_ms: 10_000 },
    });
    expect(run).toMatchObject({ exit_code: 0, outcome: { kind: 'exited' } });
  });

  it('L14 a program that lowers the priority of the supervisor is timed out all the same', async () => {
    const run = await sandbox.run(
      `
import os
try:
    os.setpriority(os.PRIO_PROCESS, 1, 19)
    os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))
except PermissionError: pass
for _ in range(20):
    if os.fork() == 0: break
while True: pass`,
      { limits: { wall_ms: WALL_MS } },
    );
    expect(run.outcome).toMatchObject({ kind: 'timed_out', limit: 'wall_ms' });
    expect(run.duration_ms).toBeLessThan(WALL_MS + 8_000);
  });

  it('L22 runs that end within a millisecond of the limit end once, one way or the other', async () => {
    const wallMs = 300;
    const attempts = Array.from({ length: 20 }, (_, i) => wallMs - 6 + (i % 10));
    const endings: string[] = [];
    for (let at = 0; at < attempts.length; at += 4) {
      await Promise.all(
        attempts.slice(at, at + 4).map(async (sleepMs) => {
          const submitted = await sandbox.submit(
            `import time; end = time.monotonic() + ${String(sleepMs / 1000)}\nwhile time.monotonic() < end: time.sleep(0.0002)`,
            { limits: { wall_ms: wallMs } },
          );
          const events: ExecutionEvent[] = [];
          for await (const event of eventsOf(submitted.follow(0, new AbortController().signal))) events.push(event);
          const { outcome, status, exit_code: exitCode } = await submitted.snapshot();
          expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
          expect(events.filter(isTerminal)).toHaveLength(1);
          expect(events.at(-1)).toMatchObject({ type: 'result', outcome, status, exit_code: exitCode });
          if (outcome?.kind === 'exited') expect({ status, exitCode }).toEqual({ status: 'completed', exitCode: 0 });
          else
            expect({ status, exitCode, outcome }).toMatchObject({
              status: 'failed',
              exitCode: 124,
              outcome: { kind: 'timed_out' },
            });
          endings.push(outcome?.kind ?? 'none');
        }),
      );
    }
    expect(endings).toHaveLength(20);
  });
});
