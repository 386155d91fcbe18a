/**
 * The program has no capability, cannot get one, and is nobody on the host.
 * Control: the same questions without each guard are answered differently.
 */
import { describe, expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const STATUS = probe(`
status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())
for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp'):
    facts[name] = int(status[name], 16)
facts['uids'] = sorted(set(map(int, status['Uid'].split())))
facts['gids'] = sorted(set(map(int, status['Gid'].split() + status['Groups'].split())))
`);

const PRIVILEGED_ACTS = probe(`
attempt('setuid 0', lambda: os.setuid(0))
attempt('setgid 0', lambda: os.setgid(0))
attempt('setgroups', lambda: os.setgroups([0]))
open('/work/file', 'w').close()
attempt('give a file away', lambda: os.chown('/work/file', 1, 1))
attempt('raise the file limit', lambda: __import__('resource').setrlimit(7, (10**6, 10**6)))
attempt('real-time priority', lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
attempt('raise priority', lambda: os.setpriority(os.PRIO_PROCESS, 0, -10))
`);

describe('E01 E02 who the program is', () => {
  it('E01 no capability in any set', async () => {
    const none = { CapInh: 0, CapPrm: 0, CapEff: 0, CapBnd: 0, CapAmb: 0 };
    expect(await sandbox.facts(STATUS)).toMatchObject(none);
    const control = await controlFacts(STATUS, { without: ['no_capabilities', 'unprivileged_user'] });
    expect(control['CapEff']).not.toBe(0);
    expect(control['CapBnd']).not.toBe(0);
  });

  it('E02 no new privileges, a filter, and an unprivileged user without groups of the host', async () => {
    const facts = await sandbox.facts(STATUS);
    expect(facts).toMatchObject({ NoNewPrivs: 1, Seccomp: 2 });
    expect(facts['uids']).toEqual([expect.toSatisfy((uid: number) => uid >= 10_000)]);
    expect(facts['gids']).toEqual(facts['uids']);
    const control = await controlFacts(STATUS, { without: ['no_new_privileges', 'seccomp', 'unprivileged_user'] });
    expect(control).toMatchObject({ NoNewPrivs: 0, Seccomp: 0, uids: [0] });
  });

  it('E01 E02 every way the program is started, and its children, are the same', async () => {
    const files = {
      'main.py': `import subprocess, sys\nsubprocess.run([sys.executable, 'status.py'])`,
      'status.py': STATUS,
    };
    const forked = await sandbox.facts(STATUS);
    expect(await sandbox.facts(files)).toMatchObject({ CapBnd: 0, NoNewPrivs: 1, Seccomp: 2 });
    expect(await sandbox.facts(files, { entryPoint: { kind: 'module', name: 'status' } })).toMatchObject({
      ...forked,
      uids: expect.anything() as unknown,
      gids: expect.anything() as unknown,
    });
  });

  it('E01 acts that need a capability fail', async () => {
    const facts = await sandbox.facts(PRIVILEGED_ACTS);
    expect(facts).toEqual({
      'setuid 0': 'EPERM',
      'setgid 0': 'EPERM',
      setgroups: 'EPERM',
      'give a file away': 'EPERM',
      'raise the file limit': 'ValueError',
      'real-time priority': 'EPERM',
      'raise priority': expect.stringMatching(/^E(PERM|ACCES)$/) as string,
    });
    const control = await controlFacts(PRIVILEGED_ACTS, { without: ['no_capabilities', 'unprivileged_user'] });
    expect(control).toMatchObject({ 'setuid 0': 'done', 'setgid 0': 'done' });
    const keptUser = await controlFacts(`${PRIVILEGED_ACTS.replace("attempt('setuid 0', lambda: os.setuid(0))", '')}`, {
      without: ['no_capabilities', 'unprivileged_user'],
    });
    expect(keptUser).toMatchObject({ setgroups: 'done', 'give a file away': 'done' });
  });
});
