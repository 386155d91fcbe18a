#!/usr/bin/env node
/** `npm run crash-test`: sets up what is missing, then kills the server again and again. Arguments go to chaos/crash-test.ts. */

import { dockerSocket } from './setup/docker-api.mjs';
import { runInForeground } from './setup/foreground.mjs';
import { ROOT } from './setup/host.mjs';
import { readOptions } from './setup/options.mjs';
import { nodeBinary } from './setup/packages.mjs';
import { runScript } from './setup/report.mjs';
import { setUp } from './setup/set-up.mjs';

const USAGE = 'npm run crash-test -- [--kills N] [--seed N]';

await runScript(async () => {
  readOptions(USAGE, { options: { kills: { type: 'string' }, seed: { type: 'string' } } }, ['kills', 'seed']);
  await setUp();
  return runInForeground(nodeBinary(), ['chaos/crash-test.ts', ...process.argv.slice(2)], {
    cwd: ROOT,
    env: { ...process.env, PYEXEC_DOCKER_SOCKET: dockerSocket() },
  });
});
