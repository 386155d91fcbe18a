/**
 * Limits at their smallest and largest values, given to a sandbox that waited with others: met inside, by what a program
 * can do there. Every run is one that found a warm sandbox; a run with the defaults is the control.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Limits } from '../../../src/domain/limits.ts';
import { until } from '../../support/docker-containers.ts';
import { startEngine, type TestEngine } from '../../support/engine.ts';

const MIB = 1 << 20;

let engine: TestEngine;
beforeAll(async () => {
  engine = await startEngine({ PYEXEC_POOL_SIZE: '1', PYEXEC_MAX_CPUS: '2' });
});
afterAll(() => engine[Symbol.asyncDispose]());

const metrics = async () => (await engine.engine.metrics.render()).body;
const hits = async () =>
  Number(/^pyexec_pool_takes_total\{result="hit",shape="[^"]+"\} (\d+)$/m.exec(await metrics())?.[1] ?? 0);

async function run(program: string, limits: Partial<Limits>, onOverflow: 'truncate' | 'kill' = 'truncate') {
  await until('one is ready', async () => (await metrics()).includes('pyexec_pool_ready 1\n'));
  const before = await hits();
  const execution = await engine.run(program, { limits, onOverflow });
  expect(await hits(), 'it found a warm sandbox').toBe(before + 1);
  expect(execution.limits).toMatchObject(limits);
  return { ...execution, stdout: execution.stdout ?? '' };
}

const HOLDS = (mib: number) => `held = bytearray(${String(mib * MIB)}); print(len(held) >> 20)`;

test('memory: just above the default, and the most', async () => {
  for (const memory_bytes of [1024 * MIB, 1100 * MIB]) {
    expect((await run(HOLDS(1300), { memory_bytes })).outcome).toMatchObject({ kind: 'out_of_memory' });
  }
  expect((await run(HOLDS(1050), { memory_bytes: 1100 * MIB })).stdout).toBe('1050\n');
  expect((await run(HOLDS(1300), { memory_bytes: 4096 * MIB })).stdout).toBe('1300\n');
});

test.each([8, 128, 129, 512])('pids: %d', async (pids) => {
  const { stdout } = await run(
    `
import threading
stay = threading.Event()
count = 0
try:
    while True:
        threading.Thread(target=stay.wait, daemon=True).start()
        count += 1
except RuntimeError:
    print(count, flush=True)
stay.set()
`,
    { pids },
  );
  // PID 1 and the program's first thread are among them.
  expect(stdout).toBe(`${String(pids - 2)}\n`);
});

test.each([16, 1024, 4096])('open files: %d', async (open_files) => {
  const { stdout } = await run(
    `
import os
count = 0
try:
    while True: os.open("/dev/null", os.O_RDONLY); count += 1
except OSError as error:
    print(count + 3, error.errno)
`,
    { open_files },
  );
  expect(stdout).toBe(`${String(open_files)} 24\n`);
});

test('cpus: the least is a twentieth of a core, and more than one is more than one', async () => {
  const program = `
import os, time
end = time.monotonic() + 2
children = [os.fork() for _ in range(1)]
while time.monotonic() < end: pass
if children == [0]: os._exit(0)
os.wait()
used = os.times()
quota = next((open(path).read().split()[0] for path in ("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us") if os.path.exists(path)), "")
print(sum(used[:4]), quota)
`;
  const [least = NaN, leastQuota] = (await run(program, { cpus: 0.05 })).stdout.split(' ').map(Number);
  const [usual = NaN, usualQuota] = (await run(program, {})).stdout.split(' ').map(Number);
  const [, mostQuota] = (await run(program, { cpus: 2 })).stdout.split(' ').map(Number);
  expect(least).toBeLessThan(0.4);
  expect(usual).toBeGreaterThan(0.4);
  expect([leastQuota, usualQuota, mostQuota]).toEqual([5_000, 100_000, 200_000]);
});

test('output: one byte, and the most', async () => {
  const cut = await run('print("abc")', { output_bytes: 1 });
  expect(cut).toMatchObject({
    outcome: { kind: 'exited', exit_code: 0 },
    truncated: { stdout: { kept_bytes: 1, total_bytes: 4 } },
  });
  expect(cut.stdout.length).toBeLessThan(100);
  expect((await run('print("abc")', { output_bytes: 1 }, 'kill')).outcome).toMatchObject({ kind: 'output_limit' });
  const most = await run(`print("x" * ${String(4 * MIB)})`, { output_bytes: 256 * MIB });
  expect(most.stdout.length).toBe(4 * MIB + 1);
});

test('time: a millisecond of it, of the wall’s and of the processor’s, and the most', async () => {
  const forever = 'while True: pass';
  expect((await run(forever, { wall_ms: 1 })).outcome).toMatchObject({ kind: 'timed_out', limit: 'wall_ms' });
  expect((await run(forever, { cpu_ms: 1 })).outcome).toMatchObject({ kind: 'timed_out', limit: 'cpu_ms' });
  expect((await run('print(1)', { wall_ms: 900_000, cpu_ms: 900_000 })).stdout).toBe('1\n');
});

test('all at once, smallest and largest', async () => {
  const least = { wall_ms: 20_000, pids: 8, open_files: 16, cpus: 0.05, output_bytes: 1000, memory_bytes: 1024 * MIB };
  expect((await run('print("ok")', least)).stdout).toBe('ok\n');
  const most = {
    wall_ms: 900_000,
    pids: 512,
    open_files: 4096,
    cpus: 2,
    output_bytes: 256 * MIB,
    memory_bytes: 4096 * MIB,
  };
  expect((await run('print("ok")', most)).stdout).toBe('ok\n');
});
