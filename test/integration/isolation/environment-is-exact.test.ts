/**
 * The environment of a program is a short list of ours and what its request asked
 * for: nothing of the service, the daemon or the host.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { threadCounts } from '../../../src/policy/thread-counts.ts';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();
const SECRET = 'a secret of the service';

const ENVIRONMENT = probe(`
facts['names'] = sorted(os.environ)
initial = open('/proc/self/environ', 'rb').read().decode().split('\\0')
facts['initial names'] = sorted(entry.split('=')[0] for entry in initial if entry)
facts['HOME'] = os.environ.get('HOME')
facts['secret'] = ${JSON.stringify(SECRET)} in ''.join(os.environ.values()) + ''.join(initial)
`);

const OURS = [
  ...['HOME', 'LANG', 'MPLCONFIGDIR', 'PATH', 'PYTHONUNBUFFERED', 'USER', 'XDG_CACHE_HOME'],
  ...Object.keys(threadCounts(1)),
].sort();

describe('environment', () => {
  beforeAll(() => {
    for (const name of ['DOCKER_HOST', 'HTTPS_PROXY', 'PYEXEC_TEST_SECRET']) process.env[name] = SECRET;
  });
  afterAll(() => {
    for (const name of ['DOCKER_HOST', 'HTTPS_PROXY', 'PYEXEC_TEST_SECRET']) delete process.env[name];
  });

  it('E19 holds exactly what we set', async () => {
    const facts = await sandbox.facts(ENVIRONMENT);
    expect(facts).toMatchObject({ names: OURS, HOME: '/work', secret: false });
    // The container's own first environment has a host name, which is the same for every sandbox.
    expect((facts['initial names'] as string[]).filter((name) => !OURS.includes(name) && name !== 'HOSTNAME')).toEqual(
      [],
    );
    const control = await controlFacts(ENVIRONMENT, { without: [], environment: [`LEAK=${SECRET}`] });
    expect(control).toMatchObject({ secret: true });
  });

  it('E19 holds what the request asked for besides', async () => {
    const facts = await sandbox.facts(ENVIRONMENT, { environment: { OWN: 'x' } });
    expect(facts['names']).toEqual([...OURS, 'OWN'].sort());
  });

  it('E19 the host name says nothing', async () => {
    const name = await sandbox.run('import socket; print(socket.gethostname())');
    expect(name.stdout).toBe('sandbox\n');
  });
});

describe('E31 variables of a request', () => {
  it.each([
    ['LD_PRELOAD', '/work/own.so'],
    ['LD_LIBRARY_PATH', '/work'],
    ['LD_AUDIT', '/work/own.so'],
    ['A=B', 'x'],
    ['A\nB', 'x'],
    ['', 'x'],
    ['NUL', 'a\0b'],
  ])('E31 %j is refused', async (name, value) => {
    await expect(sandbox.run('pass', { environment: { [name]: value } })).rejects.toMatchObject({
      code: 'invalid_environment',
    });
  });

  it('E31 a value with a newline stays one value', async () => {
    const run = await sandbox.run('import os; print(ascii(os.environ["A"]), "C" in os.environ)', {
      environment: { A: 'B\nC=D' },
    });
    expect(run.stdout).toBe(`'B\\nC=D' False\n`);
  });

  it('E31 PATH, PYTHONPATH, PYTHONHOME and PYTHONSTARTUP of a request do not reach the supervisor', async () => {
    const files = {
      'main.py': 'print("ran")',
      'sitecustomize.py': 'print("early")',
      'json.py': 'raise SystemExit("a shadowed module was imported by the supervisor")',
      python3: '#!/bin/sh\necho fake\nexit 3\n',
    };
    const run = await sandbox.run(files, { environment: { PATH: '/work', PYTHONPATH: '/work', PYTHONSTARTUP: 'x' } });
    expect(run).toMatchObject({ exit_code: 0, stdout: 'early\nran\n', outcome: { kind: 'exited' } });
    const broken = await sandbox.run('print("ran")', { environment: { PYTHONHOME: '/nowhere' } });
    expect(broken).toMatchObject({ outcome: { kind: 'exited', exit_code: 1 } });
  });
});
