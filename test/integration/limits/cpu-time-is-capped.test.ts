/** CPU time is a limit of its own, counted over all processes; waiting costs none of it. */
import { expect, it } from 'vitest';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

it('L01 CPU time of one process is capped, and told apart from wall time', async () => {
  const run = await sandbox.run('print("begun", flush=True)\nwhile True: pass', {
    limits: { cpu_ms: 1_000, wall_ms: 20_000 },
  });
  expect(run).toMatchObject({
    status: 'failed',
    exit_code: 124,
    outcome: { kind: 'timed_out', limit: 'cpu_ms', limit_ms: run.limits?.cpu_ms },
    stdout: 'begun\n',
  });
  expect(run.duration_ms).toBeLessThan(15_000);
});

it('L01 CPU time of all processes together is capped', async () => {
  const run = await sandbox.run(
    `
import os, time
for _ in range(4):
    if os.fork() == 0:
        while True: pass
time.sleep(30)`,
    { limits: { cpu_ms: 1_000, wall_ms: 20_000 } },
  );
  expect(run.outcome).toMatchObject({ kind: 'timed_out', limit: 'cpu_ms' });
});

it('L01 CPU time cannot be hidden in processes that end', async () => {
  const run = await sandbox.run(
    `
import os
while True:
    if os.fork() == 0:
        for _ in range(300000): pass
        os._exit(0)
    os.wait()`,
    { limits: { cpu_ms: 1_000, wall_ms: 20_000 } },
  );
  expect(run.outcome).toMatchObject({ kind: 'timed_out', limit: 'cpu_ms' });
});

const input = { args: [], stdin: new Uint8Array() };
it.each([
  ['one run', {}],
  ['each of many inputs', { inputs: { list: [input, input], stopOnFailure: false } }],
])('L01 CPU time of processes nobody waits for is told: %s', async (_what, options) => {
  const run = await sandbox.run(
    `
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        while time.process_time() < 0.3: pass
        os._exit(0)
try:
    while os.waitpid(-1, 0): pass
except ChildProcessError: pass`,
    options,
  );
  for (const { usage } of [run, ...(run.results ?? [])]) expect(usage?.cpu_ms).toBeGreaterThan(800);
  expect(run.usage?.cpu_ms).toBeLessThan(4_000);
});

it('L01 control: a program that waits longer than its CPU limit ends by itself', async () => {
  const run = await sandbox.run('import time; time.sleep(1.5)', { limits: { cpu_ms: 1_000, wall_ms: 20_000 } });
  expect(run).toMatchObject({ exit_code: 0, outcome: { kind: 'exited' } });
});

it('L01 a run gets no more of the processors than its share', async () => {
  const spin = `
import os, time
children = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        end = time.monotonic() + 2
        while time.monotonic() < end: pass
        os._exit(0)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
times = os.times()
places = ('/sys/fs/cgroup/cpu.stat', '/sys/fs/cgroup/cpu/cpu.stat')
counts = dict(line.split() for line in open(next(filter(os.path.exists, places))))
print(times.children_user + times.children_system, counts['nr_throttled'])`;
  const quarter = await sandbox.run(spin, { limits: { cpus: 0.25 } });
  const [used, throttled] = (quarter.stdout ?? '').split(' ').map(Number);
  expect(used).toBeLessThan(2 * 0.25 * 1.5);
  expect(throttled).toBeGreaterThan(5);
  const two = await sandbox.run(spin, { limits: { cpus: 2 } });
  // Control: with two processors for two busy processes the kernel holds nothing back.
  expect(Number((two.stdout ?? '').split(' ')[1])).toBeLessThan(throttled ?? 0);
});
