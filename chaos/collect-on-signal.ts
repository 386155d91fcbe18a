/**
 * Loaded into the server before its own code by a soak alone: on SIGWINCH what nobody holds is collected, and what is
 * left is written down, in bytes: in the heap, and outside of it. Pages that V8 keeps for itself, empty, do not count: how many those are depends on how
 * busy the last seconds were.
 */
import { writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const file = process.env['HELD_BYTES_FILE'];

process.on('SIGWINCH', () => {
  // What finalisers let go of is garbage of the second time.
  collect();
  collect();
  const { rss, heapTotal, heapUsed } = process.memoryUsage();
  if (file !== undefined) writeFileSync(file, `${String(heapUsed)} ${String(rss - heapTotal)}`);
});
