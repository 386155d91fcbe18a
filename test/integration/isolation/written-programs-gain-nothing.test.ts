/**
 * A program may run what it wrote below /work (compiled extensions need that) or
 * in anonymous memory, and not below /tmp or /dev/shm. Whatever it runs has the
 * same rights as itself.
 */
import { expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const RUN_WRITTEN = probe(`
import shutil
python = os.path.realpath(sys.executable)
check = '''
import os, ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(os.getuid(), [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")][0])
libc.unshare(0x10000000)
print(ctypes.get_errno())
'''
def run(path):
    environment = dict(os.environ, PYTHONHOME=sys.prefix)
    return subprocess.run([path, '-c', check], capture_output=True, check=True, env=environment).stdout.decode().split()
for place in ('/work', '/tmp', '/dev/shm'):
    copy = place + '/own-python'
    shutil.copy(python, copy)
    os.chmod(copy, 0o755)
    attempt('run from ' + place, lambda: run(copy))
facts['rights'] = run('/work/own-python')[1:]
facts['own rights'] = [str(os.getuid())] == run('/work/own-python')[:1]
memory = os.memfd_create('own')
os.sendfile(memory, os.open(python, os.O_RDONLY), 0, os.stat(python).st_size)
attempt('run from memory', lambda: run('/proc/%d/fd/%d' % (os.getpid(), memory)))
`);

it('E33 what is written to /work runs, with no more rights; /tmp and /dev/shm hold no programs', async () => {
  const expected = { 'run from /work': 'done', 'run from memory': 'done', 'own rights': true };
  expect(await sandbox.facts(RUN_WRITTEN)).toEqual({
    ...expected,
    'run from /tmp': 'EACCES',
    'run from /dev/shm': 'EACCES',
    rights: ['0000000000000000', '1'],
  });
  const control = await controlFacts(RUN_WRITTEN, { without: ['tmpfs_noexec', 'seccomp'] });
  expect(control).toMatchObject({ ...expected, 'run from /tmp': 'done', rights: ['0000000000000000', '0'] });
});
