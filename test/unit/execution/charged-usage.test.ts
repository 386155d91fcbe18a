/** What a run may use at most, and is charged where nothing was measured. */
import { describe, expect, test } from 'vitest';
import type { RunPlan } from '../../../src/domain/plan.ts';
import { chargedUsage, mostUsed } from '../../../src/execution/charged-usage.ts';
import { PLAN } from './plan-and-report.ts';

const MIB = 2 ** 20;
const limits = { ...PLAN.limits, cpu_ms: 2_000, wall_ms: 10_000, memory_bytes: 64 * MIB, cpus: 2 };
const plan: RunPlan = { ...PLAN, limits };
const withInputs = (count: number): RunPlan => ({
  ...plan,
  inputs: {
    list: Array.from({ length: count }, () => ({ args: [], stdin: new Uint8Array() })),
    stopOnFailure: false,
    limits: { count: 1000, wallMs: 300_000, outputBytes: MIB },
  },
});

describe('the most a run may use', () => {
  test.each([
    ['is what its limits say', plan, { cpuMs: 2_000, memoryMibMs: 640_000 }],
    ['holds for all its inputs together', withInputs(10), { cpuMs: 20_000, memoryMibMs: 6_400_000 }],
    ['ends with the time for all inputs', withInputs(1000), { cpuMs: 600_000, memoryMibMs: 19_200_000 }],
  ])('%s', (_, of, expected) => {
    expect(mostUsed(of)).toEqual(expected);
  });
});

test('what was not measured is charged by the time the container was held', () => {
  expect(chargedUsage(plan, undefined, 60_000).cpuMs).toBe(2_000);
  expect(chargedUsage(withInputs(10), undefined, 5_000)).toEqual({ cpuMs: 10_000, memoryMibMs: 320_000 });
  expect(chargedUsage(plan, { wall_ms: 7, cpu_ms: 3 }, 60_000)).toEqual({ cpuMs: 3, memoryMibMs: 448 });
});
