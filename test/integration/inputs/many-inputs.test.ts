/** One program, many inputs: each gets its own process, and finds nothing of those before it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AskedInput } from '../../../src/domain/inputs.ts';
import type { RunRequest } from '../../../src/domain/plan.ts';
import { startEngine, type Files, type TestEngine } from '../../support/engine.ts';
import { given, indent, outputs, runInputs } from '../../support/inputs.ts';

let engine: TestEngine;

beforeAll(async () => {
  engine = await startEngine({
    PYEXEC_POOL_SIZE: '1',
    PYEXEC_MAX_INPUTS_TIMEOUT: '20',
    PYEXEC_MAX_INPUTS_OUTPUT_MB: '1',
  });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
});

const run = (
  program: string | Files,
  list: readonly AskedInput[],
  more: Partial<RunRequest> = {},
  stopOnFailure = false,
) => runInputs(engine, program, list, more, stopOnFailure);

/** Runs a program twice: first as the one that leaves something, then as the one that looks for it. */
async function leaveAndLook(leave: string, look: string, more: Partial<RunRequest> = {}): Promise<string> {
  const program = `import sys\nif sys.argv[1] == "leave":\n${indent(leave)}\nelse:\n${indent(look)}\n`;
  const execution = await run(
    program,
    ['leave', 'look'].map((word) => ({ args: [word], stdin: Buffer.alloc(0) })),
    more,
  );
  const [left, looked] = execution.results ?? [];
  expect(left).toMatchObject({ stdout: 'left\n' });
  expect(looked, looked?.stderr).toMatchObject({ exit_code: 0 });
  return looked?.stdout ?? '';
}

describe('results', () => {
  test('are one for each input, in order, with its own arguments and stdin', async () => {
    const list = [1, 2, 3].map((n) => ({ args: [`a${String(n)}`], stdin: Buffer.from(`${String(n)} in`) }));
    const execution = await run('import sys; print(sys.argv[1:], input()); print("e", file=sys.stderr)', list);
    expect(execution).toMatchObject({ status: 'completed', exit_code: 0, outcome: { kind: 'exited', exit_code: 0 } });
    expect(execution.results).toMatchObject(
      [1, 2, 3].map((n, index) => ({
        index,
        exit_code: 0,
        outcome: { kind: 'exited', exit_code: 0 },
        stdout: `['a${String(n)}'] ${String(n)} in\n`,
        stderr: 'e\n',
      })),
    );
  });

  test('a hundred of them', async () => {
    const execution = await run('print(int(input()) * 2)', given(...Array.from({ length: 100 }, (_, n) => String(n))));
    expect(outputs(execution)).toEqual(Array.from({ length: 100 }, (_, n) => `${String(n * 2)}\n`));
  });

  test('say how each ended; the whole ended as the first that failed', async () => {
    const program = `
import os, sys, time
word = input()
if word == "exit": sys.exit(3)
if word == "raise": raise ValueError("x")
if word == "kill": os.kill(os.getpid(), 9)
if word == "sleep": time.sleep(60)
print(word)
`;
    const execution = await run(program, given('fine', 'exit', 'raise', 'kill', 'sleep', 'fine'), {
      limits: { wall_ms: 1500 },
    });
    expect(execution.results?.map(({ outcome }) => outcome)).toEqual([
      { kind: 'exited', exit_code: 0 },
      { kind: 'exited', exit_code: 3 },
      { kind: 'exited', exit_code: 1 },
      { kind: 'signaled', signal: 'SIGKILL', signal_number: 9 },
      { kind: 'timed_out', limit: 'wall_ms', limit_ms: 1500 },
      { kind: 'exited', exit_code: 0 },
    ]);
    expect(execution).toMatchObject({ exit_code: 3, outcome: { kind: 'exited', exit_code: 3 } });
    expect(execution.results?.[2]?.stderr).toBe(
      'Traceback (most recent call last):\n  File "/work/main.py", line 5, in <module>\n    if word == "raise": raise ValueError("x")\n                        ^^^^^^^^^^^^^^^^^^^^^\nValueError: x\n',
    );
  });

  test('say which exception ended each, and what its last expression was worth', async () => {
    const execution = await run('n = int(input())\n10 // n', given('2', '0', 'x', '5'), { wantsLastValue: true });
    expect(execution.results).toMatchObject([
      { exit_code: 0, result: '5' },
      { exit_code: 1, error_type: 'ZeroDivisionError', error_line: 2, exception: { type: 'ZeroDivisionError' } },
      { exit_code: 1, error_type: 'ValueError', error_line: 1, exception: { file: 'main.py', line: 1 } },
      { exit_code: 0, result: '2' },
    ]);
    for (const { error_type, result } of execution.results ?? [])
      expect(error_type === undefined).toBe(result !== undefined);
    // The whole ended as the first that failed, and has no value of its own.
    expect(execution).toMatchObject({ exit_code: 1, error_type: 'ZeroDivisionError', error_line: 2 });
    expect(execution).not.toHaveProperty('result');
  });

  test('values and tracebacks count as output of all inputs together', async () => {
    const execution = await run('"x" * 400_000', given('', '', '', '', '', ''), { wantsLastValue: true });
    const kinds = execution.results?.map(({ outcome }) => outcome.kind);
    expect(kinds?.[0]).toBe('exited');
    expect(kinds?.at(-1)).toBe('not_run');
  });

  test('after a failure nothing more is run where that was asked for', async () => {
    const execution = await run('import sys; sys.exit(int(input()))', given('0', '4', '0'), {}, true);
    expect(execution.results?.map(({ outcome }) => outcome.kind)).toEqual(['exited', 'exited', 'not_run']);
    expect(execution.exit_code).toBe(4);
  });

  test('what is not run for want of time is told', async () => {
    const execution = await run('import time; time.sleep(8)', given('', '', '', ''), { limits: { wall_ms: 10_000 } });
    const kinds = execution.results?.map(({ outcome }) => outcome.kind);
    expect(kinds?.slice(0, 2)).toEqual(['exited', 'exited']);
    expect(kinds?.at(-1)).toBe('not_run');
    expect(execution.exit_code).not.toBe(0);
  }, 60_000);

  test('output is bounded for each and for all together', async () => {
    const execution = await run('print("x" * 400_000)', given('', '', '', '', '', '', '', ''), {
      limits: { output_bytes: 300_000 },
    });
    const bytes = (execution.results ?? []).reduce((sum, { stdout }) => sum + stdout.length, 0);
    expect(bytes).toBeLessThan(1_300_000);
    expect(execution.results?.[0]?.omitted?.stdout).toBeGreaterThan(0);
    expect(execution.results?.at(-1)?.outcome.kind).toBe('not_run');
  });

  test('one input meets the memory limit, the next does not', async () => {
    const execution = await run('n = int(input()); b = bytearray(n << 20); print(len(b))', given('1', '400', '1'), {
      limits: { memory_bytes: 128 << 20 },
    });
    expect(execution.results?.map(({ outcome }) => outcome.kind)).toEqual(['exited', 'out_of_memory', 'exited']);
  });
});

describe('an input finds nothing of the one before', () => {
  test('in files, links, modes and attributes, however deep', async () => {
    const leave = `
import os
for place in ("/work", "/tmp", "/dev/shm"):
  os.makedirs(place + "/a/b/c"); open(place + "/a/f", "w").write("x"); os.symlink("/etc", place + "/l")
  os.chmod(place + "/a/b", 0); os.chmod(place + "/a", 0)
os.chdir("/work")
for _ in range(1500): os.mkdir("d" * 200); os.chdir("d" * 200)
os.chdir("/work")
open("main.py", "a").write("print('changed')"); os.unlink("other.py"); os.mkdir("other.py"); os.chmod("/work", 0)
print("left")
`;
    const look = `
import os
print([sorted(os.listdir(p)) for p in ("/work", "/tmp", "/dev/shm")], oct(os.stat("/work").st_mode), open("other.py").read())
`;
    const program = `import sys\nif sys.argv[1] == "leave":\n${indent(leave)}\nelse:\n${indent(look)}\n`;
    const execution = await run(
      { 'main.py': program, 'other.py': 'o' },
      ['leave', 'look'].map((word) => ({ args: [word], stdin: Buffer.alloc(0) })),
    );
    expect(execution.results?.[0]).toMatchObject({ stdout: 'left\n', exit_code: 0 });
    expect(execution.results?.[1]).toMatchObject({ stdout: "[['main.py', 'other.py'], [], []] 0o40755 o\n" });
  });

  test('a file changed through a shared mapping, which leaves no trace in its times', async () => {
    const leave = `
import mmap
with open("/work/main.py", "r+b") as f:
  m = mmap.mmap(f.fileno(), 0); m[:6] = b"#+++++"; m.flush()
print("left")
`;
    expect(await leaveAndLook(leave, 'print(open("/work/main.py").read(6))')).toBe('import\n');
  });

  test('in processes: daemons, stopped ones, those that ignore signals', async () => {
    const leave = `
import os, signal, time
for _ in range(3):
  if os.fork() == 0:
    os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for n in range(3): os.close(n)
    time.sleep(600)
print("left")
`;
    expect(
      await leaveAndLook(leave, 'import os\nprint(len([n for n in os.listdir("/proc") if n.isdigit()]), os.getppid())'),
    ).toBe('3 1\n');
  });

  test('in modules, variables, threads, timers, limits and descriptors', async () => {
    const leave = `
import os, json, threading, signal, resource, builtins, time
builtins.mark = 1; os.environ["MARK"] = "1"; json.mark = 1
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
signal.setitimer(signal.ITIMER_REAL, 600); signal.signal(signal.SIGTERM, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)); os.umask(0o077); os.dup(1)
print("left")
sys.stdout.flush(); os._exit(0)
`;
    const look = `
import os, builtins, threading, signal, resource, sys
before = "json" in sys.modules
import json
mask = os.umask(0)
print(hasattr(builtins, "mark"), "MARK" in os.environ, before, hasattr(json, "mark"), threading.active_count(), signal.getitimer(signal.ITIMER_REAL)[0], signal.getsignal(signal.SIGTERM).name, resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 32, oct(mask), sorted(os.listdir("/proc/self/fd"))[:3])
`;
    expect(await leaveAndLook(leave, look)).toBe("False False False False 1 0.0 SIG_DFL True 0o22 ['0', '1', '2']\n");
  });

  test('in System V objects', async () => {
    const leave = `
import ctypes
libc = ctypes.CDLL(None)
ids = libc.shmget(4711, 4096, 0o1666), libc.semget(4712, 1, 0o1666), libc.msgget(4713, 0o1666)
print("left")
`;
    const look = 'print([len(open("/proc/sysvipc/" + kind).readlines()) - 1 for kind in ("shm", "sem", "msg")])';
    expect(await leaveAndLook(leave, look)).toBe('[0, 0, 0]\n');
  });

  test('in its own memory: not the stdin of others', async () => {
    const program = `
import re
word = input()
found = set()
for line in open("/proc/self/maps"):
    match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
    if not match: continue
    start, end = (int(part, 16) for part in match.groups())
    try:
        with open("/proc/self/mem", "rb", 0) as memory:
            memory.seek(start); data = memory.read(end - start)
    except OSError: continue
    found |= set(re.findall(rb"SECRET-[a-z]{5}", data))
print(sorted(found))
`;
    const execution = await run(program, given('SECRET-aaaaa', 'SECRET-bbbbb', 'SECRET-ccccc'));
    expect(outputs(execution)).toEqual(["[b'SECRET-aaaaa']\n", "[b'SECRET-bbbbb']\n", "[b'SECRET-ccccc']\n"]);
  });

  test('in random numbers: each has its own', async () => {
    const execution = await run('import random; print(random.random())', given('', '', ''));
    expect(new Set(outputs(execution)).size).toBe(3);
  });
});

describe('files of an input', () => {
  const files = (given: Readonly<Record<string, string>>, executable = false): AskedInput => ({
    args: [],
    stdin: Buffer.alloc(0),
    files: Object.entries(given).map(([path, content]) => ({ path, content: Buffer.from(content), executable })),
  });
  const look = `
import os
for folder, _, names in sorted(os.walk("/work")):
  for name in sorted(names):
    path = os.path.join(folder, name)
    print(os.path.relpath(path, "/work"), open(path).read() if name != "main.py" else "", oct(os.stat(path).st_mode)[-3:])
`;
  const project = { 'main.py': look, 'data/a.txt': 'project' };

  test('are there for it alone; what they replace is back afterwards', async () => {
    const execution = await run(project, [
      files({}),
      files({ 'data/a.txt': 'mine', 'new/deep/b.sh': 'B' }, true),
      files({ 'data/c.txt': 'C' }),
      files({}),
    ]);
    const plain = 'main.py  644\ndata/a.txt project 644\n';
    expect(outputs(execution)).toEqual([
      plain,
      'main.py  644\ndata/a.txt mine 755\nnew/deep/b.sh B 755\n',
      `${plain}data/c.txt C 644\n`,
      plain,
    ]);
  });

  test('may be the program itself, and modules it imports', async () => {
    const execution = await run({ 'main.py': 'import answer; print(answer.VALUE)', 'answer.py': 'VALUE = 0' }, [
      files({ 'answer.py': 'VALUE = 1' }),
      files({ 'main.py': 'print("another")' }),
      files({}),
    ]);
    expect(outputs(execution)).toEqual(['1\n', 'another\n', '0\n']);
  });
});

describe('requests', () => {
  test.each([
    ['too many', { inputs: { list: given(...Array.from({ length: 1001 }, () => '')), stopOnFailure: false } }],
    ['arguments beside them', { args: ['a'], inputs: { list: given(''), stopOnFailure: false } }],
    ['stdin beside them', { stdin: Buffer.from('a'), inputs: { list: given(''), stopOnFailure: false } }],
    ['commands', { preCommands: ['true'], inputs: { list: given(''), stopOnFailure: false } }],
    ['none', { inputs: { list: [], stopOnFailure: false } }],
  ])('%s: refused', async (_, request) => {
    await expect(engine.run('pass', request)).rejects.toMatchObject({ code: 'invalid_request' });
  });

  test('modules and variables of the interpreter work, by a new one each time', async () => {
    const list = given('a', 'b');
    const module = await run({ 'app.py': 'import os; print(input(), os.environ["PYTHONOPTIMIZE"])' }, list, {
      entryPoint: { kind: 'module', name: 'app' },
      environment: { PYTHONOPTIMIZE: '1' },
    });
    expect(outputs(module)).toEqual(['a 1\n', 'b 1\n']);
  });
});
