/** Options of the commands: a wrong one is told at once, in one sentence, and nothing is begun. */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { ROOT } from '../../../scripts/setup/host.mjs';

const run = (script: string, ...args: readonly string[]) =>
  spawnSync(process.execPath, [`scripts/${script}.mjs`, ...args], { cwd: ROOT, encoding: 'utf8', timeout: 20_000 });
const SCRIPTS = ['images', 'bench', 'chaos', 'crash-test'];

test.each(SCRIPTS)('%s says how it is used', (script) => {
  for (const option of ['--help', '-h']) {
    const { status, stdout, stderr } = run(script, option);
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^pyexec: npm run ${script} -- .+\\n$`));
  }
});

test.each<readonly [script: string, argument: string, reason: string]>([
  ...SCRIPTS.map((script) => [script, '--nonsense', `Unknown option '--nonsense'`] as const),
  ['images', '--runs=many', '--runs many is not a number'],
  ['bench', 'latency', `Unexpected argument 'latency'`],
  ['chaos', '--minutes=-1', '--minutes -1 is not a number'],
  ['chaos', '--soak', `Option '--soak <value>' argument missing`],
  ['crash-test', '--kills=1e3', '--kills 1e3 is not a number'],
])('%s %s is refused', (script, argument, reason) => {
  const { status, stderr } = run(script, argument);
  expect(status).toBe(2);
  expect(stderr.startsWith(`pyexec: ${reason}; npm run ${script} -- `), stderr).toBe(true);
  expect(stderr.split('\n')).toHaveLength(2);
});
