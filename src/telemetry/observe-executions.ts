/**
 * Counts and logs what executions go through: one log line per run, with its id,
 * its outcome and its timings, and nothing of what the caller sent.
 */
import type { ExecutionMilestone } from '../domain/milestones.ts';
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';

export function observeMilestones(logger: Logger, metrics: Metrics): (milestone: ExecutionMilestone) => void {
  return (milestone) => {
    switch (milestone.kind) {
      case 'accepted':
        metrics.accepted(milestone.projectBytes);
        break;
      case 'acquired':
        metrics.phase('queue', milestone.waitedMs);
        metrics.phase('acquire', milestone.acquireMs);
        break;
      case 'first_byte':
        metrics.phase('first_byte', milestone.sinceStartMs);
        break;
      case 'ended': {
        const { id, plan, outcome, usage, totalMs, cause } = milestone;
        metrics.ended(outcome, usage, plan.shape.runtime, totalMs);
        const line = {
          execution_id: id,
          outcome: outcome.kind,
          ...(outcome.kind === 'exited' ? { exit_code: outcome.exit_code } : {}),
          ...(outcome.kind === 'infrastructure_error' ? { code: outcome.code } : {}),
          image: plan.shape.image,
          runtime: plan.shape.runtime,
          network: plan.shape.network,
          total_ms: Math.round(totalMs),
          usage,
        };
        if (cause === undefined) logger.info(line, 'run ended');
        else logger.error({ ...line, err: cause }, 'run failed');
        break;
      }
    }
  };
}
