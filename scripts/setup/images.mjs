/**
 * The sandbox images, built once per recipe.
 *
 * An image is tagged with its recipe's hash, so a second clone of the same version
 * finds it, and a changed recipe builds anew. `latest` and the version of Python
 * follow the checkout that was set up last.
 */

import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { docker, dockerStream, inspectImage } from './docker-api.mjs';
import { cacheFolder } from './host.mjs';
import { withLock } from './lock.mjs';
import { ensureOfflineBase, environmentOf } from './offline-image.mjs';
import { IMAGES, readRecipes } from './recipes.mjs';
import { EXIT, SetupError, progress, say } from './report.mjs';

/** @typedef {import('./recipes.mjs').Recipe} Recipe */

const REGISTRY_DEADLINE_MS = 15_000;
const REGISTRY_SILENCE_REMEMBERED_MS = 60 * 60 * 1000;
/** The line prepare.py ends with. */
const MANIFEST = /^pyexec-manifest: (\{.*\})$/m;
/** Where an image is until it has its labels: no name that could be run. */
const UNLABELLED = 'pyexec-unlabelled';

/**
 * Builds what is missing.
 * @param {{rebuild?: boolean, recipes?: readonly Recipe[]}} [options] without recipes: those of the default Python
 */
export async function ensureImages({
  rebuild = false,
  recipes = readRecipes().filter(({ isDefault }) => isDefault),
} = {}) {
  for (const recipe of recipes) {
    if (!rebuild && (await isPresent(recipe))) continue;
    await withLock(async () => {
      if (!rebuild && (await isPresent(recipe))) return;
      await build(recipe, rebuild);
    });
  }
}

/** @param {Recipe} recipe */
async function isPresent(recipe) {
  const image = await inspectImage(`pyexec/${recipe.name}:${recipe.hash}`);
  if (image) await tag(recipe, image.Id);
  return image !== undefined;
}

/** @param {Recipe} recipe @param {string} [id] where it is known: names that mean it already are left alone */
async function tag({ name, hash, tags }, id) {
  for (const to of tags) {
    if (id !== undefined && (await inspectImage(`pyexec/${name}:${to}`))?.Id === id) continue;
    await tagImage(`pyexec/${name}:${hash}`, `pyexec/${name}`, to);
  }
}

/** @param {string} image @param {string} repo @param {string} to */
async function tagImage(image, repo, to) {
  const { status, body } = await docker(`/images/${image}/tag`, { method: 'POST', query: { repo, tag: to } });
  if (status !== 201) throw new SetupError(EXIT.docker, `Docker refused to tag ${repo}:${to}.`, JSON.stringify(body));
}

/**
 * @param {Recipe} recipe
 * @param {boolean} fromScratch also the base, from the packages there are today
 */
async function build(recipe, fromScratch) {
  const { name, python, hash } = recipe;
  say(
    fromScratch
      ? `building pyexec/${name} for Python ${python} again`
      : `the image pyexec/${name} of this version (Python ${python}, ${hash}) is missing: building it`,
  );
  const base = (await pullOnlineBase(recipe)) ?? (await offlineBase(recipe, fromScratch));
  const unlabelled = `${UNLABELLED}/${name}:${hash}`;
  const printed = await runBuild(`building pyexec/${name} on ${base.reference}`, {
    dockerfile: `${name}/Dockerfile`,
    t: unlabelled,
    // Debian's packages are all in the base; the official image's Dockerfile may add wheels.
    networkmode: base.origin === 'debian' ? 'none' : 'default',
    nocache: '1',
    buildargs: JSON.stringify({
      BASE: base.reference,
      PYTHON_VERSION: base.pythonVersion,
      RECIPE: hash,
      ORIGIN: base.origin,
    }),
  });
  const manifest = JSON.parse(MANIFEST.exec(printed)?.[1] ?? '{}');
  await runBuild(`labelling pyexec/${name}`, {
    dockerfile: 'labels.Dockerfile',
    t: `pyexec/${name}:${hash}`,
    buildargs: JSON.stringify({ BASE: unlabelled }),
    labels: JSON.stringify({
      'pyexec.packages': JSON.stringify(manifest.packages ?? {}),
      'pyexec.system': manifest.system ?? 'unknown',
      'pyexec.base': base.description,
    }),
  });
  await tag(recipe);
  await removeBuildStages([unlabelled, ...(recipe.offline?.onto && base.origin === 'debian' ? [base.reference] : [])]);
}

/** @param {Recipe} recipe @param {boolean} fromScratch */
async function offlineBase({ name, python, offline }, fromScratch) {
  if (!offline) {
    throw new SetupError(
      EXIT.network,
      `No container registry answers, and Debian packages make pyexec/${name} only for the versions of Python that images/pythons.json names under "offline"; ${python} is none.`,
    );
  }
  const base = await ensureOfflineBase(offline, fromScratch);
  return { ...base, origin: 'debian', description: `debian ${offline.suite}` };
}

/**
 * @param {string} label
 * @param {Record<string, string>} query
 * @returns {Promise<string>} the end of what the build printed
 */
async function runBuild(label, query) {
  const step = progress(label);
  const context = spawn('tar', ['--create', '--file=-', `--directory=${IMAGES}`, '--exclude=*.md', '.'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let printed = '';
  try {
    await dockerStream(label, '/build', {
      query: { forcerm: '1', ...query },
      body: context.stdout,
      onEvent: ({ stream = '' }) => {
        printed = (printed + stream).slice(-100_000);
        if (/^Step /.test(stream)) step.update(stream.split('\n', 1)[0]);
      },
    });
  } catch (error) {
    step.abandon();
    throw error;
  }
  step.done();
  return printed;
}

/**
 * The classic builder keeps the image of the first stage, as large as the result; and a
 * base only one image is made of is in the cache as a tarball.
 * @param {string[]} references
 */
async function removeBuildStages(references) {
  for (const reference of references) await docker(`/images/${reference}`, { method: 'DELETE' });
  const filters = JSON.stringify({ dangling: ['true'], label: ['pyexec.stage=prepared'] });
  await docker('/images/prune', { method: 'POST', query: { filters } });
}

/**
 * @param {Recipe} recipe
 * @returns {Promise<{reference: string, pythonVersion: string, origin: string, description: string} | undefined>}
 */
async function pullOnlineBase({ name, onlineBase }) {
  if (!(await registryAnswers(onlineBase))) return undefined;
  say(`pulling ${onlineBase}`);
  const step = progress(`pulling ${onlineBase}`);
  try {
    await dockerStream(`pulling ${onlineBase}`, '/images/create', {
      query: { fromImage: onlineBase },
      onEvent: ({ status, id, progress: bar }) => step.update([id, status, bar].filter(Boolean).join(' ')),
    });
    step.done();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    step.abandon();
    say(`the pull for ${name} failed (${error.detail.trim().split('\n').at(-1)}); going on without a registry`);
    return undefined;
  }
  const image = await inspectImage(onlineBase);
  return {
    reference: onlineBase,
    pythonVersion: environmentOf(image).PYTHON_VERSION ?? 'unknown',
    origin: 'registry',
    // By its digest the very same base can be had again.
    description: image.RepoDigests?.[0] ?? onlineBase,
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
