#!/usr/bin/env node
/** `npm run chaos`: sets up what is missing, then breaks things. Arguments go to chaos/run.ts. */

import { dockerSocket } from './setup/docker-api.mjs';
import { runInForeground } from './setup/foreground.mjs';
import { ROOT } from './setup/host.mjs';
import { readOptions } from './setup/options.mjs';
import { nodeBinary } from './setup/packages.mjs';
import { runScript, say } from './setup/report.mjs';
import { setUp } from './setup/set-up.mjs';

const USAGE = 'npm run chaos -- [--minutes N] [--clients N] [--seed N] [--only FAULT,…] | --soak RUNS';
const NUMBERS = ['minutes', 'clients', 'seed', 'soak'];

await runScript(async () => {
  const text = /** @type {const} */ ({ type: 'string' });
  readOptions(USAGE, { options: { minutes: text, clients: text, seed: text, soak: text, only: text } }, NUMBERS);
  await setUp();
  say('breaking a server and a Docker daemon of its own; this needs root');
  return runInForeground(nodeBinary(), ['chaos/run.ts', ...process.argv.slice(2)], {
    cwd: ROOT,
    env: { ...process.env, PYEXEC_DOCKER_SOCKET: dockerSocket() },
  });
});
