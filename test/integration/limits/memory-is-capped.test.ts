/**
 * The memory of a run is one limit over everything it holds, and meeting it is told
 * apart from every other kill. Control: the same program with more memory finishes.
 */
import { describe, expect, it } from 'vitest';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();
const MIB = 2 ** 20;
const LIMIT = 64 * MIB;

const HOGS: Readonly<Record<string, (bytes: number) => string>> = {
  'L02 one large object': (bytes) => `x = bytearray(${String(bytes)}); x[::4096] = b'x' * len(x[::4096])`,
  'L02 a string longer than the limit': (bytes) => `x = ' ' * ${String(bytes)}`,
  'L02 slow growth': (bytes) =>
    `x = []\nfor _ in range(${String(bytes / MIB)}): x.append(bytearray(b'x') * ${String(MIB)})`,
  'L02 an anonymous map': (bytes) => `
import mmap
x = mmap.mmap(-1, ${String(bytes)})
for at in range(0, len(x), 4096): x[at] = 1`,
  'L19 a decompression bomb': (bytes) => `
import zlib
x = zlib.decompress(zlib.compress(bytes(${String(bytes / 8)}))) + bytes(1)
y = [x + bytes([i]) for i in range(8)]`,
};

describe('memory', () => {
  it.for(Object.entries(HOGS))('%s is stopped as out of memory', async ([, hog]) => {
    const run = await sandbox.run(`print('begun', flush=True)\n${hog(LIMIT * 2)}\nprint('done')`, {
      limits: { memory_bytes: LIMIT },
    });
    expect(run).toMatchObject({
      exit_code: 137,
      outcome: { kind: 'out_of_memory', limit_bytes: run.limits?.memory_bytes },
      stdout: 'begun\n',
      hint: expect.stringContaining('memory') as string,
    });
  });

  it.for(Object.entries(HOGS))('%s: control with enough memory', async ([, hog]) => {
    const run = await sandbox.run(`print('begun', flush=True)\n${hog(LIMIT * 2)}\nprint('done')`, {
      limits: { memory_bytes: LIMIT * 8 },
    });
    expect(run).toMatchObject({ exit_code: 0, stdout: 'begun\ndone\n', outcome: { kind: 'exited' } });
  });

  it('L02 a request that cannot be granted at all is a MemoryError of the program', async () => {
    const run = await sandbox.run('x = bytearray(1 << 62)', { limits: { memory_bytes: LIMIT } });
    expect(run).toMatchObject({ outcome: { kind: 'exited', exit_code: 1 } });
    expect(run.stderr).toContain('MemoryError');
  });

  it('L03 the limit is that of all processes together: a child is killed, and the main process goes on', async () => {
    const twoChildren = (bytes: number) => `
import os, signal, sys
def grow():
    x = bytearray(b'x') * ${String(bytes)}
    import time; time.sleep(2)
    os._exit(0)
children = []
for _ in range(2):
    pid = os.fork()
    if pid == 0: grow()
    children.append(pid)
endings = sorted(os.waitpid(pid, 0)[1] for pid in children)
print([os.WTERMSIG(ending) for ending in endings], flush=True)
sys.exit(5)`;
    const share = Math.floor(LIMIT * 0.57);
    const run = await sandbox.run(twoChildren(share), { limits: { memory_bytes: LIMIT } });
    expect(run).toMatchObject({ exit_code: 5, outcome: { kind: 'exited', exit_code: 5 } });
    expect(run.stdout).toMatch(/^\[(0|9), 9\]\n$/);
    const control = await sandbox.run(twoChildren(share), { limits: { memory_bytes: LIMIT * 4 } });
    expect(control).toMatchObject({ exit_code: 5, stdout: '[0, 0]\n' });
  });

  it('L02 a SIGKILL that the program sent itself is not called out of memory', async () => {
    const run = await sandbox.run('import os; os.kill(os.getpid(), 9)', { limits: { memory_bytes: LIMIT } });
    expect(run).toMatchObject({ exit_code: 137, outcome: { kind: 'signaled', signal: 'SIGKILL' } });
  });

  it('L02 memory held by files and pipes counts, and if the supervisor itself is killed the ending is still known', async () => {
    const run = await sandbox.run(
      `
import os
for lowest in range(0, 1000, 50):
    try:
        open('/proc/self/oom_score_adj', 'w').write(str(lowest))
        break
    except OSError: pass
print('begun', flush=True)
def fill(place):
    with open(place + '/fill', 'wb') as file:
        try:
            while True: file.write(b'x' * 65536); file.flush()
        except OSError: pass
for place in ('/work', '/tmp', '/dev/shm'): fill(place)
import fcntl
held = []
while True:
    try: reader, writer = os.pipe()
    except OSError: break
    held.append((reader, writer))
    try: fcntl.fcntl(writer, 1031, 1 << 20)
    except OSError: pass
    os.set_blocking(writer, False)
    try:
        while True: os.write(writer, b'x' * 65536)
    except BlockingIOError: pass
x = [bytearray(b'x') * (1 << 20) for _ in range(1000)]
print('done')`,
      { limits: { memory_bytes: LIMIT } },
    );
    expect(run).toMatchObject({ exit_code: 137, outcome: { kind: 'out_of_memory' } });
    expect(run.stdout === '' || run.stdout === 'begun\n').toBe(true);
  });

  it('L02 a run after one that was out of memory is not touched by it', async () => {
    expect(await sandbox.run('print("well")', { limits: { memory_bytes: LIMIT } })).toMatchObject({
      stdout: 'well\n',
      exit_code: 0,
    });
  });
});

describe('L13 shared memory', () => {
  it('L13 more than /dev/shm holds ends the program that touches it, and nothing else', async () => {
    const run = await sandbox.run(
      `
import os
from multiprocessing import shared_memory
size = os.statvfs('/dev/shm').f_blocks * os.statvfs('/dev/shm').f_frsize
print(size, flush=True)
memory = shared_memory.SharedMemory(create=True, size=size + (1 << 20))
for at in range(0, memory.size, 4096): memory.buf[at] = 1
print('done')`,
    );
    expect(run).toMatchObject({ exit_code: 135, outcome: { kind: 'signaled', signal: 'SIGBUS' } });
    expect(Number(run.stdout)).toBeLessThan(run.limits?.memory_bytes ?? 0);
  });

  it('L13 control: what fits can be used and is counted as memory', async () => {
    const program = `
from multiprocessing import shared_memory
memory = shared_memory.SharedMemory(create=True, size=8 << 20)
memory.buf[:] = bytes([1]) * memory.size
print(sum(memory.buf[::4096])); memory.close(); memory.unlink()`;
    const run = await sandbox.run(program);
    expect(run).toMatchObject({ exit_code: 0, stdout: '2048\n' });
    expect(run.usage?.memory_peak_bytes ?? Infinity).toBeGreaterThan(8 * MIB);
  });
});
