/**
 * A run ends with its main process: what it started is ended with it, and nothing
 * it wrote or left running is there for the next one.
 */
import { describe, expect, it } from 'vitest';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

describe('L15 what outlives the main process', () => {
  const DAEMON = `
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (1, 15): __import__('signal').signal(number, __import__('signal').SIG_IGN)
        print('daemon', flush=True)
        time.sleep(60)
    os._exit(0)
os.wait()
time.sleep(0.2)
sys.exit(4)`;

  it('L15 L24 a daemon that keeps stdout open does not keep the run open', async () => {
    const run = await sandbox.run(DAEMON, { limits: { wall_ms: 30_000 } });
    expect(run).toMatchObject({ stdout: 'daemon\n', exit_code: 4, outcome: { kind: 'exited' } });
    expect(run.duration_ms).toBeLessThan(5_000);
  });

  it('L15 L24 children that still print are ended with the main process', async () => {
    const run = await sandbox.run(
      `
import os, sys, time
for _ in range(10):
    if os.fork() == 0:
        while True: os.write(1, b'x')
time.sleep(0.2)
sys.exit(0)`,
      { limits: { wall_ms: 30_000, output_bytes: 10_000 } },
    );
    expect(run).toMatchObject({ exit_code: 0, outcome: { kind: 'exited' } });
    expect(run.duration_ms).toBeLessThan(8_000);
  });

  it('L15 control: a child that the program waits for is waited for', async () => {
    const run = await sandbox.run(`
import os, time
if os.fork() == 0:
    time.sleep(1); print('finished', flush=True); os._exit(0)
os.wait()`);
    expect(run).toMatchObject({ stdout: 'finished\n', exit_code: 0 });
  });
});

describe('L11 E37 two runs, one after the other', () => {
  const LEAVE = `
import os, time
left = []
for directory, names, files in os.walk('/', followlinks=False):
    if directory in ('/proc', '/sys'): names.clear(); continue
    try:
        with open(directory + '/left-behind', 'w') as file: file.write('by an earlier run')
        left.append(directory)
    except OSError: pass
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
print(left)`;
  const LOOK = `
import os
found = []
for directory, names, files in os.walk('/', followlinks=False):
    if directory in ('/proc', '/sys'): names.clear(); continue
    found += [directory + '/' + name for name in files if name == 'left-behind']
print(found, len([name for name in os.listdir('/proc') if name.isdigit()]), sorted(os.listdir('/dev/mqueue')))`;

  it('L11 E37 the second finds no file and no process of the first', async () => {
    const first = await sandbox.run(LEAVE);
    expect(first.stdout).toMatch(/'\/work'/);
    expect(first.stdout).toMatch(/'\/tmp'/);
    expect(first.stdout).toMatch(/'\/dev\/shm'/);
    const second = await sandbox.run(LOOK);
    expect(second.stdout).toBe('[] 2 []\n');
  });

  it('L11 E37 control: what is left is found by the same look within one run', async () => {
    const run = await sandbox.run({ 'main.py': `${LEAVE}\n${LOOK}` });
    expect(run.stdout).toContain("'/tmp/left-behind'");
    expect(run.stdout).not.toContain('[] 2 []');
  });

  it('L11 the same run twice at once, neither sees the other’s files', async () => {
    const both = await Promise.all(
      ['a', 'b'].map((name) =>
        sandbox.run(
          `import os, time; open('/tmp/${name}', 'w').close(); open('/dev/shm/${name}', 'w').close(); time.sleep(1); print(os.listdir('/tmp') + os.listdir('/dev/shm'))`,
        ),
      ),
    );
    expect(both.map(({ stdout }) => stdout)).toEqual(["['a', 'a']\n", "['b', 'b']\n"]);
  });
});
