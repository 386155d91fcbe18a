/**
 * The supervisor is PID 1 and has the same uid as the program. The program can
 * still neither read its memory, environment or descriptors, nor write the frames
 * it speaks to the host with. Control: a PID 1 that has not made itself
 * non-dumpable, under the same uid, is open to the same probe.
 */
import { describe, expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

/** In the control the probe is PID 1 itself, and goes on in a child. */
const AS_A_CHILD = `
import os
if os.getpid() == 1 and os.fork():
    os.wait()
    os._exit(0)
`;

const REACH = `${AS_A_CHILD}${probe(`
facts['same uid'] = os.stat('/proc/self').st_uid == os.getuid() and os.getppid() == 1
for name in ('environ', 'auxv', 'maps', 'mem', 'io', 'syscall', 'stack', 'pagemap'):
    path = '/proc/1/' + name
    if os.path.exists(path):
        attempt('read ' + name, lambda: open(path, 'rb').close() if name == 'mem' else open(path, 'rb').read(1))
attempt('write mem', lambda: opened('/proc/1/mem', os.O_RDWR))
attempt('list descriptors', lambda: os.listdir('/proc/1/fd'))
for number in range(12):
    attempt('open descriptor %d' % number, lambda: opened('/proc/1/fd/%d' % number, os.O_RDWR | os.O_NONBLOCK))
attempt('follow root', lambda: os.listdir('/proc/1/root/'))
attempt('follow cwd', lambda: os.listdir('/proc/1/cwd/'))
attempt('follow exe', lambda: os.readlink('/proc/1/exe'))
attempt('list maps', lambda: os.listdir('/proc/1/map_files'))
attempt('namespace', lambda: os.readlink('/proc/1/ns/mnt'))
attempt('oom_score_adj', lambda: open('/proc/1/oom_score_adj', 'w').write('1000'))
attempt('ptrace seize', lambda: syscall(101, 117, 0x4206, 1, None, None))
attempt('process_vm_readv', lambda: syscall(310, 270, 1, ctypes.create_string_buffer(16), 1, ctypes.create_string_buffer(16), 1, 0))
attempt('pidfd_getfd', lambda: syscall(438, 438, os.pidfd_open(1), 1, 0))
`)}`;

describe('E20 the supervisor', () => {
  it('E20 E09 cannot be read, written, followed or traced', async () => {
    const { 'same uid': sameUid, ...facts } = await sandbox.facts(REACH);
    expect(sameUid).toBe(true);
    expect(Object.keys(facts).length).toBeGreaterThan(25);
    for (const [what, outcome] of Object.entries(facts)) expect.soft(outcome, what).toMatch(/^(EACCES|EPERM|ENOENT)$/);
  });

  it('E20 control: a process that is dumpable, without the filter, can be', async () => {
    const control = await controlFacts(REACH, { without: ['seccomp'] });
    expect(control).toMatchObject({
      'same uid': true,
      'read environ': 'done',
      'read mem': 'done',
      'write mem': 'done',
      'list descriptors': 'done',
      'open descriptor 1': 'done',
      'follow root': 'done',
      'follow exe': 'done',
      'ptrace seize': 'done',
      pidfd_getfd: 'done',
    });
  });

  it('E20 E09 the filter alone closes ptrace and its relatives, whatever PID 1 is', async () => {
    const control = await controlFacts(REACH, { without: [] });
    expect(control).toMatchObject({ 'ptrace seize': 'EPERM', pidfd_getfd: 'EPERM' });
  });

  it('E20 its limits cannot be changed by the program', async () => {
    const run = await sandbox.run(`
import os, resource, sys
def lower(name):
    try:
        resource.prlimit(1, getattr(resource, name), (0, 0))
    except PermissionError:
        return 'refused'
    return 'lowered'
print([lower(name) for name in ('RLIMIT_NOFILE', 'RLIMIT_DATA', 'RLIMIT_AS', 'RLIMIT_CPU', 'RLIMIT_STACK')])
sys.stdout.flush()
for _ in range(100):
    os.write(1, b'x' * 1000)
sys.exit(7)
`);
    expect(run).toMatchObject({
      outcome: { kind: 'exited', exit_code: 7 },
      stdout: expect.stringContaining("['refused', ") as string,
    });
  });

  it('E20 control: a limit of a PID 1 that nothing protects can be changed', async () => {
    const lower = `${AS_A_CHILD}${probe(`
import resource
attempt('prlimit', lambda: resource.prlimit(1, resource.RLIMIT_CORE, (0, 0)))
`)}`;
    expect(await controlFacts(lower, { without: ['seccomp'] })).toEqual({ prlimit: 'done' });
  });
});
