/** Many inputs under gVisor, where the daemon has it: its kernel answers what our filter refuses elsewhere. */
import { describe, expect, test } from 'vitest';
import { docker } from '../../support/docker-containers.ts';
import { startEngine } from '../../support/engine.ts';
import { given, leaveAndLook, outputs, runInputs, words } from '../../support/inputs.ts';

const RUNTIME = 'runsc';
const info = (await docker.info()) as { Runtimes?: Record<string, unknown> };
const hasGvisor = Object.hasOwn(info.Runtimes ?? {}, RUNTIME);

describe.skipIf(!hasGvisor)('under gVisor', () => {
  test('each has its result, and finds nothing of those before', async () => {
    await using engine = await startEngine({ PYEXEC_RUNTIME: RUNTIME });
    const plain = await runInputs(engine, 'import os; print(input(), os.getppid())', given('a', 'b', 'c'));
    expect(outputs(plain)).toEqual(['a 1\n', 'b 1\n', 'c 1\n']);

    const remains = [
      [
        'for p in ("/work", "/tmp", "/dev/shm"): os.makedirs(p + "/a/b"); os.chmod(p + "/a", 0)',
        'print([sorted(os.listdir(p)) for p in ("/work", "/tmp", "/dev/shm")])',
      ],
      [
        'libc.shmget(4711, 4096, 0o1666), libc.semget(4712, 1, 0o1000), libc.msgget(4713, 0o1000)',
        'print([libc.shmget(4711, 0, 0) >= 0, libc.semget(4712, 0, 0) >= 0, libc.msgget(4713, 0) >= 0])',
      ],
      [
        'import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))',
        'import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))',
      ],
      ['if daemon(): stay()', 'print(len([n for n in os.listdir("/proc") if n.isdigit()]))'],
      ['os.environ["MARK"] = "1"; os.umask(0o077)', 'print("MARK" in os.environ, oct(os.umask(0)))'],
    ];
    for (const [leave = '', look = ''] of remains) {
      const { before, after } = await leaveAndLook(engine, { leave, look });
      expect(after, leave).toBe(before);
    }

    const ended = await runInputs(
      engine,
      'import os, sys; print(sys.argv[1], flush=True); sys.argv[1] == "kill" and os.kill(-1, 9)',
      words('a', 'kill', 'b'),
    );
    const last = ended.results?.[2];
    if (last?.outcome.kind === 'not_run') expect(ended.exit_code).not.toBe(0);
    else expect(last).toMatchObject({ exit_code: 0, stdout: 'b\n' });
  }, 120_000);
});
