/** F15: programs that end at once lose nothing, because streams are attached before the start. */
import { expect, test } from 'vitest';
import { startEngine } from '../../support/engine.ts';

const RUNS = 100;
const AT_ONCE = 4;

test('a hundred programs that print and exit at once are all heard in full', async () => {
  await using engine = await startEngine({ PYEXEC_MAX_CONCURRENT: String(AT_ONCE) });
  const program = 'import sys; n = sys.argv[1]; sys.stdout.write(n * 500); sys.stderr.write(n); sys.exit(int(n) % 7)';
  const queue = Array.from({ length: RUNS }, (_, index) => String(index));
  const faults: string[] = [];
  let heard = 0;
  const work = async () => {
    for (let n = queue.shift(); n !== undefined; n = queue.shift()) {
      const { stdout, stderr, exit_code } = await engine.run(program, { args: [n] });
      heard += 1;
      if (stdout !== n.repeat(500) || stderr !== n || exit_code !== Number(n) % 7) {
        faults.push(`${n}: ${String(stdout?.length)} ${String(stderr)} ${String(exit_code)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  expect(faults).toEqual([]);
  expect(heard).toBe(RUNS);
}, 180_000);
