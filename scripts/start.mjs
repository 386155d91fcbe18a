#!/usr/bin/env node
/** `npm start`: sets up what is missing, then is the service. Arguments go to src/main.ts. */

import { dockerSocket } from './setup/docker-api.mjs';
import { runInForeground } from './setup/foreground.mjs';
import { ROOT } from './setup/host.mjs';
import { nodeBinary } from './setup/packages.mjs';
import { runScript, say } from './setup/report.mjs';
import { setUp } from './setup/set-up.mjs';

await runScript(async () => {
  await setUp({ development: false });
  say('starting the service');
  return runInForeground(nodeBinary(), ['src/main.ts', ...process.argv.slice(2)], {
    cwd: ROOT,
    // The daemon the set-up prepared is the one the service uses, also when DOCKER_HOST named it.
    env: { ...process.env, PYEXEC_DOCKER_SOCKET: dockerSocket() },
  });
});
