#!/usr/bin/env node
/**
 * `npm run check`: everything that can be said of the code without running it.
 * Runs every check also after one failed, then sums up. `npm run check -- lint types` runs only those.
 */

import { spawnSync } from 'node:child_process';
import { ROOT } from './setup/host.mjs';
import { ensurePackages, toolEnvironment } from './setup/packages.mjs';
import { runScript, say } from './setup/report.mjs';

const CHECKS = [
  { name: 'format', command: 'prettier', args: ['--check', '--log-level', 'warn', '.'] },
  { name: 'lint', command: 'eslint', args: ['--max-warnings', '0', '.'] },
  { name: 'types', command: 'tsc', args: ['--noEmit', '--pretty'] },
  { name: 'boundaries', command: 'depcruise', args: ['--config', '.dependency-cruiser.cjs', 'src', 'test'] },
  { name: 'dead-code', command: 'knip', args: ['--no-config-hints'] },
];

await runScript(async () => {
  const wanted = process.argv.slice(2);
  const unknown = wanted.find((name) => !CHECKS.some((check) => check.name === name));
  if (unknown) {
    say(`there is no check ${unknown}; there are ${CHECKS.map(({ name }) => name).join(', ')}`);
    return 2;
  }
  await ensurePackages();
  const failed = CHECKS.filter(({ name }) => wanted.length === 0 || wanted.includes(name)).filter(
    (check) => !passes(check),
  );
  if (failed.length === 0) return 0;
  say(`failed: ${failed.map(({ name }) => name).join(', ')}`);
  return 1;
});

/** @param {{name: string, command: string, args: string[]}} check */
function passes({ name, command, args }) {
  say(`check ${name} (${command})`);
  return spawnSync(command, args, { cwd: ROOT, env: toolEnvironment(), stdio: 'inherit' }).status === 0;
}
