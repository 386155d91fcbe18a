/** No file of the image raises privileges, and one that would is useless. */
import { expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const SCAN = `
found, seen = [], 0
for directory, names, files in os.walk('/'):
    if directory in ('/proc', '/sys'):
        names.clear()
        continue
    for name in files:
        path = os.path.join(directory, name)
        try:
            mode = os.lstat(path).st_mode
            seen += 1
            if stat.S_ISREG(mode) and (mode & 0o6000 or 'security.capability' in os.listxattr(path)):
                found.append(path)
        except OSError:
            pass
facts['found'] = found
facts['enough was seen'] = seen > 1000
`;
const PLANT = `
import shutil
os.makedirs('/opt', exist_ok=True)
shutil.copy(os.path.realpath(sys.executable), '/opt/planted')
os.chmod('/opt/planted', 0o4755)
`;
/** What the planted setuid root interpreter gives to an ordinary user. */
const USE = `
command = ['/opt/planted', '-c', 'import os; print(os.geteuid())']
facts['effective uid'] = int(subprocess.run(command, user=10000, capture_output=True, check=True).stdout)
`;

it('E22 the image has no setuid, setgid or capability-carrying file', async () => {
  expect(await sandbox.facts(probe(SCAN))).toEqual({ found: [], 'enough was seen': true });
  const control = await controlFacts(probe(PLANT + SCAN), {
    without: ['read_only_root', 'unprivileged_user', 'no_capabilities'],
  });
  expect(control['found']).toEqual(['/opt/planted']);
});

it('E22 under no-new-privileges a setuid file would change nothing', async () => {
  const planted = { without: ['read_only_root', 'unprivileged_user', 'no_capabilities'] } as const;
  expect(await controlFacts(probe(PLANT + USE), planted)).toEqual({ 'effective uid': 10_000 });
  const control = await controlFacts(probe(PLANT + USE), { without: [...planted.without, 'no_new_privileges'] });
  expect(control).toEqual({ 'effective uid': 0 });
});

it('E22 a setuid bit set on a file of the program is ignored', async () => {
  const own = probe(`
import shutil
shutil.copy(os.path.realpath(sys.executable), '/work/own')
os.chmod('/work/own', 0o6755)
facts['flags'] = os.statvfs('/work').f_flag & (os.ST_NOSUID | os.ST_NODEV)
`);
  expect(await sandbox.facts(own)).toEqual({ flags: 6 });
  expect(await controlFacts(own, { without: ['tmpfs_nodev_nosuid'] })).toEqual({ flags: 0 });
});
