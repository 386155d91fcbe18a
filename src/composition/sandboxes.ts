/**
 * The room of sandboxes: who starts them, and who removes what an earlier process left.
 */
import { availableParallelism } from 'node:os';
import type { Config } from '../config/config.ts';
import { SandboxHost, type SandboxEvent } from '../sandbox/cold-start.ts';
import type { DockerDaemon } from '../sandbox/docker-daemon.ts';
import { OrphanReaper } from '../sandbox/orphan-reaper.ts';
import { supervisorCommand } from '../sandbox/supervisor/protocol.ts';
import type { OperatorPolicy } from '../policy/decide.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** A container may outlive its longest run by this much before anybody may remove it. */
const LIFETIME_MARGIN_MS = 300_000;

/** How many containers are started at the same time: where it is more than processors, all of them take longer. */
export const concurrentStarts = () => Math.max(2, availableParallelism());

/** The host of all sandboxes and the reaper, which does not search yet. */
export function buildSandboxes(
  config: Config,
  parts: {
    readonly daemon: DockerDaemon;
    readonly seccompProfile: string;
    readonly policy: OperatorPolicy;
    readonly logger: Logger;
    readonly metrics: Metrics;
  },
): { readonly host: SandboxHost; readonly reaper: OrphanReaper } {
  const { daemon, seccompProfile, policy, logger, metrics } = parts;
  const observe = (event: SandboxEvent) => {
    switch (event.kind) {
      case 'started':
        metrics.phase('start', event.durationMs);
        break;
      case 'removed':
        metrics.phase('teardown', event.durationMs);
        break;
      case 'remove_failed':
        metrics.removeFailed();
        logger.error({ err: event.error }, 'a container could not be removed; the reaper goes on');
        break;
      case 'orphan_reaped':
        metrics.orphanReaped();
        logger.warn({ container: event.containerId.slice(0, 12) }, 'removed a container nobody owned');
        break;
    }
  };
  const host = new SandboxHost({
    daemon,
    settings: {
      seccompProfile,
      command: supervisorCommand(),
      openFilesMax: policy.maxima.open_files,
      dnsServers: config.PYEXEC_DNS_SERVERS,
    },
    instance: config.PYEXEC_INSTANCE,
    concurrentStarts: concurrentStarts(),
    lifetimeMsMax:
      Math.max(policy.maxima.wall_ms, policy.inputs.wallMs) + config.PYEXEC_POOL_MAX_AGE * 1000 + LIFETIME_MARGIN_MS,
    observe,
  });
  const reaper = new OrphanReaper({
    daemon,
    instance: config.PYEXEC_INSTANCE,
    boot: host.boot,
    intervalMs: config.PYEXEC_REAP_INTERVAL * 1000,
    liveNames: () => host.liveNames,
    observe,
    onError: (error) => {
      logger.warn({ err: error }, 'the search for orphans failed');
    },
  });
  return { host, reaper };
}
