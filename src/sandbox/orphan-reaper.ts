/**
 * Removes containers of ours that nobody owns any more.
 *
 * It works from the daemon's labels, not from local state: at boot and then at an
 * interval. Removed are containers of this server's instance that belong to an
 * earlier process, or to this one without being in its registry; and containers
 * of any instance that have outlived their expiry. A container without our labels
 * is never touched.
 */
import { LABEL } from './container-labels.ts';
import type { SandboxEvent } from './cold-start.ts';
import type { ContainerSummary, DockerDaemon } from './docker-daemon.ts';

/** A container younger than this may be one whose creation is just being answered. */
const SETTLE_S = 60;
/** Clocks of servers that share a daemon differ by less than this. */
const EXPIRY_MARGIN_S = 60;

export interface ReaperOptions {
  readonly daemon: DockerDaemon;
  readonly instance: string;
  readonly boot: string;
  readonly intervalMs: number;
  /** Names of the containers in this process's registry at this moment. */
  readonly liveNames: () => ReadonlySet<string>;
  readonly observe: (event: SandboxEvent) => void;
  readonly onError: (error: unknown) => void;
}

/** Whether nobody owns the container. Pure. */
export function isOrphan(
  container: ContainerSummary,
  context: { instance: string; boot: string; nowS: number; isLive: boolean },
): boolean {
  const { labels } = container;
  const instance = labels[LABEL.instance];
  if (instance === undefined) return false;
  const expires = Number(labels[LABEL.expires]);
  if (instance !== context.instance) return expires > 0 && context.nowS > expires + EXPIRY_MARGIN_S;
  if (labels[LABEL.boot] !== context.boot) return true;
  return !context.isLive && context.nowS - container.createdAtS > SETTLE_S;
}

/** A crash may leave as many as ran; whoever boots waits for them to go. */
const REMOVALS_AT_ONCE = 4;

export class OrphanReaper {
  readonly #options: ReaperOptions;
  #timer: NodeJS.Timeout | undefined;
  #sweeping: Promise<number> | undefined;

  constructor(options: ReaperOptions) {
    this.#options = options;
  }

  /** Sweeps now and then at the interval, until `stop`. Failures are reported and tried again. */
  start(): void {
    this.#timer = setInterval(() => {
      this.sweep().catch(this.#options.onError);
    }, this.#options.intervalMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /**
   * Removes every orphan there is now.
   * @returns how many were removed.
   * @throws {DaemonError} when the daemon cannot list containers.
   */
  sweep(): Promise<number> {
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = undefined;
    });
    return this.#sweeping;
  }

  async #sweep(): Promise<number> {
    const { daemon, instance, boot, liveNames, observe, onError } = this.#options;
    const nowS = Date.now() / 1000;
    // The list is of some moment until it comes: what was owned before it or is now may have been made or removed since.
    const before = liveNames();
    const listed = await daemon.listByLabel(LABEL.instance);
    const now = liveNames();
    const orphans = listed.filter((container) => {
      const { name } = container;
      // One without a name is half removed already, or was not told of in full: it is not judged by it.
      return isOrphan(container, { instance, boot, nowS, isLive: name === '' || before.has(name) || now.has(name) });
    });
    let removed = 0;
    const removeNext = async () => {
      for (let orphan = orphans.shift(); orphan; orphan = orphans.shift()) {
        try {
          await daemon.remove(orphan.id);
          removed += 1;
          observe({ kind: 'orphan_reaped', containerId: orphan.id });
        } catch (error) {
          onError(error);
        }
      }
    };
    await Promise.all(Array.from({ length: REMOVALS_AT_ONCE }, removeNext));
    return removed;
  }
}
