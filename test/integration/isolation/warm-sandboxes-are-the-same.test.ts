/**
 * A sandbox that waited warm for its run is as closed as one made for it, is used
 * once, and takes the limits of the run that gets it.
 */
import { expect, it } from 'vitest';
import { probe } from '../../support/isolation-probe.ts';
import { docker, sandboxForFile } from '../../support/isolation-sandbox.ts';
import { SYSCALL_ATTEMPTS, SYSCALLS_PROBE } from '../../support/isolation-syscalls.ts';

const cold = sandboxForFile();
const warm = sandboxForFile({ PYEXEC_POOL_SIZE: '2' });

const STATE = probe(`
import resource
status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())
for name in ('CapEff', 'CapPrm', 'CapBnd', 'NoNewPrivs', 'Seccomp', 'SigBlk', 'SigIgn', 'SigCgt', 'Umask'):
    facts[name] = status[name].strip()
facts['environment'] = sorted(os.environ)
facts['descriptors'] = sorted(os.listdir('/proc/self/fd'))
facts['files'] = {place: sorted(os.listdir(place)) for place in ('/work', '/tmp', '/dev/shm')}
facts['processes'] = len([name for name in os.listdir('/proc') if name.isdigit()])
facts['directory'] = os.getcwd()
facts['root'] = outcome(lambda: opened('/etc/probe', os.O_CREAT | os.O_WRONLY))
facts['environ of PID 1'] = outcome(lambda: opened('/proc/1/environ'))
facts['descriptor of PID 1'] = outcome(lambda: opened('/proc/1/fd/1', os.O_WRONLY))
facts['limits'] = [resource.getrlimit(which) for which in (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)]
facts['routes'] = open('/proc/net/route').read().count('\\n')
`);

it('E01 E12 E17 E19 E20 E23 a warm sandbox looks from inside like a cold one', async () => {
  expect(await warm.facts(STATE)).toEqual(await cold.facts(STATE));
});

it('E03 E11 E28 the filter is the same', async () => {
  const facts = await warm.facts(SYSCALLS_PROBE);
  for (const { name } of SYSCALL_ATTEMPTS) expect.soft(facts[name], name).toMatch(/^(EPERM|ENOSYS)$/);
});

it('L11 every run meets a container of its own', async () => {
  const mark = `import os; print(os.path.exists('/tmp/mark')); open('/tmp/mark', 'w').close()`;
  const runs = [await warm.run(mark), await warm.run(mark), await warm.run(mark), await warm.run(mark)];
  expect(runs.map(({ stdout }) => stdout)).toEqual(Array.from({ length: 4 }, () => 'False\n'));
});

it('L02 L05 L16 the limits are those of the run, not those it waited with', async () => {
  const limits = { memory_bytes: 64 << 20, pids: 20, open_files: 64 };
  const hog = await warm.run('x = bytearray(100 << 20); x[::4096] = b"x" * len(x[::4096])', { limits });
  expect(hog.outcome).toMatchObject({ kind: 'out_of_memory', limit_bytes: limits.memory_bytes });
  const facts = await warm.facts(
    probe(`
made = []
while outcome(lambda: made.append(os.fork()) or (made[-1] or time.sleep(20))) == 'done': pass
facts['processes'] = len(made)
files = []
while outcome(lambda: files.append(os.open('/dev/null', 0))) == 'done': pass
facts['files'] = len(files)
for pid in made: os.kill(pid, 9)
`),
    { limits },
  );
  expect(facts['processes']).toBeLessThan(limits.pids);
  expect(facts['files']).toBeLessThan(limits.open_files);
});

it('E29 sandboxes that wait have different users and no network', async () => {
  const waiting = await docker.listContainers({ filters: { status: ['running'], label: ['pyexec.instance'] } });
  expect(waiting.length).toBeGreaterThan(0);
  const uids = await Promise.all([0, 1, 2].map(() => warm.run('import os, time; time.sleep(0.5); print(os.getuid())')));
  expect(new Set(uids.map(({ stdout }) => stdout)).size).toBe(3);
});
