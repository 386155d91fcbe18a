/**
 * What an input does to the processes its successors come from, or to what they share, is without effect or is seen:
 * every later input has its right result, or is told as not run. Never a wrong one.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startEngine, type TestEngine } from '../../support/engine.ts';
import { given, indent, outputs, runInputs, words } from '../../support/inputs.ts';

let engine: TestEngine;

beforeAll(async () => {
  engine = await startEngine({ PYEXEC_POOL_SIZE: '2' });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
});

/** What an input prints of how the kernel treats it, whatever came before. */
const FACTS = `
import ctypes, os, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
arm = os.uname().machine != "x86_64"
attributes = ctypes.create_string_buffer(56)
libc.syscall(275 if arm else 315, 0, attributes, 56, 0)
print(sys.argv[1][:0], os.getpriority(0, 0), sorted(os.sched_getaffinity(0)), os.sched_getscheduler(0), attributes.raw.hex(), libc.syscall(31 if arm else 252, 1, 0), os.getpgid(0) == os.getpid(), flush=True)
others = [pid for pid in range(2, 80) if pid != os.getpid()]
`;

const each = (action: string) => `
for pid in others:
  try: ${action}
  except OSError: pass
`;

test.each([
  ['it ends every process it can reach', 'os.kill(-1, 9)'],
  ['it stops every process it can reach', 'os.kill(-1, 19)'],
  [
    'a process that stays goes on stopping the others',
    `
if os.fork() == 0:
  for n in range(3): os.close(n)
  while True:
    for pid in others:
      if pid != os.getpid():
        try: os.kill(pid, 19)
        except OSError: pass
time.sleep(0.2)`,
  ],
  [
    'every other signal, to every process',
    `
for number in sorted(signal.valid_signals() - {9, 19}):
  for pid in others:
    try: os.kill(pid, number)
    except OSError: pass`,
  ],
  ['every signal, to the first process', `for number in signal.valid_signals(): os.kill(1, number)`],
  [
    'a flood of signals from a process that stays',
    `
if os.fork() == 0:
  for n in range(3): os.close(n)
  while True: os.kill(1, signal.SIGCHLD)
time.sleep(0.2)`,
  ],
  ['the priority of every process', each('os.setpriority(os.PRIO_PROCESS, pid, 19)')],
  ['the priority of its user', 'os.setpriority(os.PRIO_USER, 0, 19)'],
  ['the processors of every process', each('os.sched_setaffinity(pid, {max(os.sched_getaffinity(0))})')],
  ['the scheduler of every process', each('os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))')],
  [
    'the time slices of every process',
    `
wanted = ctypes.create_string_buffer((48).to_bytes(4, sys.byteorder) + bytes(20) + (100_000).to_bytes(8, sys.byteorder), 48)
for pid in others: libc.syscall(274 if arm else 314, pid, wanted, 0)`,
  ],
  [
    'the order of input and output of every process',
    `for pid in others: libc.syscall(30 if arm else 251, 1, pid, 3 << 13)`,
  ],
  [
    'limits, groups and traces of every process',
    `
import resource
for pid in [1, *others]:
  for attempt in (lambda: resource.prlimit(pid, resource.RLIMIT_AS, (1 << 20, 1 << 20)), lambda: os.setpgid(pid, 0)):
    try: attempt()
    except OSError: pass
  assert libc.ptrace(0x4206, pid, None, None) == -1 and libc.ptrace(16, pid, None, None) == -1`,
  ],
  [
    'processes that multiply and stay',
    `
for n in range(3): os.close(n)
while True:
  try: os.fork()
  except OSError: break
time.sleep(0.2)`,
  ],
])('%s', async (_, harm) => {
  const program = `${FACTS}\nif sys.argv[1] == "harm":\n${indent(harm)}\n`;
  const { results = [], exit_code } = await runInputs(engine, program, words('look', 'harm', 'look', 'look'), {
    limits: { wall_ms: 8000 },
  });
  expect(results).toHaveLength(4);
  const [clean, , ...later] = results;
  expect(clean).toMatchObject({ exit_code: 0, stderr: '' });
  for (const { outcome, stdout, stderr } of later) {
    if (outcome.kind === 'not_run') expect(exit_code).not.toBe(0);
    else expect({ outcome, stdout, stderr }).toEqual({ outcome: clean?.outcome, stdout: clean?.stdout, stderr: '' });
  }
  // What ended early is never told as if it had run.
  expect(results.filter(({ outcome }) => outcome.kind === 'not_run').length).not.toBe(4);
});

test('each finds the same room on every disk, in bytes and in names', async () => {
  const program = `
import os
for place in ("/work", "/tmp", "/dev/shm"):
  size, names = 0, 0
  with open(place + "/fill", "wb") as file:
    try:
      while True: size += file.write(bytes(1 << 20)); file.flush()
    except OSError: pass
  try:
    while True: os.mkdir(f"{place}/{names}"); names += 1
  except OSError: pass
  os.unlink(place + "/fill")
  try:
    while names < 3000: os.mkdir(f"{place}/{names}"); names += 1
  except OSError: pass
  print(place, size >> 20, names)
`;
  // More than the memory there is: the kernel ends it, and what it left is still there.
  const { results = [] } = await runInputs(engine, program, given('', '', ''), {
    limits: { memory_bytes: 96 << 20, wall_ms: 60_000 },
  });
  const seen = results.map(({ stdout, outcome }) => `${outcome.kind} ${stdout}`);
  expect(seen).toHaveLength(3);
  expect(seen[0]).toMatch(/^out_of_memory \/work [1-9]\d+ \d{4}/);
  expect(new Set(seen).size).toBe(1);
}, 120_000);

test('a process that stays and holds its output cannot write into the next one’s', async () => {
  const program = `
import os
word = input()
begun, tell = os.pipe()
if os.fork() == 0:
  for _ in range(100_000):
    os.write(1, b"late " + word.encode() + b"\\n"); os.write(tell, b"x")
os.read(begun, 1)
print(word, flush=True); os._exit(0)
`;
  const { results = [] } = await runInputs(engine, program, given('a', 'b', 'c'));
  expect(results.map(({ stdout }) => [...new Set(stdout.split('\n').filter(Boolean))].sort())).toEqual([
    ['a', 'late a'],
    ['b', 'late b'],
    ['c', 'late c'],
  ]);
});

test('by following or reading the process the next one comes from', async () => {
  const program = `import os
denied = 0
for pid in (1, os.getppid(), 2):
    try: open(f"/proc/{pid}/mem", "rb")
    except OSError: denied += 1
open("/proc/self/mem", "rb")
print(denied)`;
  expect(outputs(await runInputs(engine, program, given('a', 'b')))).toEqual(['3\n', '3\n']);
});
