/**
 * The sandbox images: every folder of images/ that has an image.json.
 *
 * An image is built once per recipe and tagged with the recipe's hash, so a
 * second clone of the same version finds it, and a changed recipe builds anew.
 * `latest` follows the checkout that was set up last.
 */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { docker, dockerStream, inspectImage } from './docker-api.mjs';
import { ROOT, cacheFolder } from './host.mjs';
import { withLock } from './lock.mjs';
import { ensureOfflineBase, environmentOf } from './offline-image.mjs';
import { EXIT, SetupError, progress, say } from './report.mjs';

const IMAGES = join(ROOT, 'images');
const REGISTRY_DEADLINE_MS = 15_000;
const REGISTRY_SILENCE_REMEMBERED_MS = 60 * 60 * 1000;

/** @param {{rebuild?: boolean}} [options] */
export async function ensureImages({ rebuild = false } = {}) {
  for (const recipe of readRecipes()) {
    if (!rebuild && (await isPresent(recipe))) continue;
    await withLock(async () => {
      if (!rebuild && (await isPresent(recipe))) return;
      await build(recipe, rebuild);
    });
  }
}

/**
 * @typedef {object} Recipe
 * @property {string} name
 * @property {string} hash of everything below and of every file the build reads
 * @property {{base: string}} online
 * @property {{name: string, hash: string, suite: string, packages: string[]}} offline
 */

/** @returns {Recipe[]} */
function readRecipes() {
  return readdirSync(IMAGES, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(IMAGES, entry.name, 'image.json')))
    .map(({ name }) => {
      const { online, offline } = JSON.parse(readFileSync(join(IMAGES, name, 'image.json'), 'utf8'));
      const files = readdirSync(join(IMAGES, name))
        .filter((file) => file !== 'README.md')
        .sort()
        .map((file) => join(IMAGES, name, file));
      const sources = [join(IMAGES, 'prepare.py'), ...files].map((file) => readFileSync(file, 'utf8'));
      const base = [process.arch, offline.suite, ...offline.packages];
      return {
        name,
        hash: hashOf([process.arch, ...sources]),
        online,
        offline: { name, hash: hashOf(base), suite: offline.suite, packages: offline.packages },
      };
    });
}

/** @param {string[]} parts */
const hashOf = (parts) => createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12);

/** @param {Recipe} recipe */
async function isPresent({ name, hash }) {
  const image = await inspectImage(`pyexec/${name}:${hash}`);
  if (!image) return false;
  const latest = await inspectImage(`pyexec/${name}:latest`);
  if (latest?.Id !== image.Id) await tag(name, hash, 'latest');
  return true;
}

/** @param {string} name @param {string} from @param {string} to */
async function tag(name, from, to) {
  const { status, body } = await docker(`/images/pyexec/${name}:${from}/tag`, {
    method: 'POST',
    query: { repo: `pyexec/${name}`, tag: to },
  });
  if (status !== 201)
    throw new SetupError(EXIT.docker, `Docker refused to tag pyexec/${name}:${to}.`, JSON.stringify(body));
}

/**
 * @param {Recipe} recipe
 * @param {boolean} fromScratch also the base, from the packages there are today
 */
async function build(recipe, fromScratch) {
  const { name, hash } = recipe;
  say(
    fromScratch
      ? `building pyexec/${name} again`
      : `the image pyexec/${name} of this version (${hash}) is missing: building it`,
  );
  const base = (await pullOnlineBase(recipe)) ?? {
    ...(await ensureOfflineBase(recipe.offline, fromScratch)),
    origin: 'debian',
  };
  const step = progress(`building pyexec/${name} on ${base.reference}`);
  const context = spawn('tar', ['--create', '--file=-', `--directory=${IMAGES}`, '--exclude=*.md', '.'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    await dockerStream(`building pyexec/${name}`, '/build', {
      query: {
        dockerfile: `${name}/Dockerfile`,
        t: `pyexec/${name}:${hash}`,
        // Debian's packages are all in the base; the official image's Dockerfile may add wheels.
        networkmode: base.origin === 'debian' ? 'none' : 'default',
        forcerm: '1',
        nocache: '1',
        buildargs: JSON.stringify({
          BASE: base.reference,
          PYTHON_VERSION: base.pythonVersion,
          RECIPE: hash,
          ORIGIN: base.origin,
        }),
      },
      body: context.stdout,
      onEvent: ({ stream }) => /^Step /.test(stream ?? '') && step.update(stream.split('\n', 1)[0]),
    });
  } catch (error) {
    step.abandon();
    throw error;
  }
  step.done();
  await tag(name, hash, 'latest');
  // The classic builder keeps the image of the first stage, as large as the result.
  const filters = JSON.stringify({ dangling: ['true'], label: ['pyexec.stage=prepared'] });
  await docker('/images/prune', { method: 'POST', query: { filters } });
}

/**
 * @param {Recipe} recipe
 * @returns {Promise<{reference: string, pythonVersion: string, origin: string} | undefined>}
 */
async function pullOnlineBase({ name, online }) {
  if (!(await registryAnswers(online.base))) return undefined;
  say(`pulling ${online.base}`);
  const step = progress(`pulling ${online.base}`);
  try {
    await dockerStream(`pulling ${online.base}`, '/images/create', {
      query: { fromImage: online.base },
      onEvent: ({ status, id, progress: bar }) => step.update([id, status, bar].filter(Boolean).join(' ')),
    });
    step.done();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    step.abandon();
    say(`the pull for ${name} failed (${error.detail.trim().split('\n').at(-1)}); going on without a registry`);
    return undefined;
  }
  const image = await inspectImage(online.base);
  return {
    reference: online.base,
    pythonVersion: environmentOf(image).PYTHON_VERSION ?? 'unknown',
    origin: 'registry',
  };
}

/**
 * Asks the registry, through the daemon, for the image's manifest. A silence is
 * remembered for an hour: without a route it can take the whole deadline.
 * @param {string} reference
 */
async function registryAnswers(reference) {
  const memory = join(cacheFolder(), 'registry.json');
  const silentUntil = existsSync(memory) ? JSON.parse(readFileSync(memory, 'utf8')).silentUntil : 0;
  if (Date.now() < silentUntil) return false;
  const step = progress('asking the container registry');
  const answer = await docker(`/distribution/${reference}/json`, { timeoutMs: REGISTRY_DEADLINE_MS }).catch(
    () => undefined,
  );
  step.abandon();
  if (answer?.status === 200) return true;
  say('no container registry answers; building from Debian packages instead');
  writeFileSync(memory, JSON.stringify({ silentUntil: Date.now() + REGISTRY_SILENCE_REMEMBERED_MS }));
  return false;
}
