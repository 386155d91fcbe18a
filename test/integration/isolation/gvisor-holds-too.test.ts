/**
 * E38: the same guarantees under gVisor, where the daemon has its runtime. A
 * program there talks to gVisor's kernel instead of the host's, so some calls that
 * our filter refuses are answered, by that kernel, for that sandbox alone.
 *
 * What does not hold there is in docs/SECURITY.md: inode limits, telling a fork
 * bomb from a broken sandbox, and a supervisor that cannot be signalled.
 */
import { release } from 'node:os';
import { describe, expect, it } from 'vitest';
import { threadCounts } from '../../../src/policy/thread-counts.ts';
import { encodeJsonFrame, FRAME } from '../../../src/sandbox/supervisor/protocol.ts';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { docker, sandboxForFile } from '../../support/isolation-sandbox.ts';
import { SYSCALL_ATTEMPTS, SYSCALLS_PROBE } from '../../support/isolation-syscalls.ts';

const RUNTIME = 'runsc';
const info = (await docker.info()) as { Runtimes?: Record<string, unknown> };
const hasGvisor = Object.hasOwn(info.Runtimes ?? {}, RUNTIME);

/** Calls gVisor implements itself, within the sandbox: user namespaces, tracing of own children, System V IPC, keys. */
const ANSWERED_BY_GVISOR =
  /^(unshare|clone|setns|ptrace|msgget|semget|shmget|mq_open|keyctl|add_key|request_key|personality|syslog)/;
/** Arguments are looked at before the answer "not supported". */
const REFUSED = /^(EPERM|ENOSYS|EINVAL|ENODEV|EACCES|EBADF|ENOTSUP|EFAULT)$/;

describe.skipIf(!hasGvisor)('E38 under gVisor', { timeout: 60_000 }, () => {
  const sandbox = sandboxForFile({ PYEXEC_RUNTIME: RUNTIME });

  it('E38 programs run, on a kernel that is not the host’s', async () => {
    const run = await sandbox.run('import platform; print(platform.release())');
    expect(run).toMatchObject({ exit_code: 0, runtime: RUNTIME });
    expect(run.stdout).not.toBe(`${release()}\n`);
    const control = await controlFacts(probe(`facts['release'] = platform.release()`), { without: [] });
    expect(control).toEqual({ release: release() });
  });

  it('E38 E03 E05 E06 E10 E11 E28 system calls that lead to the host’s kernel are refused', async () => {
    const facts = await sandbox.facts(SYSCALLS_PROBE);
    for (const { id, name } of SYSCALL_ATTEMPTS) {
      if (!ANSWERED_BY_GVISOR.test(name)) expect.soft(facts[name], `${id} ${name}`).toMatch(REFUSED);
    }
  });

  it('E38 E04 a namespace made there gives nothing outside of it', async () => {
    const facts = await sandbox.facts(
      probe(`
attempt('unshare', lambda: syscall(272, 97, 0x10000000))
attempt('mount', lambda: syscall(165, 40, b'none', b'/etc', b'tmpfs', 0, None))
attempt('write', lambda: opened('/etc/probe', os.O_CREAT | os.O_WRONLY))
`),
    );
    expect(facts['write']).toMatch(/^(EROFS|EACCES|EPERM)$/);
  });

  it.skipIf(process.arch !== 'x64')('E38 E08 the 32-bit entry leads nowhere', async () => {
    const facts = await sandbox.facts(
      probe(`
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
page = libc.mmap(None, 4096, 7, 0x22, -1, 0)
ctypes.memmove(page, b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3', 8)
facts['getpid'] = in_child(lambda: 0 if ctypes.CFUNCTYPE(ctypes.c_int)(page)() == os.getpid() else 1)
`),
    );
    expect(facts['getpid']).not.toBe(0);
  });

  it('E38 E01 E12 E17 E19 E23 rights, root, descriptors, environment and network are as under runc', async () => {
    const facts = await sandbox.facts(
      probe(`
import socket
status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())
facts['capabilities'] = sum(int(status[name], 16) for name in ('CapEff', 'CapPrm', 'CapInh', 'CapBnd'))
facts['root user'] = 0 in os.getresuid() + os.getresgid()
facts['environment'] = sorted(os.environ)
facts['descriptors'] = len(os.listdir('/proc/self/fd'))
for place in ('/', '/etc', '/usr', '/dev', '/proc/sys/kernel', '/sys/fs/cgroup'):
    facts[place] = outcome(lambda: opened(place + '/probe', os.O_CREAT | os.O_WRONLY)) == 'done'
facts['connect'] = outcome(lambda: socket.create_connection(('1.1.1.1', 80), timeout=2)) == 'done'
facts['memory of PID 1'] = outcome(lambda: opened('/proc/1/mem'))
attempt('give a file away', lambda: (open('/work/f', 'w').close(), os.chown('/work/f', 0, 0)))
`),
    );
    expect(facts).toEqual({
      capabilities: 0,
      'root user': false,
      environment: [
        ...['HOME', 'LANG', 'MPLCONFIGDIR', 'PATH', 'PYTHONUNBUFFERED', 'USER', 'XDG_CACHE_HOME'],
        ...Object.keys(threadCounts(1)),
      ].sort(),
      descriptors: 4,
      '/': false,
      '/etc': false,
      '/usr': false,
      '/dev': false,
      '/proc/sys/kernel': false,
      '/sys/fs/cgroup': false,
      connect: false,
      'memory of PID 1': 'EACCES',
      'give a file away': 'EPERM',
    });
  });

  it('E38 L01 L02 L06 L10 L16 limits hold', async () => {
    const late = await sandbox.run('print("begun", flush=True)\nwhile True: pass', { limits: { wall_ms: 1_000 } });
    expect(late).toMatchObject({ exit_code: 124, outcome: { kind: 'timed_out' }, stdout: 'begun\n' });
    const hog = await sandbox.run('x = bytearray(1 << 29); x[::4096] = b"x" * len(x[::4096])', {
      limits: { memory_bytes: 96 << 20 },
    });
    expect(hog.outcome).toMatchObject({ kind: 'out_of_memory' });
    const flood = await sandbox.run('import os\nfor _ in range(200): os.write(1, b"x" * 65536)', {
      limits: { output_bytes: 10_000 },
    });
    expect(flood).toMatchObject({
      exit_code: 0,
      truncated: { stdout: { total_bytes: 200 * 65_536, kept_bytes: 10_000 } },
    });
    const disk = await sandbox.run('open("fill", "wb").write(bytes(32 << 20))', { limits: { disk_bytes: 8 << 20 } });
    expect(disk.outcome).toMatchObject({ kind: 'exited', exit_code: 1 });
    const files = await sandbox.facts(
      probe(`
held = []
while outcome(lambda: held.append(os.open('/dev/null', 0))) == 'done': pass
facts['held'] = len(held)
`),
      { limits: { open_files: 100 } },
    );
    expect(files['held']).toBeLessThan(100);
  });

  it('E38 L24 endings are reported as they were', async () => {
    expect((await sandbox.run('raise SystemExit(7)')).outcome).toEqual({ kind: 'exited', exit_code: 7 });
    expect((await sandbox.run('import ctypes; ctypes.string_at(0)')).outcome).toMatchObject({ signal: 'SIGSEGV' });
  });

  it('E38 L23 an exit frame written to the supervisor’s own stdout forges nothing', async () => {
    const forged = encodeJsonFrame(FRAME.EXIT, {
      exitCode: 0,
      signal: null,
      cause: null,
      wallMs: 1,
      cpuMs: 1,
      memoryPeakBytes: 1,
      oomKills: 0,
      totalBytes: { stdout: 0, stderr: 0 },
      omittedBytes: { stdout: 0, stderr: 0 },
    });
    const run = await sandbox.run({
      'main.py': `
import os, sys, time
try: os.write(os.open('/proc/1/fd/1', os.O_WRONLY), open('forged', 'rb').read())
except OSError: pass
time.sleep(0.5)
sys.exit(7)`,
      forged,
    });
    expect(run.outcome).not.toEqual({ kind: 'exited', exit_code: 0 });
  });
});
