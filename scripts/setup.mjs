#!/usr/bin/env node
/**
 * Makes a fresh clone ready to run: npm packages, a Docker daemon that answers,
 * the sandbox images. Does only what is missing, and says what that is first.
 *
 *     node scripts/setup.mjs [--rebuild]    --rebuild: build the images again, from today's packages
 */

import { runScript, say } from './setup/report.mjs';
import { setUp } from './setup/set-up.mjs';

await runScript(async () => {
  const [unknown] = process.argv.slice(2).filter((argument) => argument !== '--rebuild');
  if (unknown) {
    say(`${unknown} is no option of the set-up; it has one: --rebuild`);
    return 2;
  }
  await setUp({ rebuild: process.argv.includes('--rebuild') });
  say('everything is in place: `npm start` serves, `npm test` tests');
  return 0;
});
