/**
 * What a run may use at most, and what it is charged: what was measured inside its sandbox; where
 * nothing could be, what it may have used in the time it held its container. Pure.
 */
import type { ChargedUsage } from '../domain/budget.ts';
import type { Usage } from '../domain/outcome.ts';
import type { RunPlan } from '../domain/plan.ts';

const MIB = 2 ** 20;

/** For a run that never began. */
export const NOTHING_USED: ChargedUsage = { cpuMs: 0, memoryMibMs: 0 };

/** What the limits let a run use; those of time hold for each of many inputs, within a time for all together. */
export function mostUsed({ limits, inputs }: RunPlan): ChargedUsage {
  const memoryMib = limits.memory_bytes / MIB;
  if (!inputs) return { cpuMs: limits.cpu_ms, memoryMibMs: memoryMib * limits.wall_ms };
  const count = inputs.list.length;
  const wallMs = Math.min(count * limits.wall_ms, inputs.limits.wallMs);
  return { cpuMs: Math.min(count * limits.cpu_ms, wallMs * limits.cpus), memoryMibMs: memoryMib * wallMs };
}

/** @param ranMs how long the run held its container. */
export function chargedUsage(plan: RunPlan, usage: Usage | undefined, ranMs: number): ChargedUsage {
  const { limits } = plan;
  return {
    cpuMs: usage?.cpu_ms ?? Math.min(mostUsed(plan).cpuMs, ranMs * limits.cpus),
    memoryMibMs: (limits.memory_bytes / MIB) * (usage?.wall_ms ?? ranMs),
  };
}
