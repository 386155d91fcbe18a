/**
 * A program may signal what is its own. It cannot end, stop or confuse the
 * supervisor, and a signal that ends it is reported as that signal.
 */
import { describe, expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

describe('L17 signals', () => {
  it('L17 to PID 1 change nothing: every one of them, many times', async () => {
    const run = await sandbox.run(`
import os, signal, sys
for _ in range(50):
    for number in range(1, 65):
        try: os.kill(1, number)
        except OSError as problem: print(number, problem)
print('alive')
sys.exit(7)`);
    expect(run).toMatchObject({ stdout: 'alive\n', exit_code: 7, outcome: { kind: 'exited' } });
  });

  it('L17 with a value, and by file descriptor, neither', async () => {
    const run = await sandbox.run(`
import ctypes, os, signal, sys
libc = ctypes.CDLL(None)
for number in range(1, 65):
    libc.sigqueue(1, number, ctypes.c_void_p(4711))
descriptor = os.pidfd_open(1)
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
    try: signal.pidfd_send_signal(descriptor, number)
    except OSError: pass
sys.exit(7)`);
    expect(run).toMatchObject({ exit_code: 7, outcome: { kind: 'exited' } });
  });

  it('L17 to all processes end the program’s own, not the supervisor', async () => {
    const run = await sandbox.run(`
import os, signal, sys, time
child = os.fork()
if child == 0: time.sleep(30)
os.kill(-1, signal.SIGKILL)
print(os.WTERMSIG(os.waitpid(child, 0)[1]))
sys.exit(7)`);
    expect(run).toMatchObject({ stdout: '9\n', exit_code: 7, outcome: { kind: 'exited' } });
  });

  it('L17 sent by a child to all end the main process, and that is what is reported', async () => {
    const run = await sandbox.run(`
import os, time
print('begun', flush=True)
if os.fork() == 0:
    os.setsid()
    os.kill(-1, 9)
time.sleep(30)`);
    expect(run).toMatchObject({ stdout: 'begun\n', exit_code: 137, outcome: { kind: 'signaled', signal: 'SIGKILL' } });
  });

  it('L17 SIGSTOP to the parent does not stop the deadline', async () => {
    const run = await sandbox.run(
      `
import os, signal, time
os.kill(os.getppid(), signal.SIGSTOP)
if os.fork() == 0:
    os.kill(os.getppid(), signal.SIGSTOP)
time.sleep(30)`,
      { limits: { wall_ms: 800 } },
    );
    expect(run).toMatchObject({ exit_code: 124, outcome: { kind: 'timed_out' } });
    expect(run.duration_ms).toBeLessThan(4_000);
  });

  it('L17 a storm of ending children does not keep the supervisor from its work', async () => {
    const run = await sandbox.run(
      `
import os
for _ in range(4):
    if os.fork() == 0:
        while True:
            try:
                if os.fork() == 0:
                    if os.fork() == 0: os._exit(0)
                    os._exit(0)
            except OSError: pass
while True: pass`,
      { limits: { wall_ms: 1_000 } },
    );
    expect(run.outcome).toMatchObject({ kind: 'timed_out' });
    expect(run.duration_ms).toBeLessThan(7_000);
  });

  it('L17 control: a process that is not PID 1 is ended by the same signals', async () => {
    const strike = probe(`
victim = os.fork()
if victim == 0:
    time.sleep(30)
os.kill(victim, signal.SIGKILL)
facts['victim'] = os.WTERMSIG(os.waitpid(victim, 0)[1])
`);
    expect(await sandbox.facts(strike)).toEqual({ victim: 9 });
    expect(await controlFacts(strike, { without: [] })).toEqual({ victim: 9 });
  });
});

describe('L24 endings', () => {
  it.each([
    ['L24 exit 0', 'raise SystemExit', 0],
    ['L24 exit 255', 'raise SystemExit(255)', 255],
    ['L24 exit 256 is 0, as the kernel has it', 'raise SystemExit(256)', 0],
    ['L24 exit 259 is 3', 'raise SystemExit(259)', 3],
    ['L24 exit -1 is 255', 'raise SystemExit(-1)', 255],
    ['L24 exit 124 is no timeout', 'raise SystemExit(124)', 124],
    ['L24 exit 137 is no kill', 'raise SystemExit(137)', 137],
    ['L24 an exception is 1', '1 / 0', 1],
    ['L24 _exit in the middle of output', 'import os; os.write(1, b"x" * 100000); os._exit(9)', 9],
  ])('%s', async (_, code, exitCode) => {
    expect(await sandbox.run(code)).toMatchObject({
      status: 'completed',
      exit_code: exitCode,
      outcome: { kind: 'exited', exit_code: exitCode },
    });
  });

  it.each(['SIGTERM', 'SIGKILL', 'SIGHUP', 'SIGUSR1', 'SIGALRM', 'SIGXCPU', 'SIGRTMIN'])(
    'L24 death by %s is reported as that',
    async (name) => {
      const run = await sandbox.run(
        `import os, signal; signal.signal(signal.${name}, signal.SIG_DFL) if '${name}' != 'SIGKILL' else None\nos.kill(os.getpid(), signal.${name})`,
      );
      expect(run.outcome).toMatchObject({ kind: 'signaled' });
      const { signal_number: number } = run.outcome as { signal_number: number };
      expect(run.exit_code).toBe(128 + number);
      if (name !== 'SIGRTMIN') expect(run.outcome).toMatchObject({ signal: name });
    },
  );
});
