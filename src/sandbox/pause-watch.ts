/**
 * Hears from the daemon when somebody pauses a container of ours.
 *
 * It asks nothing: one connection is open, over which the daemon speaks. While there is none, or where the daemon
 * does not allow it, pauses go unheard, which costs nothing but time: see WarmPool.maintain.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LABEL } from './container-labels.ts';
import type { DockerDaemon } from './docker-daemon.ts';

/** Between the end of one connection and the next. */
const AGAIN_AFTER_MS = 5_000;

/** Tells the id of each container of the instance that is paused, until `signal` is aborted. Never rejects. */
export async function watchPauses(
  daemon: Pick<DockerDaemon, 'watchPauses'>,
  instance: string,
  onPause: (containerId: string) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await daemon.watchPauses(`${LABEL.instance}=${instance}`, onPause, signal).catch(() => undefined);
    await sleep(AGAIN_AFTER_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }
}
