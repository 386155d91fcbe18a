/** What the set-up needs to know about this machine, and how it installs a Debian package on it. */

import { accessSync, constants, existsSync, mkdirSync, readFileSync, statfsSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT, SetupError, runStep, say } from './report.mjs';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export const isRoot = () => process.getuid?.() === 0;
export const userName = () => userInfo().username;
export const hasSystemd = () => existsSync('/run/systemd/system');

/** @param {string} command also looked for in the sbin folders, which are not on every user's PATH */
export function which(command) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, command))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Debian, Ubuntu and what derives from them. */
export function hasApt() {
  if (!existsSync('/etc/os-release') || !which('apt-get')) return false;
  return /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(readFileSync('/etc/os-release', 'utf8'));
}

/**
 * @param {string} why
 * @param {string[]} packages
 */
export async function aptInstall(why, packages) {
  say(`installing ${packages.join(', ')} with apt-get (${why})`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const lock = ['-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3'];
  await runStep('apt-get update', 'apt-get', ['update', ...lock], { env });
  await runStep(
    `apt-get install ${packages[0]}`,
    'apt-get',
    ['install', '-y', '--no-install-recommends', ...lock, ...packages],
    { env },
  );
}

/** Where finished downloads and verdicts are kept: with this checkout, or where XDG_CACHE_HOME says. */
export function cacheFolder() {
  return writableFolder(process.env.XDG_CACHE_HOME ? join(process.env.XDG_CACHE_HOME, 'pyexec') : join(ROOT, '.cache'));
}

/** Where the clones of one user meet, for the lock they share. */
export function userFolder() {
  return writableFolder(join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'pyexec'));
}

/** @param {string} folder */
function writableFolder(folder) {
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
  } catch {
    throw new SetupError(
      EXIT.permission,
      `The cache folder ${folder} cannot be written: give user ${userName()} access to it, or point XDG_CACHE_HOME elsewhere.`,
    );
  }
  return folder;
}

/**
 * @param {string} folder
 * @param {number} megabytes
 * @param {string} purpose
 */
export function requireSpace(folder, megabytes, purpose) {
  const { bavail, bsize } = statfsSync(folder);
  const free = Math.floor((bavail * bsize) / 1e6);
  if (free >= megabytes) return;
  throw new SetupError(
    EXIT.disk,
    `${purpose} needs ${megabytes} MB on the disk of ${folder}, and ${free} MB are free: free some space and run it again.`,
  );
}
