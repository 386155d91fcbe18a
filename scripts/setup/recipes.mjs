/**
 * What images there are to build: every folder of images/ with an image.json, once
 * per version of Python in images/pythons.json.
 *
 * A recipe's hash covers every file its build reads, so it names what comes out as
 * far as this checkout decides it. The packages of the day it does not cover.
 */

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './host.mjs';

export const IMAGES = join(ROOT, 'images');

/**
 * @typedef {object} Recipe
 * @property {string} name the folder, and the repository below pyexec/
 * @property {string} python `3.13`
 * @property {string} hash
 * @property {readonly string[]} tags beside the hash
 * @property {boolean} isDefault built by the set-up
 * @property {string} onlineBase
 * @property {import('./offline-image.mjs').OfflineRecipe | undefined} offline undefined where Debian has no such Python
 */

/** @returns {Recipe[]} */
export function readRecipes() {
  const pythons = JSON.parse(readFileSync(join(IMAGES, 'pythons.json'), 'utf8'));
  const versions = [...new Set([...pythons.online, ...Object.keys(pythons.offline)])];
  return readdirSync(IMAGES, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(IMAGES, entry.name, 'image.json')))
    .map(({ name }) => name)
    .sort((one, other) => Number(isOnto(one)) - Number(isOnto(other)))
    .flatMap((name) =>
      versions.map((python) => {
        const isDefault = python === pythons.default;
        const suite = pythons.offline[python];
        return {
          name,
          python,
          hash: hashOf([process.arch, python, ...sourcesOf(name)]),
          tags: isDefault ? ['latest', python] : [python],
          isDefault,
          onlineBase: imageOf(name).online.base.replace('{python}', python),
          offline: suite && offlineOf(name, suite, isDefault ? '' : python),
        };
      }),
    );
}

/** @param {string} name */
const imageOf = (name) => JSON.parse(readFileSync(join(IMAGES, name, 'image.json'), 'utf8'));

/** @param {string} name */
const isOnto = (name) => imageOf(name).offline.onto !== undefined;

/** @param {string} name */
function sourcesOf(name) {
  const files = readdirSync(join(IMAGES, name))
    .filter((file) => file !== 'README.md')
    .sort()
    .map((file) => join(IMAGES, name, file));
  return [join(IMAGES, 'prepare.py'), join(IMAGES, 'labels.Dockerfile'), ...files].map((file) =>
    readFileSync(file, 'utf8'),
  );
}

/**
 * @param {string} name
 * @param {string} suite
 * @param {string} mark tells the tarballs of one image apart
 * @returns {import('./offline-image.mjs').OfflineRecipe}
 */
function offlineOf(name, suite, mark) {
  const { onto, packages, unneeded } = imageOf(name).offline;
  const below = onto && offlineOf(onto, suite, mark);
  return {
    name: `${name}${mark}`,
    hash: hashOf([process.arch, suite, ...(below ? [below.hash] : []), ...packages, ...(unneeded ? [unneeded] : [])]),
    suite,
    packages,
    ...(unneeded && { unneeded }),
    ...(below && { onto: below }),
  };
}

/** @param {unknown[]} parts */
const hashOf = (parts) => createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12);
