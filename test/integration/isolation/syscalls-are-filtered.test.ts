/**
 * The kernel interfaces an escape starts with are closed by the seccomp profile.
 * Control: the same calls without the filter (and, where the kernel asks for
 * privilege as well, without that guard too) are taken by the kernel.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { controlFacts, runControl } from '../../support/isolation-control.ts';
import { probe, type Facts } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';
import { SYSCALL_ATTEMPTS, SYSCALLS_PROBE } from '../../support/isolation-syscalls.ts';

const sandbox = sandboxForFile();

describe('system calls', () => {
  let inside: Facts;
  let withoutFilter: Facts;
  let withPrivilege: Facts;

  beforeAll(async () => {
    inside = await sandbox.facts(SYSCALLS_PROBE);
    withoutFilter = await controlFacts(SYSCALLS_PROBE, { without: ['seccomp'] });
    withPrivilege = await controlFacts(SYSCALLS_PROBE, {
      without: ['seccomp', 'no_capabilities', 'unprivileged_user'],
    });
  });

  it.for(SYSCALL_ATTEMPTS)('$id $name is refused', ({ name, without }, { skip }) => {
    expect(inside[name]).toMatch(/^(EPERM|ENOSYS)$/);
    const control = without.length === 1 ? withoutFilter[name] : withPrivilege[name];
    skip(control === 'ENOSYS', `this kernel has no ${name}, so there is no control`);
    expect(control, 'the control must get past the permission check').not.toMatch(/^EPERM$/);
  });
});

describe('E09 another process', () => {
  const tamper = probe(`
victim = os.fork()
if victim == 0:
    time.sleep(30)
class Iovec(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
secret = ctypes.create_string_buffer(b'in the memory of the child', 64)
copied = ctypes.create_string_buffer(64)
local = Iovec(ctypes.addressof(copied), 64)
remote = Iovec(ctypes.addressof(secret), 64)
attempt('process_vm_readv', lambda: syscall(310, 270, victim, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0))
attempt('process_vm_writev', lambda: syscall(311, 271, victim, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0))
attempt('ptrace ATTACH', lambda: syscall(101, 117, 16, victim, None, None))
os.kill(victim, signal.SIGKILL)
`);

  it('E09 the memory of a child cannot be read or written by system call', async () => {
    const refused = { process_vm_readv: 'EPERM', process_vm_writev: 'EPERM', 'ptrace ATTACH': 'EPERM' };
    expect(await sandbox.facts(tamper)).toEqual(refused);
    const allowed = { process_vm_readv: 'done', process_vm_writev: 'done', 'ptrace ATTACH': 'done' };
    expect(await controlFacts(tamper, { without: ['seccomp'] })).toEqual(allowed);
  });
});

describe('the filter binds whatever runs', () => {
  const makeNamespace = probe(`attempt('unshare', lambda: syscall(272, 97, 0x10000000))`);

  it('E32 a sitecustomize module of the project runs under it', async () => {
    const files = { 'main.py': '', 'sitecustomize.py': makeNamespace };
    const facts = await sandbox.facts(files, { environment: { PYTHONPATH: '/work' } });
    expect(facts).toEqual({ unshare: 'EPERM' });
    expect(await controlFacts(makeNamespace, { without: ['seccomp'] })).toEqual({ unshare: 'done' });
  });

  it('E32 commands before the program run under it', async () => {
    const execution = await sandbox.run(
      { 'main.py': 'pass', 'early.py': makeNamespace },
      { preCommands: ['python3 early.py', 'grep -E "^(Seccomp|NoNewPrivs|CapEff|CapBnd):" /proc/self/status'] },
    );
    expect(execution.stdout?.split(/\s+/)).toEqual(expect.arrayContaining(['"EPERM"}', '2', '1', '0000000000000000']));
    expect(execution.stdout).toMatch(/Seccomp:\t2/);
    const control = await runControl('print(open("/proc/self/status").read())', { without: ['seccomp'] });
    expect(control.stdout).toMatch(/Seccomp:\t0/);
  });
});
