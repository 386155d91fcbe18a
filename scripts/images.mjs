#!/usr/bin/env node
/**
 * `npm run images -- build|list|verify`: the sandbox images beyond what the set-up builds.
 *
 *     build [NAME[:PYTHON] ...] [--all] [--rebuild]   what is missing; without a name, what the set-up builds
 *     list [--packages]                               what is on this daemon, with versions and sizes
 *     verify [NAME[:PYTHON] ...] [--runs N]           runs the images in real sandboxes; N mixed programs besides
 */

import { dockerSocket, docker } from './setup/docker-api.mjs';
import { runInForeground } from './setup/foreground.mjs';
import { ROOT } from './setup/host.mjs';
import { ensureImages } from './setup/images.mjs';
import { readOptions } from './setup/options.mjs';
import { nodeBinary } from './setup/packages.mjs';
import { readRecipes } from './setup/recipes.mjs';
import { runScript, say } from './setup/report.mjs';
import { setUp } from './setup/set-up.mjs';

const USAGE =
  'npm run images -- build [NAME[:PYTHON] ...] [--all] [--rebuild] | list [--packages] | verify [NAME[:PYTHON] ...] [--runs N]';

await runScript(async () => {
  const { values, positionals } = readOptions(
    USAGE,
    {
      allowPositionals: true,
      options: {
        all: { type: 'boolean', default: false },
        rebuild: { type: 'boolean', default: false },
        packages: { type: 'boolean', default: false },
        runs: { type: 'string', default: '0' },
      },
    },
    ['runs'],
  );
  const [command, ...names] = positionals;
  if (command === 'build') return buildNamed(names, values);
  if (command === 'list') return list(values.packages);
  if (command === 'verify') return verify(names, values.runs);
  say(USAGE);
  return 2;
});

/** @param {string[]} names @param {{all: boolean, rebuild: boolean}} options */
async function buildNamed(names, { all, rebuild }) {
  const recipes = readRecipes();
  const wanted = all ? recipes.filter(({ isDefault, offline }) => isDefault || offline !== undefined) : [];
  for (const name of names) {
    const found = recipes.find((recipe) =>
      name.includes(':') ? `${recipe.name}:${recipe.python}` === name : recipe.name === name && recipe.isDefault,
    );
    if (!found) {
      say(
        `there is no image ${name}; there are ${recipes.map((recipe) => `${recipe.name}:${recipe.python}`).join(', ')}`,
      );
      return 2;
    }
    wanted.push(found);
  }
  await ensureImages({ rebuild, ...(wanted.length > 0 ? { recipes: wanted } : {}) });
  return list(false);
}

/** @param {boolean} withPackages */
async function list(withPackages) {
  const filters = JSON.stringify({ label: ['pyexec.image'] });
  const { body } = await docker('/images/json', { query: { filters } });
  const current = new Set(readRecipes().map(({ name, hash }) => `pyexec/${name}:${hash}`));
  const rows = body
    .flatMap((/** @type {any} */ image) =>
      (image.RepoTags ?? []).map((/** @type {string} */ name) => ({ name, image })),
    )
    .filter((/** @type {{name: string}} */ { name }) => name.startsWith('pyexec/'))
    .sort((/** @type {any} */ one, /** @type {any} */ other) => one.name.localeCompare(other.name));
  for (const { name, image } of rows) {
    const labels = image.Labels ?? {};
    const packages = packagesOf(labels['pyexec.packages'] ?? '{}');
    const megabytes = `${Math.round(image.Size / 1e6)} MB`;
    const note = /:[0-9a-f]{12}$/.test(name) && !current.has(name) ? ', of another version of this checkout' : '';
    console.log(
      `${name.padEnd(28)} Python ${(labels['pyexec.python'] ?? '?').padEnd(8)} ${megabytes.padStart(7)}  ${packages?.length ?? '?'} packages, ${labels['pyexec.base'] ?? labels['pyexec.origin']}${note}`,
    );
    if (withPackages) for (const [key, version] of packages ?? []) console.log(`    ${key} ${version}`);
  }
  return 0;
}

/**
 * Names and versions; undefined when the label does not say them.
 * @param {string} label
 */
function packagesOf(label) {
  try {
    const packages = JSON.parse(label);
    return typeof packages === 'object' && packages !== null && !Array.isArray(packages)
      ? Object.entries(packages)
      : undefined;
  } catch {
    return undefined;
  }
}

/** @param {string[]} names @param {string} runs */
async function verify(names, runs) {
  await setUp({ development: false });
  return runInForeground(nodeBinary(), ['images/verify/verify.ts', '--runs', runs, ...names], {
    cwd: ROOT,
    env: { ...process.env, PYEXEC_DOCKER_SOCKET: dockerSocket() },
  });
}
