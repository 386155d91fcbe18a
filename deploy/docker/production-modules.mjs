/**
 * Reduces the complete node_modules of this folder to production's: what `npm ci
 * --omit=dev --omit=optional` would install, and one package more. For a build that
 * has node_modules but neither npm nor a network. A package that is missing, or of
 * another version than the lock file says, ends the build.
 *
 *     node production-modules.mjs <package-lock.json> <package to keep>
 */

import { existsSync, readFileSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const [lockFile = '', alsoKept = ''] = process.argv.slice(2);
const MODULES = 'node_modules';

const locked = JSON.parse(readFileSync(lockFile, 'utf8')).packages;
const wanted = new Set(
  Object.keys(locked).filter((path) => {
    const { dev, optional, devOptional } = locked[path];
    return path === join(MODULES, alsoKept) || (path !== '' && !dev && !optional && !devOptional);
  }),
);

for (const path of wanted) {
  const manifest = join(path, 'package.json');
  const version = existsSync(manifest) ? JSON.parse(readFileSync(manifest, 'utf8')).version : 'none';
  if (version === locked[path].version) continue;
  process.stderr.write(`${path} should be ${locked[path].version} and is ${version}: run npm ci first.\n`);
  process.exit(1);
}

prune(MODULES);
process.stdout.write(`${wanted.size} packages for production\n`);

/**
 * Keeps in `folder`, a node_modules or a scope in one, only wanted packages.
 * @param {string} folder
 */
function prune(folder) {
  for (const entry of readdirSync(folder)) {
    const path = join(folder, entry);
    if (entry.startsWith('@')) {
      prune(path);
      if (readdirSync(path).length === 0) rmdirSync(path);
    } else if (!wanted.has(path)) rmSync(path, { recursive: true });
    else if (existsSync(join(path, MODULES))) prune(join(path, MODULES));
  }
}
