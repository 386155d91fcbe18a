/**
 * Keeps the buffers that bytes arrive in from piling up.
 *
 * Every chunk from a socket is a new buffer outside the heap. V8 collects young
 * garbage when its heap has grown, not when buffers have, and lets some 64 MiB of
 * them wait. So those who see bytes pass say so here, and after a few MiB the young
 * generation is collected: about a millisecond for 16 MiB.
 *
 * The heap is the process's, and so is the count.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const YOUNG_BYTES = 4 << 20;
const OLD_ENTRIES = 30_000;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as (options: { type: 'minor' | 'major' }) => void;
setFlagsFromString('--no-expose-gc');

let passedBytes = 0;

/** Says that buffers of `bytes` bytes came into being that nobody needs for long. */
export function buffersPassed(bytes: number): void {
  passedBytes += bytes;
  if (passedBytes < YOUNG_BYTES) return;
  passedBytes = 0;
  collect({ type: 'minor' });
}

let passedEntries = 0;

/** Says that a project of so many entries was read: their objects live long enough to become old garbage. */
export function entriesPassed(count: number): void {
  passedEntries += count;
  if (passedEntries < OLD_ENTRIES) return;
  passedEntries = 0;
  collect({ type: 'major' });
}
