/**
 * A crash is an ending like any other: reported as its signal, with no core file in
 * the sandbox or on the host. Control: without the limit the kernel does dump.
 */
import { describe, expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

describe('L18 crashes', () => {
  it.each([
    ['L18 a segmentation fault', 'import ctypes; ctypes.string_at(0)', 'SIGSEGV', 139],
    ['L18 an abort', 'import os; os.abort()', 'SIGABRT', 134],
    ['L18 an illegal instruction', `import os, signal; os.kill(os.getpid(), signal.SIGILL)`, 'SIGILL', 132],
    ['L18 a floating-point exception', `import os, signal; os.kill(os.getpid(), signal.SIGFPE)`, 'SIGFPE', 136],
    ['L18 a bad system call', `import os, signal; os.kill(os.getpid(), signal.SIGSYS)`, 'SIGSYS', 159],
  ])('%s is reported as it was', async (_, code, signal, exitCode) => {
    const run = await sandbox.run(`print('begun', flush=True)\n${code}`);
    expect(run).toMatchObject({
      stdout: 'begun\n',
      exit_code: exitCode,
      status: 'completed',
      outcome: { kind: 'signaled', signal },
    });
  });

  it('L18 recursion without end is a RecursionError, and in C code a crash or an error', async () => {
    const python = await sandbox.run('def f(): f()\nf()');
    expect(python.outcome).toMatchObject({ kind: 'exited', exit_code: 1 });
    expect(python.stderr).toContain('RecursionError');
    const native = await sandbox.run(
      `import sys; sys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6): x = [x]\nprint(len(repr(x)))\ndef f(): f()\nf()`,
    );
    expect(['exited', 'signaled', 'out_of_memory']).toContain(native.outcome?.kind);
    expect(native.exit_code).not.toBe(0);
  });

  it('L18 no core is dumped, also when the program asks for it', async () => {
    const crash = probe(`
import resource
attempt('ask for core files', lambda: resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30)))
for limit in (resource.getrlimit(resource.RLIMIT_CORE)[1],):
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
pid = os.fork()
if pid == 0:
    os.kill(os.getpid(), signal.SIGSEGV)
facts['dumped'] = os.WCOREDUMP(os.waitpid(pid, 0)[1])
facts['files'] = [name for place in ('/work', '/tmp') for name in os.listdir(place) if 'core' in name]
`);
    expect(await sandbox.facts(crash)).toEqual({ 'ask for core files': 'ValueError', dumped: false, files: [] });
    const control = await controlFacts(crash, { without: ['no_core_files'] });
    expect(control).toMatchObject({ 'ask for core files': 'done', dumped: true });
  });
});
