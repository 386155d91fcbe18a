/**
 * What a run is charged: what was measured inside its sandbox; where nothing could
 * be, what it may have used in the time it held its container. Pure.
 */
import type { ChargedUsage } from '../domain/budget.ts';
import type { Usage } from '../domain/outcome.ts';
import type { RunPlan } from '../domain/plan.ts';

const MIB = 2 ** 20;

/** For a run that never began. */
export const NOTHING_USED: ChargedUsage = { cpuMs: 0, memoryMibMs: 0 };

/** @param ranMs how long the run held its container. */
export function chargedUsage({ limits }: RunPlan, usage: Usage | undefined, ranMs: number): ChargedUsage {
  return {
    cpuMs: usage?.cpu_ms ?? Math.min(limits.cpu_ms, ranMs * limits.cpus),
    memoryMibMs: (limits.memory_bytes / MIB) * (usage?.wall_ms ?? ranMs),
  };
}
