/** /dev holds what every program expects and nothing of the machine, and no device can be added to it. */
import { describe, expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const LIST = probe(`
devices = []
for directory, names, files in os.walk('/dev'):
    for name in names + files:
        path = os.path.join(directory, name)
        mode = os.lstat(path).st_mode
        if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
            devices.append(path)
facts['devices'] = sorted(devices)
`);

const MAKE = probe(`
attempt('character device', lambda: os.mknod('/work/zero', 0o666 | stat.S_IFCHR, os.makedev(1, 5)))
attempt('block device', lambda: os.mknod('/work/disk', 0o666 | stat.S_IFBLK, os.makedev(8, 0)))
attempt('whiteout', lambda: os.mknod('/work/whiteout', 0o666 | stat.S_IFCHR, 0))
attempt('fifo', lambda: os.mkfifo('/work/fifo'))
facts['flags of /work'] = os.statvfs('/work').f_flag & os.ST_NODEV
facts['flags of /tmp'] = os.statvfs('/tmp').f_flag & os.ST_NODEV
if os.path.exists('/work/zero'):
    attempt('open the character device', lambda: opened('/work/zero'))
`);

const REPLACE = probe(`
for name in ('null', 'full', 'pts/ptmx', 'stdin'):
    path = '/dev/' + name
    attempt('remove ' + name, lambda: os.unlink(path))
attempt('rename zero', lambda: os.rename('/dev/zero', '/dev/zero2'))
attempt('chmod random', lambda: os.chmod('/dev/random', 0o600))
attempt('create console', lambda: os.symlink('/proc/sys/kernel/core_pattern', '/dev/console'))
attempt('create in /dev', lambda: opened('/dev/probe', os.O_WRONLY | os.O_CREAT))
`);

describe('devices', () => {
  it('E26 only the harmless ones are there', async () => {
    const { devices } = await sandbox.facts(LIST);
    const harmless = ['full', 'null', 'pts/ptmx', 'random', 'tty', 'urandom', 'zero'].map((name) => `/dev/${name}`);
    expect(devices).toEqual(harmless);
  });

  it('E26 none can be made', async () => {
    const made = { 'character device': 'EPERM', 'block device': 'EPERM', whiteout: 'EPERM', fifo: 'done' };
    expect(await sandbox.facts(MAKE)).toEqual({ ...made, 'flags of /work': 4, 'flags of /tmp': 4 });

    const withPrivilege = { without: ['seccomp', 'no_capabilities', 'unprivileged_user'] } as const;
    const control = await controlFacts(MAKE, withPrivilege);
    expect(control).toMatchObject({
      'character device': 'done',
      'block device': 'done',
      'open the character device': 'EACCES',
    });
    const withDevices = await controlFacts(MAKE, { without: [...withPrivilege.without, 'tmpfs_nodev_nosuid'] });
    expect(withDevices).toMatchObject({ 'open the character device': 'done' });
  });

  it('E27 none can be removed or replaced', async () => {
    const facts = await sandbox.facts(REPLACE);
    for (const [what, outcome] of Object.entries(facts))
      expect.soft(outcome, what).toMatch(/^(EPERM|EACCES|EROFS|EBUSY)$/);
    const control = await controlFacts(REPLACE, { without: ['unprivileged_user', 'no_capabilities'] });
    expect(control).toMatchObject({ 'remove full': 'done', 'rename zero': 'done', 'create in /dev': 'done' });
  });
});
