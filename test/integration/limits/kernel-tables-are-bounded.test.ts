/**
 * What the kernel keeps in tables that all containers share, a run can use only a
 * little of: descriptors, pipes, watches, timers, terminals, asynchronous I/O.
 */
import { describe, expect, it } from 'vitest';
import { eventsOf } from '../../support/events.ts';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const OPEN = probe(`
import select, socket
def many(make, at_most=200_000):
    held = []
    try:
        while len(held) < at_most:
            held.append(make())
        stopped = 'nothing'
    except OSError as problem:
        stopped = errno.errorcode[problem.errno]
    count = len(held)
    for item in held:
        for descriptor in (item if isinstance(item, tuple) else (item,)):
            os.close(descriptor) if isinstance(descriptor, int) else descriptor.close()
    return {'made': count, 'stopped by': stopped}
facts['files'] = many(lambda: os.open('/dev/null', os.O_RDONLY))
facts['pipes'] = many(os.pipe)
facts['sockets'] = many(socket.socketpair)
facts['epoll'] = many(select.epoll)
facts['eventfd'] = many(lambda: os.eventfd(0))
facts['memory files'] = many(lambda: os.memfd_create('x'))
`);

describe('L16 descriptors', () => {
  it('L16 of every kind are limited together, for each process', async () => {
    const limit = 200;
    const facts = await sandbox.facts(OPEN, { limits: { open_files: limit } });
    for (const kind of ['files', 'epoll', 'eventfd', 'memory files']) {
      const { made, 'stopped by': stopped } = facts[kind] as { made: number; 'stopped by': string };
      expect.soft(stopped, kind).toBe('EMFILE');
      expect.soft(made, kind).toBeLessThan(limit);
      expect.soft(made, kind).toBeGreaterThan(limit - 10);
    }
    expect((facts['pipes'] as { made: number }).made).toBeLessThan(limit / 2);
    expect((facts['sockets'] as { made: number }).made).toBeLessThan(limit / 2);
    const more = await sandbox.facts(OPEN, { limits: { open_files: limit * 4 } });
    expect((more['files'] as { made: number }).made).toBeGreaterThan(limit);
  });

  it('L16 the limit cannot be raised by the program', async () => {
    const run = await sandbox.run(
      `import resource\nprint(resource.getrlimit(resource.RLIMIT_NOFILE))\nresource.setrlimit(resource.RLIMIT_NOFILE, (10**6, 10**6))`,
    );
    const limit = String(run.limits?.open_files);
    expect(run).toMatchObject({ exit_code: 1, stdout: `(${limit}, ${limit})\n` });
  });
});

describe('L16 tables of the whole machine', () => {
  it('L16 asynchronous I/O contexts, which are counted for the whole machine, cannot be taken', async () => {
    const take = probe(`
def setup():
    context = ctypes.c_ulong(0)
    syscall(206, 0, 64, ctypes.byref(context))
attempt('io_setup', setup)
`);
    expect(await sandbox.facts(take)).toEqual({ io_setup: expect.stringMatching(/^(EPERM|ENOSYS)$/) as string });
    expect(await controlFacts(take, { without: ['seccomp'] })).toEqual({ io_setup: 'done' });
  });

  it('L16 one run that takes every pseudo-terminal does not keep another from running', async () => {
    const hoard = await sandbox.submit(
      `
import os, time
reader, writer = os.pipe()
for _ in range(6):
    if os.fork() == 0:
        held = 0
        try:
            while True: os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY); held += 1
        except OSError: pass
        os.write(writer, b'.')
        time.sleep(60)
for _ in range(6): os.read(reader, 1)
print('hoarded', flush=True)
time.sleep(60)`,
      { limits: { open_files: 1024, wall_ms: 20_000 } },
    );
    try {
      for await (const event of eventsOf(hoard.follow(0, new AbortController().signal)))
        if (event.type === 'stdout') break;
      expect((await hoard.snapshot()).stdout).toBe('hoarded\n');
      expect(await sandbox.run('print("canary")')).toMatchObject({ stdout: 'canary\n', exit_code: 0 });
    } finally {
      hoard.cancel('requested');
      await hoard.ended;
    }
  });

  it('L16 watches and timers, which are counted by user, are limited for this user alone', async () => {
    const run = await sandbox.run(
      probe(`
def count(make):
    made = 0
    try:
        while made < 300_000:
            if make(made) == -1: raise OSError(ctypes.get_errno(), '')
            made += 1
        return [made, 'nothing']
    except OSError as problem:
        return [made, errno.errorcode[problem.errno]]
facts['inotify instances'] = count(lambda i: libc.inotify_init1(0))
timer = ctypes.c_void_p()
facts['timers'] = count(lambda i: libc.timer_create(0, None, ctypes.byref(timer)))
`),
      { limits: { open_files: 400, memory_bytes: 256 << 20 } },
    );
    expect(run.outcome).toMatchObject({ kind: 'exited', exit_code: 0 });
    const facts = JSON.parse(run.stdout ?? '') as Record<string, [number, string]>;
    expect(facts['inotify instances']?.[1]).toBe('EMFILE');
    expect(facts['timers']?.[1]).toBe('EAGAIN');
    expect(await sandbox.run('print("canary")')).toMatchObject({ stdout: 'canary\n' });
  });
});
