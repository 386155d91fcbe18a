import type { ExecutionId } from './execution.ts';
import type { Outcome, Usage } from './outcome.ts';
import type { RunPlan } from './plan.ts';

/** What an execution goes through, as it is told to those who count and those who write it down. */
export type ExecutionMilestone =
  | { readonly kind: 'accepted'; readonly id: ExecutionId; readonly plan: RunPlan; readonly projectBytes: number }
  | { readonly kind: 'acquired'; readonly id: ExecutionId; readonly waitedMs: number; readonly acquireMs: number }
  | { readonly kind: 'first_byte'; readonly id: ExecutionId; readonly sinceStartMs: number }
  | {
      readonly kind: 'ended';
      readonly id: ExecutionId;
      readonly plan: RunPlan;
      readonly outcome: Outcome;
      readonly usage: Usage | undefined;
      readonly totalMs: number;
      /** What went wrong on our side; for the log only. */
      readonly cause: unknown;
    };
