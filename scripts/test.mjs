#!/usr/bin/env node
/**
 * `npm test`: sets up what is missing, runs every test against the real daemon,
 * then looks for anything of ours the tests left in it.
 *
 * Arguments go to vitest: `npm test -- --project unit`, `npm test -- test/unit/archive`.
 */

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { docker, dockerSocket } from './setup/docker-api.mjs';
import { runInForeground } from './setup/foreground.mjs';
import { ROOT } from './setup/host.mjs';
import { nodeBinary, toolEnvironment } from './setup/packages.mjs';
import { runScript, say } from './setup/report.mjs';
import { setUp } from './setup/set-up.mjs';
import { ensureTestTools } from './setup/test-tools.mjs';

const LABEL = 'pyexec.instance';
const TEARDOWN_GRACE_MS = 15_000;

await runScript(async () => {
  await setUp();
  await ensureTestTools();
  // A service that runs here meanwhile keeps its containers: they are not the tests'.
  const before = new Set((await ours()).map(({ instance }) => instance));

  say('running the tests');
  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const exitCode = await runInForeground(nodeBinary(), [vitest, 'run', ...process.argv.slice(2)], {
    cwd: ROOT,
    env: { ...toolEnvironment(), PYEXEC_DOCKER_SOCKET: dockerSocket() },
  });

  const leftovers = await leftoversOf(before);
  for (const { kind, id, instance } of leftovers) say(`left behind: ${kind} ${id} (${LABEL}=${instance})`);
  if (leftovers.length > 0) return exitCode || 1;
  say(`nothing labelled ${LABEL} was left in Docker`);
  return exitCode;
});

/**
 * What is there when the tests end and stays: not what another suite or
 * service on this daemon comes and goes with.
 * @param {Set<string>} before
 */
async function leftoversOf(before) {
  const deadline = Date.now() + TEARDOWN_GRACE_MS;
  let left = (await ours()).filter(({ instance }) => !before.has(instance));
  while (left.length > 0 && Date.now() < deadline) {
    await sleep(500);
    const present = new Set((await ours()).map(({ id }) => id));
    left = left.filter(({ id }) => present.has(id));
  }
  return left;
}

async function ours() {
  const filters = JSON.stringify({ label: [LABEL] });
  const [containers, volumes, networks] = await Promise.all([
    docker('/containers/json', { query: { all: '1', filters } }),
    docker('/volumes', { query: { filters } }),
    docker('/networks', { query: { filters } }),
  ]);
  /** @param {string} kind @param {any[] | null} list @param {string} key */
  const named = (kind, list, key) =>
    (list ?? []).map((entry) => ({
      kind,
      id: String(entry[key]).slice(0, 64),
      instance: String(entry.Labels?.[LABEL]),
    }));
  return [
    ...named('container', containers.body, 'Id'),
    ...named('volume', volumes.body.Volumes, 'Name'),
    ...named('network', networks.body, 'Id'),
  ];
}
