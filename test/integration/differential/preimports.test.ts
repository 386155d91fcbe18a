/**
 * Programs whose modules were imported before they came, and the same programs under
 * plain `python3` of the same image: no difference but the ones named in
 * docs/SUPERVISOR.md. Every run is checked to have had the pre-imports it was meant for.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { threadCounts } from '../../../src/policy/thread-counts.ts';
import type { RunRequest } from '../../../src/domain/plan.ts';
import { parseConfig } from '../../../src/config/config.ts';
import type { Limits } from '../../../src/domain/limits.ts';
import { PlainPython } from '../../support/differential-plain.ts';
import { py, type Files } from '../../support/differential-program.ts';
import { containersOf, docker, until } from '../../support/docker-containers.ts';
import { runRequest, startEngine, type TestEngine } from '../../support/engine.ts';

const IMAGE = process.env['TEST_DATA_IMAGE'] ?? 'pyexec/data';
const LIMITS: Partial<Limits> = { wall_ms: 60_000, memory_bytes: 1024 << 20 };

const hasImage = await docker
  .getImage(IMAGE)
  .inspect()
  .then(
    () => true,
    () => false,
  );

let engine: TestEngine;
let plain: PlainPython;
let openFiles: number;

async function metric(name: string): Promise<number> {
  const { body } = await engine.engine.metrics.render();
  // A name may end in the middle of its labels: the rest of them does not matter.
  return body
    .split('\n')
    .filter((line) => line.startsWith(name.includes('{') ? name : `${name} `))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}
const full = () =>
  until(
    'the pool is full',
    async () => (await metric('pyexec_pool_ready')) === (await metric('pyexec_pool_target')),
    60_000,
  );

beforeAll(async () => {
  if (!hasImage) return;
  const config = parseConfig({});
  engine = await startEngine({
    PYEXEC_DEFAULT_IMAGE: IMAGE,
    PYEXEC_POOL_SIZE: '1',
    PYEXEC_POOL_PREIMPORTS: `${IMAGE}=numpy:1,${IMAGE}=numpy+pandas+matplotlib.pyplot:1`,
    PYEXEC_DEFAULT_MEMORY_MB: '1024',
    PYEXEC_MAX_MEMORY_MB: '1024',
  });
  openFiles = config.PYEXEC_DEFAULT_OPEN_FILES;
  plain = await PlainPython.start(
    IMAGE,
    {
      wall_ms: 60_000,
      cpu_ms: 60_000,
      memory_bytes: 1024 << 20,
      pids: 128,
      disk_bytes: 64 << 20,
      output_bytes: 1 << 20,
      open_files: openFiles,
      cpus: 1,
    },
    {
      socketPath: config.PYEXEC_DOCKER_SOCKET,
      seccompProfile: readFileSync(config.PYEXEC_SECCOMP_PROFILE, 'utf8'),
      openFilesMax: config.PYEXEC_MAX_OPEN_FILES,
    },
  );
}, 120_000);

afterAll(async () => {
  if (hasImage) await Promise.all([plain[Symbol.asyncDispose](), engine[Symbol.asyncDispose]()]);
});

async function inSandbox(program: string | Files, request = {}) {
  await full();
  const { exit_code, stdout, stderr } = await engine.run(program, { limits: LIMITS, ...request });
  return { status: exit_code, stdout, stderr };
}

async function underPlain(program: string | Files, request: Partial<RunRequest> = {}) {
  const files = typeof program === 'string' ? { 'main.py': program } : program;
  const ending = await plain.run(
    files,
    runRequest({ ...request, environment: { ...threadCounts(1), ...request.environment } }),
    openFiles,
  );
  return { status: ending.status, stdout: ending.stdout.toString(), stderr: ending.stderr.toString() };
}

const SAME: Readonly<Record<string, string>> = {
  numpy: py`
    import numpy as np
    a = np.arange(12.0).reshape(3, 4)
    print(a @ a.T, np.linalg.norm(a), repr(np.float32(1.5)), a.mean(axis=0).tolist())
    print(np.linalg.solve(np.eye(3) * 2, [1, 2, 3]), np.fft.fft([1, 2, 3, 4]))
  `,
  'an import inside try': py`
    try:
        import numpy
        print("have", numpy.__name__, numpy.__spec__.origin == numpy.__file__)
    except ImportError:
        print("none")
  `,
  'an import inside a function and once more': py`
    def f():
        import numpy
        return numpy
    import importlib
    print(f() is importlib.import_module("numpy"), f().__loader__.name)
  `,
  'what __main__ and the frames look like': py`
    import numpy, sys, inspect
    print(sorted(globals()), sys.argv, __file__, len(inspect.stack()), sys._getframe().f_back)
  `,
  'warnings of the library are the program’s': py`
    import numpy as np
    print(np.float64(1) / np.float64(0), np.array([1.0]) / 0, np.log(np.array([-1.0])))
    with np.errstate(all="raise"):
        try:
            np.array([1.0]) / 0
        except FloatingPointError as error:
            print(error)
  `,
  'the filters of warnings': py`
    import numpy, pandas, warnings
    print([(action, message and message.pattern, category.__name__, module and module.pattern, line)
           for action, message, category, module, line in warnings.filters])
  `,
  'an exception inside the library': py`
    import numpy
    numpy.linalg.inv(numpy.zeros((2, 2)))
  `,
  'a seed decides': py`
    import numpy as np, random
    np.random.seed(7); random.seed(7)
    print(np.random.rand(3).tolist(), np.random.default_rng(7).random(3).tolist(), random.random())
  `,
  'monkey-patching and reloading': py`
    import numpy, importlib
    old = numpy.mean
    numpy.mean = lambda a: "mine"
    import numpy as again
    print(again.mean([1]), old([1, 3]))
    import numpy.polynomial
    print(importlib.reload(numpy.polynomial).__name__)
  `,
  pandas: py`
    import pandas as pd, io
    frame = pd.read_csv(io.StringIO("a,b\n1,x\n2,y\n3,x\n"), parse_dates=False)
    print(frame.groupby("b").a.sum(), frame.describe(), frame.dtypes, sep="\n")
    print(pd.date_range("2024-01-01", periods=3), pd.Timestamp("2024-02-29").day_name())
    print(frame.to_json(), pd.DataFrame({"t": pd.to_timedelta([1, 2], unit="h")}))
  `,
  'a KeyError inside pandas': py`
    import pandas as pd
    pd.DataFrame({"a": [1]})["missing"]
  `,
  matplotlib: py`
    import matplotlib
    import matplotlib.pyplot as plt, hashlib
    print(matplotlib.get_backend().lower(), plt.isinteractive(), plt.get_fignums(), matplotlib.rcParams["figure.dpi"])
    fig, axes = plt.subplots()
    axes.plot([1, 2, 3], [1, 4, 9], label="x")
    axes.legend()
    fig.savefig("plot.png", metadata={"Software": None})
    print(hashlib.sha256(open("plot.png", "rb").read()).hexdigest())
  `,
  'another backend asked for in the program': py`
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    print(matplotlib.get_backend())
  `,
  'no thread, no child, no descriptor more': py`
    import numpy, threading, os
    print(threading.active_count(), threading.main_thread() is threading.current_thread())
    print(sorted(int(name) for name in os.listdir("/proc/self/fd"))[:4])
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print("no child")
  `,
  'a child process of the program': py`
    import numpy as np, os, sys, subprocess, multiprocessing
    def square(n):
        return int((np.eye(n) * n).sum())
    if __name__ == "__main__":
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(square, range(5)))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.map(square, range(3)))
        print(subprocess.run([sys.executable, "-c", "import sys; print('nump' + 'y' in globals())"]).returncode)
  `,
  signals: py`
    import numpy, signal
    print([(s.name, str(signal.getsignal(s))) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)])
  `,
  'what runs at exit': py`
    import atexit, pandas
    atexit.register(print, "bye")
    class A:
        def __del__(self): print("gone")
    a = A()
    a.me = a
  `,
  logging: py`
    import pandas, logging
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
    logging.warning("w")
    print(logging.getLogger("x").makeRecord("x", 20, "f", 1, "m", (), None).relativeCreated < 5000)
    print(sorted(name for name in logging.root.manager.loggerDict if name.startswith("pandas")))
  `,
  'modules there is nothing special about': py`
    import numpy, json, decimal, ctypes, dataclasses, typing, mmap, resource, socket
    from dataclasses import dataclass
    @dataclass
    class P:
        x: int = 1
    print(P(), json.dumps({"a": [1, 2.5]}), decimal.Decimal("1.1") + 1, ctypes.sizeof(ctypes.c_long))
    print(ctypes.CDLL(None).abs(-3), numpy.ctypeslib.as_array((ctypes.c_int * 2)(1, 2)))
  `,
};

describe.skipIf(!hasImage)('pre-imported modules', () => {
  test.each(Object.entries(SAME))('%s', async (_, code) => {
    const before = await metric('pyexec_pool_takes_total{result="preimported"');
    const [sandbox, reference] = [await inSandbox(code), await underPlain(code)];
    expect(sandbox).toEqual(reference);
    expect(await metric('pyexec_pool_takes_total{result="preimported"')).toBe(before + 1);
  });

  const isFrozen = 'print(__import__("gc").get_freeze_count() > 0)';

  test('are there for a program that imports one, and for no other', async () => {
    const shown = `import gc, io\nprint(gc.get_freeze_count() > 0)`;
    expect((await inSandbox(`import numpy\n${shown}`)).stdout).toBe('True\n');
    expect((await inSandbox(shown)).stdout).toBe('False\n');
    expect((await inSandbox(`import json\n${shown}`)).stdout).toBe('False\n');
  });

  test('of two kinds the program gets the one with the least it did not ask for', async () => {
    const modules = 'm = vars(s)["modules"]; print(*[n for n in ("numpy", "pandas", "matplotlib.pyplot") if n in m])';
    expect((await inSandbox(`import numpy, sys as s\n${modules}`)).stdout).toBe('numpy\n');
    expect((await inSandbox(`import pandas, sys as s\n${modules}`)).stdout).toBe('numpy pandas matplotlib.pyplot\n');
  });

  test('random numbers are new in every run', async () => {
    const code = 'import numpy as np, random\nprint(np.random.rand(4).tolist(), random.random(), hash("x"))';
    const runs = new Set<string | undefined>();
    for (let turn = 0; turn < 3; turn += 1) runs.add((await inSandbox(code)).stdout);
    expect(runs.size).toBe(3);
  });

  test('are not used where the program could tell: a module of its own, variables, another interpreter', async () => {
    const own = { 'main.py': 'import numpy\nprint(numpy.mine)', 'numpy.py': 'mine = "own"' };
    expect(await inSandbox(own)).toEqual({ status: 0, stdout: 'own\n', stderr: '' });
    const inFolder = { 'app/main.py': 'import numpy\nprint(numpy.mine)', 'app/numpy.py': 'mine = "own"' };
    expect((await inSandbox(inFolder, { entryPoint: { kind: 'script', path: 'app/main.py' } })).stdout).toBe('own\n');
    const hidden = { 'main.py': 'import random, numpy\nprint(random.mine)', 'random.py': 'mine = "own"\n' };
    expect(await inSandbox(hidden)).toEqual(await underPlain(hidden));
    const settings = {
      'main.py': 'import matplotlib\nprint(matplotlib.rcParams["lines.linewidth"])',
      matplotlibrc: 'lines.linewidth: 7\n',
    };
    expect((await inSandbox(settings)).stdout).toBe('7.0\n');
    const backend =
      'import os\nos.environ["MPLBACKEND"] = "svg"\nimport matplotlib.pyplot as p\nprint(p.get_backend())';
    expect((await inSandbox(backend)).stdout?.toLowerCase()).toBe('svg\n');
    const variables = { environment: { MPLBACKEND: 'svg' } };
    const asked = 'import matplotlib.pyplot as p\nprint(p.get_backend().lower())';
    expect((await inSandbox(asked, variables)).stdout).toBe('svg\n');
    expect((await inSandbox(`import numpy\n${isFrozen}`, { environment: { A: '1' } })).stdout).toBe('False\n');
    expect((await inSandbox(`import numpy\n${isFrozen}`, { preCommands: ['true'] })).stdout).toBe('False\n');
  });

  test('an empty shelf gives a plain sandbox, not a wait', async () => {
    await full();
    const answers = await Promise.all(
      [1, 2, 3].map(() => engine.run('import numpy\nprint(numpy.__name__)', { limits: LIMITS })),
    );
    expect(answers.map(({ stdout }) => stdout)).toEqual(['numpy\n', 'numpy\n', 'numpy\n']);
  });

  test('a module the image lacks stops the boot, with a sentence, and leaves no container', async () => {
    const instance = `test-${randomUUID()}`;
    const boot = startEngine({
      PYEXEC_INSTANCE: instance,
      PYEXEC_DEFAULT_IMAGE: IMAGE,
      PYEXEC_POOL_PREIMPORTS: `${IMAGE}=numpy+no_such_module:1`,
    });
    await expect(boot).rejects.toThrow(
      `PYEXEC_POOL_PREIMPORTS: ${IMAGE} cannot be kept with numpy+no_such_module: no_such_module cannot be imported: ModuleNotFoundError: No module named 'no_such_module'`,
    );
    expect(await containersOf(instance)).toEqual([]);
  });
});
