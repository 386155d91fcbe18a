/**
 * A program writes to /work, /tmp and /dev/shm and to nothing else: no file of the
 * image, no kernel setting. Control: without the read-only root or the read-only
 * /proc, and as root, the same files open for writing.
 */
import { describe, expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const CREATE = probe(`
import sysconfig
places = ['/', '/etc', '/lib', '/usr', '/usr/bin', '/home', '/root', '/opt', '/var', '/var/tmp', '/run', '/bin',
          sysconfig.get_paths()['purelib'], sysconfig.get_paths()['stdlib']]
for place in places:
    if os.path.isdir(place):
        path = os.path.join(place, 'pyexec-probe' + place.replace('/', '-'))
        attempt('create in ' + place, lambda: opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
attempt('open the interpreter', lambda: opened(os.path.realpath(sys.executable), os.O_WRONLY))
attempt('open /proc/self/exe', lambda: opened('/proc/self/exe', os.O_WRONLY))
attempt('open a standard module', lambda: opened(os.__file__, os.O_WRONLY))
attempt('remove a standard module', lambda: os.unlink(os.__file__))
attempt('chmod', lambda: os.chmod('/etc/passwd', 0o666))
attempt('link', lambda: os.link('/etc/passwd', '/etc/pyexec-link'))
`);

const SETTINGS = probe(`
attempt('core_pattern', lambda: opened('/proc/sys/kernel/core_pattern', os.O_WRONLY))
attempt('modprobe', lambda: opened('/proc/sys/kernel/modprobe', os.O_WRONLY))
attempt('hostname', lambda: opened('/proc/sys/kernel/hostname', os.O_WRONLY))
attempt('sysrq-trigger', lambda: opened('/proc/sysrq-trigger', os.O_WRONLY))
attempt('irq', lambda: opened('/proc/irq/default_smp_affinity', os.O_WRONLY))
writable = []
for directory, names, files in os.walk('/proc/sys'):
    for name in files:
        path = os.path.join(directory, name)
        if outcome(lambda: opened(path, os.O_WRONLY | os.O_NONBLOCK)) == 'done':
            writable.append(path)
facts['writable below /proc/sys'] = len(writable)
for directory in ('/proc/bus', '/proc/fs', '/proc/irq'):
    if os.path.isdir(directory):
        facts[directory] = os.access(directory, os.W_OK)
`);

const WRITABLE = probe(`
writable = []
for line in open('/proc/self/mountinfo'):
    place = line.split()[4]
    if os.path.isdir(place) and outcome(lambda: (os.mkdir(place + '/probe'), os.rmdir(place + '/probe'))) == 'done':
        writable.append(place)
facts['writable'] = sorted(writable)
`);

describe('the root file system', () => {
  it('E12 E27 nothing of the image can be created, changed or removed', async () => {
    const facts = await sandbox.facts(CREATE);
    expect(Object.keys(facts).length).toBeGreaterThan(12);
    for (const [what, outcome] of Object.entries(facts)) expect.soft(outcome, what).toMatch(/^(EROFS|EACCES|ETXTBSY)$/);

    const control = await controlFacts(CREATE, {
      without: ['read_only_root', 'unprivileged_user', 'no_capabilities'],
    });
    for (const [what, outcome] of Object.entries(control)) {
      expect.soft(outcome, `control: ${what}`).toMatch(/interpreter|\/exe/.test(what) ? /ETXTBSY/ : /^done$/);
    }
  });

  it('E12 being its owner would not help: the mount is read-only', async () => {
    const control = await controlFacts(CREATE, { without: ['unprivileged_user', 'no_capabilities'] });
    for (const [what, outcome] of Object.entries(control)) {
      if (what !== 'create in /dev') expect.soft(outcome, what).toMatch(/^(EROFS|ETXTBSY|EXDEV)$/);
    }
  });

  it('E12 only /work, /tmp and /dev/shm can be written', async () => {
    expect(await sandbox.facts(WRITABLE)).toEqual({ writable: ['/dev/shm', '/tmp', '/work'] });
    const control = await controlFacts(WRITABLE, {
      without: ['read_only_root', 'unprivileged_user', 'no_capabilities'],
    });
    expect(control['writable']).toEqual(expect.arrayContaining(['/', '/dev']));
  });
});

describe('kernel settings', () => {
  it('E13 cannot be opened for writing', async () => {
    const facts = await sandbox.facts(SETTINGS);
    for (const name of ['core_pattern', 'modprobe', 'hostname', 'sysrq-trigger', 'irq']) {
      expect.soft(facts[name], name).toMatch(/^(EROFS|EACCES|ENOENT)$/);
    }
    expect(facts).toMatchObject({ 'writable below /proc/sys': 0, '/proc/bus': false, '/proc/irq': false });

    const control = await controlFacts(SETTINGS, { without: ['masked_paths', 'unprivileged_user', 'no_capabilities'] });
    expect(control).toMatchObject({ core_pattern: 'done', hostname: 'done', irq: 'done' });
    expect(control['writable below /proc/sys']).toBeGreaterThan(50);
  });
});
