#!/usr/bin/env node
/** `npm run bench`: sets up what is missing, then measures. Arguments go to bench/run.ts. */

import { dockerSocket } from './setup/docker-api.mjs';
import { runInForeground } from './setup/foreground.mjs';
import { ROOT } from './setup/host.mjs';
import { readOptions } from './setup/options.mjs';
import { nodeBinary } from './setup/packages.mjs';
import { runScript, say } from './setup/report.mjs';
import { setUp } from './setup/set-up.mjs';

const USAGE = 'npm run bench -- [--quick] [--only PART,…]';

await runScript(async () => {
  readOptions(USAGE, { options: { quick: { type: 'boolean' }, only: { type: 'string' } } });
  await setUp();
  say('measuring; leave the machine alone meanwhile');
  return runInForeground(nodeBinary(), ['bench/run.ts', ...process.argv.slice(2)], {
    cwd: ROOT,
    env: { ...process.env, PYEXEC_DOCKER_SOCKET: dockerSocket() },
  });
});
