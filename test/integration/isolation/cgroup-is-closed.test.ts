/**
 * The program cannot change its limits, make control groups of its own, or use
 * release_agent, the classic way from a cgroup to root on the host.
 */
import { expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const CGROUP = probe(`
def remount(path):
    if libc.mount(None, path.encode(), None, 32 | 0x1000, None) and libc.mount(None, path.encode(), None, 32, None):
        raise OSError(ctypes.get_errno(), path)
roots = [line.split()[4] for line in open('/proc/self/mountinfo') if ' - cgroup' in line]
outcomes = {}
def note(what, action):
    outcomes.setdefault(what, set()).add(outcome(action))
for root in roots:
    note('remount', lambda: remount(root))
    note('make a group', lambda: (os.mkdir(root + '/probe'), os.rmdir(root + '/probe')))
    for name in ('cgroup.procs', 'tasks', 'notify_on_release', 'release_agent', 'memory.limit_in_bytes', 'memory.max',
                 'pids.max', 'cpu.max', 'cpu.cfs_quota_us', 'devices.allow', 'cgroup.subtree_control'):
        path = os.path.join(root, name)
        if os.path.exists(path):
            note('open a control file', lambda: opened(path, os.O_WRONLY))
attempt('mount another cgroup file system', lambda: syscall(165, 40, b'none', b'/tmp', b'cgroup2', 0, None))
for what, seen in outcomes.items():
    facts[what] = sorted(seen)
facts['own group'] = sorted({line.strip().split(':')[2] for line in open('/proc/self/cgroup')})
`);

it('E15 control groups can be neither remounted, made nor written', async () => {
  const facts = await sandbox.facts(CGROUP);
  expect(facts['remount']).toEqual(['EPERM']);
  expect(facts['make a group']).toEqual([expect.stringMatching(/^(EROFS|EACCES)$/)]);
  for (const outcome of facts['open a control file'] as string[]) expect(outcome).toMatch(/^(EROFS|EACCES)$/);
  expect(facts['mount another cgroup file system']).toBe('EPERM');

  const control = await controlFacts(CGROUP, { without: ['seccomp', 'no_capabilities', 'unprivileged_user'] });
  expect(control['remount']).toContain('done');
  expect(control['make a group']).toContain('done');
  expect(control['open a control file']).toContain('done');
});

it('E15 E21 the program sees its own group as the root of all', async () => {
  expect((await sandbox.facts(CGROUP))['own group']).toEqual(['/']);
});
