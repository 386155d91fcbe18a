/** Runs a program in this script's place: its terminal, its signals, its exit code. */

import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { which } from './host.mjs';

const FORWARDED = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']);
const SAME_PRESS_MS = 500;

/**
 * The program gets a process group of its own and every signal from here:
 * Ctrl-C reaches npm and this script alike, npm passes it on as well, and the
 * program, for which a second one means "now", shall see one. Should this script
 * be killed outright, the kernel tells the program to end (setpriv).
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd: string, env: NodeJS.ProcessEnv}} options
 * @returns {Promise<number>} the exit code, 128 + n after signal n
 */
export async function runInForeground(command, args, options) {
  const setpriv = which('setpriv');
  const [file, argv] = setpriv ? [setpriv, ['--pdeathsig', 'TERM', command, ...args]] : [command, args];
  const child = spawn(file, argv, { ...options, stdio: 'inherit', detached: true });
  const lastSent = new Map();
  for (const signal of FORWARDED) {
    process.on(signal, () => {
      if (Date.now() - (lastSent.get(signal) ?? 0) < SAME_PRESS_MS) return;
      lastSent.set(signal, Date.now());
      child.kill(signal);
    });
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']));
  });
}
