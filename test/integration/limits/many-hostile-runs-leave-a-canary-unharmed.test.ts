/** Fifty hostile runs at once, and an ordinary one among them that is none the worse for it. */
import { expect, it } from 'vitest';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const HOSTILE = 50;
const sandbox = sandboxForFile({ PYEXEC_MAX_CONCURRENT: String(HOSTILE + 4) });

const KINDS = {
  'L01 busy': 'while True: pass',
  'L04 fork bomb': 'import os\nwhile True:\n  try: os.fork()\n  except OSError: pass',
  'L10 disk fill': `
while True:
    try: open('fill', 'ab').write(b'I love beans' * 2 ** 16)
    except OSError: pass`,
};

it(
  'L21 fifty runs of L01, L04 and L10 are all ended, and canaries among them succeed',
  { timeout: 170_000 },
  async () => {
    const kinds = Object.values(KINDS);
    const limits = { wall_ms: 2_500, memory_bytes: 128 << 20, pids: 64, cpus: 0.5 };
    const hostile = Array.from({ length: HOSTILE }, (_, i) => sandbox.run(kinds[i % kinds.length] ?? '', { limits }));
    const canaries = await Promise.all(
      [1, 2, 3].map((i) =>
        sandbox.run(
          `import json, sqlite3; print(json.dumps(sqlite3.connect(':memory:').execute('select ${String(i)}').fetchone()))`,
        ),
      ),
    );
    expect(canaries.map(({ stdout, exit_code: exitCode }) => [stdout, exitCode])).toEqual([
      ['[1]\n', 0],
      ['[2]\n', 0],
      ['[3]\n', 0],
    ]);

    const ended = await Promise.all(hostile);
    expect(
      ended.map(({ outcome }) => outcome?.kind).filter((kind) => kind !== 'timed_out' && kind !== 'out_of_memory'),
    ).toEqual([]);
    expect(await sandbox.run('print("afterwards")')).toMatchObject({ stdout: 'afterwards\n', exit_code: 0 });
  },
);
