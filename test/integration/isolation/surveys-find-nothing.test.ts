/**
 * What the usual tools look for from inside a container (deepce, CDK evaluate,
 * amicontained: E35; the run-time part of CIS Docker section 5: E36), asked by
 * behaviour. The tools themselves are not here; this is their list of questions.
 * Control: the same survey in a careless container finds a good deal.
 */
import { expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const SURVEY = probe(`
import resource, shutil, socket
findings = []
def finding(name, holds):
    if holds:
        findings.append(name)
status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())
mounts = [line.split() for line in open('/proc/self/mountinfo')]
writable = lambda path: os.path.exists(path) and os.access(path, os.W_OK)

finding('E35 runs as root', os.geteuid() == 0)
finding('E35 has capabilities', any(int(status[name], 16) for name in ('CapEff', 'CapPrm', 'CapBnd', 'CapAmb')))
finding('E35 has no seccomp filter', status['Seccomp'].strip() == '0')
finding('E35 can gain privileges', status['NoNewPrivs'].strip() == '0')
finding('E35 can reach a container engine', any(map(os.path.exists, ('/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock', '/run/crio/crio.sock', '/run/podman/podman.sock'))))
finding('E35 can make a user namespace', outcome(lambda: syscall(272, 97, 0x10000000)) == 'done')
finding('E35 has disks in /dev', any(name.startswith(('sd', 'vd', 'nvme', 'dm-', 'loop', 'mem', 'kmsg', 'fuse', 'kvm')) for name in os.listdir('/dev')))
finding('E35 can write release_agent', any(writable(row[4] + '/release_agent') for row in mounts))
finding('E35 can write core_pattern', writable('/proc/sys/kernel/core_pattern'))
finding('E35 can write uevent_helper', writable('/sys/kernel/uevent_helper'))
finding('E35 can write binfmt_misc', writable('/proc/sys/fs/binfmt_misc/register'))
finding('E35 sees processes of the host', os.path.exists('/proc/2/comm') and open('/proc/2/comm').read().strip() == 'kthreadd')
finding('E35 has secrets in its environment', any(word in name.upper() for name in os.environ for word in ('SECRET', 'TOKEN', 'PASSWORD', 'KEY', 'DOCKER', 'AWS', 'KUBERNETES')))
finding('E35 has a service account', os.path.exists('/var/run/secrets'))
finding('E35 has tools to escape with', any(shutil.which(name) for name in ('docker', 'kubectl', 'ctr', 'nsenter-static', 'gdb', 'strace')))
finding('E35 can load modules', outcome(lambda: syscall(175, 105, None, 0, b'')) not in ('EPERM', 'ENOSYS'))

finding('E36 5.3 capabilities are not restricted', int(status['CapBnd'], 16) != 0)
finding('E36 5.4 is privileged', writable('/sys/kernel') or writable('/proc/sysrq-trigger'))
finding('E36 5.5 sensitive host directories are mounted', any(row[3] in ('/', '/etc', '/proc', '/usr', '/var', '/boot', '/lib') and row[row.index('-') + 1] in ('ext4', 'xfs', 'btrfs', 'zfs') for row in mounts))
finding('E36 5.6 an SSH daemon runs', any(open('/proc/%s/comm' % pid).read().startswith('sshd') for pid in os.listdir('/proc') if pid.isdigit()))
finding('E36 5.7 5.8 ports are open', any(line.split()[3] == '0A' for line in open('/proc/net/tcp').read().splitlines()[1:]))
finding('E36 5.9 the network of the host is shared', any(name.startswith(('eth', 'en', 'docker', 'br-', 'wlan')) for _, name in ([] if outcome(socket.if_nameindex) != 'done' else socket.if_nameindex())) or any(line.split(':')[0].strip().startswith(('eth', 'docker', 'br-')) for line in open('/proc/net/dev').read().splitlines()[2:]))
total = int(open('/proc/meminfo').read().split()[1]) * 1024
def limit(*places):
    for place in places:
        if os.path.exists(place):
            text = open(place).read().strip()
            return total if text == 'max' else min(total, int(text))
    return total
finding('E36 5.10 memory is not limited', limit('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes') >= total)
finding('E36 5.12 the root file system can be written', not os.statvfs('/').f_flag & os.ST_RDONLY)
finding('E36 5.15 5.16 5.20 namespaces are shared', os.path.exists('/proc/2/comm') and open('/proc/2/comm').read().strip() == 'kthreadd')
finding('E36 5.17 devices of the host are exposed', any(stat.S_ISBLK(os.lstat('/dev/' + name).st_mode) for name in os.listdir('/dev')))
finding('E36 5.18 core files are not limited', resource.getrlimit(resource.RLIMIT_CORE)[1] != 0)
finding('E36 5.19 mounts are shared', any(field.startswith('shared:') for row in mounts for field in row[6:row.index('-')]))
finding('E36 5.21 the default filter is off', status['Seccomp'].strip() != '2')
finding('E36 5.25 privileges can be gained', status['NoNewPrivs'].strip() != '1')
pids = limit('/sys/fs/cgroup/pids.max', '/sys/fs/cgroup/pids/pids.max')
finding('E36 5.28 processes are not limited', pids > 100_000)
finding('E36 5.31 the engine socket is mounted', any('docker.sock' in row[4] for row in mounts))
facts['findings'] = findings
`);

it('E35 E36 nothing is found in a sandbox', async () => {
  expect((await sandbox.facts(SURVEY))['findings']).toEqual([]);
});

it('E35 E36 control: a careless container is found out', async () => {
  const control = await controlFacts(SURVEY, {
    without: [
      'seccomp',
      'no_new_privileges',
      'no_capabilities',
      'unprivileged_user',
      'read_only_root',
      'masked_paths',
      'process_limit',
      'no_core_files',
    ],
    network: 'bridge',
    binds: ['/var/run/docker.sock:/var/run/docker.sock:ro'],
    environment: ['API_TOKEN=x'],
  });
  expect(control['findings']).toEqual(
    expect.arrayContaining([
      'E35 runs as root',
      'E35 has capabilities',
      'E35 has no seccomp filter',
      'E35 can gain privileges',
      'E35 can reach a container engine',
      'E35 can make a user namespace',
      'E35 has secrets in its environment',
      'E36 5.9 the network of the host is shared',
      'E36 5.12 the root file system can be written',
      'E36 5.18 core files are not limited',
      'E36 5.21 the default filter is off',
      'E36 5.28 processes are not limited',
      'E36 5.31 the engine socket is mounted',
    ]),
  );
});
