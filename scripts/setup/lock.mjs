/**
 * One set-up at a time per user: two clones that start together build an image once.
 *
 * The lock is the kernel's, held by a `flock` child that ends with this process
 * however this process ends, so there is never a stale one.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { userFolder, which } from './host.mjs';
import { say } from './report.mjs';

/**
 * @template T
 * @param {() => Promise<T>} job
 * @returns {Promise<T>}
 */
export async function withLock(job) {
  const flock = which('flock');
  if (!flock) return job();
  const path = join(userFolder(), 'setup.lock');
  const holder = spawn(flock, [path, 'sh', '-c', 'echo locked; cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const notice = setTimeout(() => say(`another set-up is at work (it holds ${path}); waiting for it`), 500);
  await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')]);
  clearTimeout(notice);
  try {
    return await job();
  } finally {
    holder.stdin.end();
    if (holder.exitCode === null) await once(holder, 'exit');
  }
}
