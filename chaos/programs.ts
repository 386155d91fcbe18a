/**
 * What the load runs: programs whose output is known to the byte, and programs
 * that attack. Each looks first for traces of another run.
 */

export interface Job {
  readonly name: string;
  readonly code: string;
  /** What an undisturbed run writes to stdout; undefined where that depends on how it is ended. */
  readonly stdout: string | undefined;
  /** Outcomes an undisturbed run may have. */
  readonly outcomes: readonly string[];
  readonly exitCode?: number;
  readonly limits?: Readonly<Record<string, number>>;
}

/** Said by a program that finds what another run left. */
export const FOREIGN = 'FOREIGN TRACE';

const lookAround = (marker: string) => `import os
for place in ("/work", "/tmp", "/dev/shm"):
    for name in os.listdir(place):
        if name.startswith("trace-"):
            print("${FOREIGN}", name, flush=True)
    open(os.path.join(place, "trace-${marker}"), "w").close()
`;

type Shape = Omit<Job, 'code' | 'name'> & { readonly body: string };

const HONEST: Readonly<Record<string, Shape>> = {
  lines: {
    body: 'for i in range(200): print("line", i)',
    stdout: Array.from({ length: 200 }, (_, index) => `line ${String(index)}\n`).join(''),
    outcomes: ['exited'],
    exitCode: 0,
  },
  sleeper: {
    body: 'import time\nfor i in range(5):\n    print(i, flush=True)\n    time.sleep(0.2)',
    stdout: '0\n1\n2\n3\n4\n',
    outcomes: ['exited'],
    exitCode: 0,
  },
  status: { body: 'import sys\nprint("leaving")\nsys.exit(3)', stdout: 'leaving\n', outcomes: ['exited'], exitCode: 3 },
  raiser: { body: 'print("before")\nraise ValueError("no")', stdout: 'before\n', outcomes: ['exited'], exitCode: 1 },
  busy: {
    body: 'print(sum(i * i for i in range(300_000)))',
    stdout: '8999955000050000\n',
    outcomes: ['exited'],
    exitCode: 0,
  },
  large: {
    body: 'import sys\nsys.stdout.write("x" * 400_000)',
    stdout: 'x'.repeat(400_000),
    outcomes: ['exited'],
    exitCode: 0,
  },
};

const HOSTILE: Readonly<Record<string, Shape>> = {
  fork_bomb: {
    body: 'import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass',
    stdout: undefined,
    outcomes: ['timed_out', 'out_of_memory', 'exited', 'signaled'],
    limits: { wall_ms: 1500, pids: 32 },
  },
  memory_bomb: {
    body: 'kept = []\nwhile True:\n    kept.append(bytearray(10_000_000))',
    stdout: undefined,
    outcomes: ['out_of_memory', 'exited', 'signaled'],
    limits: { wall_ms: 10_000, memory_bytes: 67_108_864 },
  },
  flood: {
    body: 'import os\nwhile True:\n    os.write(1, b"y" * 65536)',
    stdout: undefined,
    outcomes: ['timed_out'],
    limits: { wall_ms: 1000, output_bytes: 100_000 },
  },
  sleeper_for_ever: {
    body: 'import time\ntime.sleep(1000)',
    stdout: '',
    outcomes: ['timed_out'],
    limits: { wall_ms: 700 },
  },
  disk_filler: {
    body: 'with open("/work/fill", "wb") as file:\n    while True:\n        file.write(bytes(1 << 20))',
    stdout: undefined,
    outcomes: ['exited', 'signaled', 'out_of_memory'],
    limits: { wall_ms: 10_000, disk_bytes: 8_388_608 },
  },
  killer: { body: 'import os\nos.kill(-1, 9)\nos.kill(1, 9)', stdout: undefined, outcomes: ['signaled', 'exited'] },
  silent: { body: 'import os, time\nos.close(1); os.close(2)\ntime.sleep(0.3)', stdout: '', outcomes: ['exited'] },
};

/** A job chosen by two random numbers from [0, 1): the first says whether it attacks (one in ten). */
export function jobOf(hostility: number, choice: number, marker: string): Job {
  const shapes = Object.entries(hostility < 0.1 ? HOSTILE : HONEST);
  const chosen = shapes[Math.floor(choice * shapes.length)];
  if (!chosen) throw new Error('no such job');
  const [name, { body, ...rest }] = chosen;
  return { name, code: `${lookAround(marker)}${body}\n`, ...rest };
}
