/**
 * Processes and threads of a run together are limited; a program that makes as many
 * as it can harms itself. Control: with a higher limit the same program makes more.
 */
import { describe, expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

/** Bounded, so that it is harmless where nothing stops it. */
const COUNT_PROCESSES = probe(`
children = []
try:
    while len(children) < 200:
        pid = os.fork()
        if pid == 0:
            time.sleep(30)
            os._exit(0)
        children.append(pid)
    facts['stopped by'] = 'nothing'
except OSError as problem:
    facts['stopped by'] = errno.errorcode[problem.errno]
facts['processes'] = len(children)
for pid in children:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
`);

const COUNT_THREADS = `
import threading, time
count = 0
try:
    while count < 100_000:
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
        count += 1
except RuntimeError as problem:
    print(count, problem, flush=True)
import os; os._exit(0)`;

const BOMBS: Readonly<Record<string, string>> = {
  'L04 a fork bomb': `import os\nwhile True: os.fork()`,
  'L04 a fork bomb that swallows every error': `
import os
while True:
    try: os.fork()
    except BaseException: pass`,
  'L04 a fork bomb of sessions of their own': `
import os
while True:
    try:
        if os.fork() == 0: os.setsid()
    except OSError: pass`,
  'L04 processes that end as fast as they are made': `
import os
for _ in range(8):
    if os.fork() == 0: break
while True:
    try:
        if os.fork() == 0: os._exit(0)
    except OSError: pass`,
  'L04 a shell’s fork bomb': `import subprocess; subprocess.run(['sh', '-c', 'b() { b | b & }; b; sleep 60'])`,
};

describe('processes', () => {
  it.for(Object.entries(BOMBS))('%s ends with its run, and the next run is well', async ([, code]) => {
    const run = await sandbox.run(code, { limits: { wall_ms: 1_500, memory_bytes: 256 << 20 } });
    expect(['timed_out', 'exited', 'out_of_memory']).toContain(run.outcome?.kind);
    expect(run.duration_ms).toBeLessThan(1_500 + 8_000);
    const next = await sandbox.run('import os; print(len([p for p in os.listdir("/proc") if p.isdigit()]))');
    expect(next).toMatchObject({ exit_code: 0, stdout: '2\n' });
  });

  it('L04 no more processes can be made than the limit says', async () => {
    const limit = 40;
    const facts = await sandbox.facts(COUNT_PROCESSES, { limits: { pids: limit } });
    expect(facts['stopped by']).toBe('EAGAIN');
    expect(facts['processes']).toBeLessThan(limit);
    expect(facts['processes']).toBeGreaterThan(limit - 5);
    const control = await controlFacts(COUNT_PROCESSES, { without: ['process_limit'] });
    expect(control).toEqual({ 'stopped by': 'nothing', processes: 200 });
  });

  it('L05 threads count as processes do', async () => {
    const run = await sandbox.run(COUNT_THREADS);
    const limit = run.limits?.pids ?? 0;
    const made = Number(run.stdout?.split(' ')[0]);
    expect(run.stdout).toContain("can't start new thread");
    expect(made).toBeLessThan(limit);
    expect(made).toBeGreaterThan(limit - 5);
    const more = await sandbox.run(COUNT_THREADS, { limits: { pids: limit * 2 } });
    expect(Number(more.stdout?.split(' ')[0])).toBeGreaterThan(limit);
  });
});
