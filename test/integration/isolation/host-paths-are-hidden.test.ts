/**
 * A sandbox has no socket of the host, no mount of it, and sees no process but its
 * own. What it can learn is what Docker writes into mountinfo, and no more.
 */
import { expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const instance = 'a-telling-name-of-the-server';
const sandbox = sandboxForFile();

const SOCKETS = probe(`
found = []
for directory, names, files in os.walk('/'):
    if directory == '/proc':
        names.clear()
        continue
    for name in files:
        path = os.path.join(directory, name)
        try:
            if stat.S_ISSOCK(os.stat(path).st_mode):
                found.append(path)
        except OSError:
            pass
facts['sockets'] = found
facts['docker'] = [path for path in ('/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock')
                   if os.path.exists(path)]
`);

const MOUNTS = probe(`
mounts = []
for line in open('/proc/self/mountinfo'):
    fields = line.split()
    end = fields.index('-')
    mounts.append({'root': fields[3], 'at': fields[4], 'type': fields[end + 1]})
facts['mounts'] = mounts
facts['text'] = open('/proc/self/mountinfo').read()
`);

const PROCESSES = probe(`
facts['processes'] = sorted(int(name) for name in os.listdir('/proc') if name.isdigit())
facts['me'] = os.getpid()
`);

it('E16 no socket of Docker, containerd or anything else is in reach', async () => {
  expect(await sandbox.facts(SOCKETS)).toEqual({ sockets: [], docker: [] });
  const control = await controlFacts(SOCKETS, {
    without: [],
    binds: ['/var/run/docker.sock:/var/run/docker.sock:ro'],
  });
  expect(control['sockets']).toEqual([expect.stringContaining('docker.sock')]);
});

it('E21 nothing of the host is mounted but the files Docker writes for every container', async () => {
  const facts = await sandbox.facts(MOUNTS);
  const mounts = facts['mounts'] as { root: string; at: string; type: string }[];
  const kernel = new Set(['overlay', 'proc', 'tmpfs', 'devpts', 'sysfs', 'cgroup', 'cgroup2', 'mqueue']);
  const fromHost = mounts.filter(({ type }) => !kernel.has(type)).map(({ at }) => at);
  expect(['/etc/hostname', '/etc/hosts', '/etc/resolv.conf']).toEqual(expect.arrayContaining(fromHost));

  const control = await controlFacts(MOUNTS, { without: [], binds: ['/usr/share:/mnt:ro'] });
  expect((control['mounts'] as { at: string }[]).map(({ at }) => at)).toContain('/mnt');
});

it('E21 mountinfo names Docker’s directory and the container, and nothing of the service', async () => {
  const text = String((await sandbox.facts(MOUNTS))['text']);
  expect(text).not.toContain(instance);
  expect(text).not.toContain(process.cwd());
  const containers = new Set(text.match(/\b[0-9a-f]{64}\b/g));
  // Its own id and that of its own layer; anything else would be a neighbour's.
  expect(containers.size).toBeLessThanOrEqual(2);
});

it('E20 only its own processes can be seen', async () => {
  const facts = await sandbox.facts(PROCESSES);
  expect(facts['processes']).toEqual([1, facts['me']]);
  const control = await controlFacts(PROCESSES, { without: ['process_namespace'] });
  expect((control['processes'] as number[]).length).toBeGreaterThan(10);
  expect(control['me']).not.toBe(1);
});
