/**
 * Two runs at one time share no user, no IPC object, no keyring, no lock and no file.
 * Control: containers with one uid, without the filter, do find each other's key.
 */
import { describe, expect, it } from 'vitest';
import { controlFacts, startControl } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const USER_KEYRING = -4;
const LEAVE_KEY = probe(`
attempt('add', lambda: syscall(248, 217, b'user', b'pyexec-meeting', b'hello', 5, ${String(USER_KEYRING)}))
print('left', flush=True)
time.sleep(float(os.environ.get('STAY', '0')))
`);
const FIND_KEY = probe(`
attempt('find', lambda: syscall(250, 219, 10, ${String(USER_KEYRING)}, b'user', b'pyexec-meeting', 0))
`);

describe('E29 two runs at one time', () => {
  it('E29 have different users', async () => {
    const uids = await Promise.all(
      Array.from({ length: 4 }, () => sandbox.run('import os, time; time.sleep(1); print(os.getuid())')),
    );
    const seen = uids.map(({ stdout }) => Number(stdout));
    expect(new Set(seen).size).toBe(4);
    expect(Math.min(...seen)).toBeGreaterThanOrEqual(10_000);
    expect(Math.max(...seen)).toBeLessThan(10_000 + 4 + 8);
  });

  it('E29 every one of these users has a name and a home', async () => {
    const run = await sandbox.run(
      'import getpass, os, pwd; print(getpass.getuser() == pwd.getpwuid(os.getuid()).pw_name, os.path.expanduser("~"))',
    );
    expect(run.stdout).toBe('True /work\n');
  });

  it('E29 do not meet in a keyring', async () => {
    expect(await sandbox.facts(LEAVE_KEY)).toEqual({ add: 'EPERM' });
    expect(await sandbox.facts(FIND_KEY)).toEqual({ find: 'EPERM' });

    const options = { without: ['seccomp'], uid: 19_321 } as const;
    const first = await startControl(LEAVE_KEY, { ...options, environment: ['STAY=20'] });
    try {
      await first.printed('left');
      expect(await controlFacts(FIND_KEY, options), 'same uid').toEqual({ find: 'done' });
      expect(await controlFacts(FIND_KEY, { ...options, uid: 19_322 }), 'a uid of its own').toEqual({ find: 'ENOKEY' });
    } finally {
      await first.remove();
    }
  });

  it('E29 do not meet in System V or POSIX IPC', async () => {
    const leave = probe(`
attempt('leave', lambda: syscall(68, 186, 4711, 0o1600 | 0o666))
attempt('queue', lambda: opened('/dev/mqueue/pyexec-meeting', os.O_RDWR | os.O_CREAT))
print('left', flush=True)
time.sleep(float(os.environ.get('STAY', '0')))
`);
    const find = probe(`
attempt('find', lambda: syscall(68, 186, 4711, 0))
facts['queues'] = os.listdir('/dev/mqueue')
`);
    expect(await sandbox.facts(leave)).toMatchObject({ leave: 'EPERM' });
    expect(await sandbox.facts(find)).toEqual({ find: 'EPERM', queues: [] });

    const options = { without: ['seccomp'] } as const;
    const first = await startControl(leave, { ...options, ipc: 'shareable', environment: ['STAY=20'] });
    try {
      await first.printed('left');
      expect(await controlFacts(find, { ...options, ipc: `container:${first.id}` })).toMatchObject({ find: 'done' });
      expect(await controlFacts(find, options), 'an IPC namespace of its own').toMatchObject({ find: 'ENOENT' });
    } finally {
      await first.remove();
    }
  });

  it('E29 do not meet in the list of locks, where open file descriptions have no owner', async () => {
    const leave = probe(`
import fcntl, struct
F_OFD_SETLK = 37
held = open('/tmp/held', 'w')
fcntl.fcntl(held, F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, os.SEEK_SET, 471147114711, 1, 0))
print('left', flush=True)
time.sleep(float(os.environ.get('STAY', '0')))
`);
    const find = probe(`
try:
    facts['found'] = '471147114711' in open('/proc/locks').read()
except OSError:
    facts['found'] = False
`);
    const first = await startControl(leave, { without: [], environment: ['STAY=20'] });
    try {
      await first.printed('left');
      expect(await sandbox.facts(find)).toEqual({ found: false });
      expect(await controlFacts(find, { without: ['masked_paths'] })).toEqual({ found: true });
    } finally {
      await first.remove();
    }
  });

  it('E29 cannot signal each other', async () => {
    const [victim, attacker] = await Promise.all([
      sandbox.run('import time; time.sleep(2); print("unharmed")'),
      sandbox.run(
        'import os\nfor pid in range(2, 5000):\n  if pid != os.getpid():\n    try: os.kill(pid, 9); print("hit")\n    except ProcessLookupError: pass',
      ),
    ]);
    expect(victim).toMatchObject({ stdout: 'unharmed\n', exit_code: 0 });
    expect(attacker).toMatchObject({ stdout: '', exit_code: 0 });
  });
});
