/** Budgets: reserved before, charged after, over by less than one run, kept over a restart. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Budgets, type BudgetHold } from '../../../src/admission/budgets.ts';
import type { ChargedUsage } from '../../../src/domain/budget.ts';
import { UsageTable } from '../../../src/store/usage-table.ts';
import { exited, postJson, startHttp } from '../../support/http-server.ts';

const WINDOW_MS = 60_000;
const NOTHING = { cpuMs: 0, memoryMibMs: 0 };
const most = (cpuMs: number, memoryMibMs = 64_000): ChargedUsage => ({ cpuMs, memoryMibMs });

let directory = '';
let table: UsageTable;
let now = 0;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pyexec-budgets-'));
  table = new UsageTable(directory);
  now = 10 * WINDOW_MS + 15_000;
});
afterEach(() => {
  table.close();
  rmSync(directory, { recursive: true });
});

const budgets = (cpuMsMax: number, memoryMibMsMax = 0) =>
  new Budgets({
    windowMs: WINDOW_MS,
    cpuMsMax,
    memoryMibMsMax,
    table,
    onError: (error) => {
      throw error;
    },
    now: () => now,
  });

const exhausted = (retryAfterSeconds: number) =>
  expect.objectContaining({ code: 'budget_exhausted', retryAfterSeconds }) as unknown;

describe('a budget', () => {
  test('that is used up refuses until the window ends, and only its caller', () => {
    const of = budgets(1000);
    of.reserve('a', most(600)).settle({ cpuMs: 1000, memoryMibMs: 5 });
    expect(() => of.reserve('a', most(1))).toThrow(exhausted(45));
    of.reserve('b', most(1));
    now += 45_000;
    of.reserve('a', most(1));
    expect(of.usage('a')).toMatchObject({ cpu_seconds: { used: 0, reserved: 0.001, limit: 1 } });
  });

  test('of memory counts the limit times the time', () => {
    const of = budgets(0, 64_000);
    of.reserve('a', most(1, 64_000)).settle({ cpuMs: 1, memoryMibMs: 64_000 });
    expect(() => of.reserve('a', most(1))).toThrow(exhausted(45));
  });

  test('of which the rest is reserved refuses for a short while', () => {
    const of = budgets(1000);
    const first = of.reserve('a', most(900));
    const second = of.reserve('a', most(900));
    expect(of.usage('a').cpu_seconds).toEqual({ used: 0, reserved: 1, limit: 1 });
    expect(() => of.reserve('a', most(1))).toThrow(exhausted(5));
    first.settle({ cpuMs: 100, memoryMibMs: 0 });
    first.settle({ cpuMs: 100, memoryMibMs: 0 });
    expect(of.usage('a').cpu_seconds).toEqual({ used: 0.1, reserved: 0.9, limit: 1 });
    second.settle(NOTHING);
    expect(of.usage('a').cpu_seconds).toEqual({ used: 0.1, reserved: 0, limit: 1 });
  });

  test('is not had twice: who ends leaves to others only what nobody who goes on may use', () => {
    const of = budgets(1000);
    const first = of.reserve('a', most(900));
    const second = of.reserve('a', most(900));
    first.settle(NOTHING);
    const third = of.reserve('a', most(50));
    const fourth = of.reserve('a', most(900));
    third.settle(NOTHING);
    expect(() => of.reserve('a', most(1))).toThrow(exhausted(5));
    second.settle({ cpuMs: 900, memoryMibMs: 0 });
    expect(() => of.reserve('a', most(1))).toThrow(exhausted(5));
    fourth.settle({ cpuMs: 900, memoryMibMs: 0 });
    expect(of.usage('a').cpu_seconds).toEqual({ used: 1.8, reserved: 0, limit: 1 });
  });

  test('is not forgiven by a restart, and forgotten with its window', () => {
    budgets(1000).reserve('a', most(1)).settle({ cpuMs: 1000, memoryMibMs: 7 });
    expect(() => budgets(1000).reserve('a', most(1))).toThrow(exhausted(45));
    now += WINDOW_MS;
    expect(budgets(1000).usage('a').cpu_seconds.used).toBe(0);
  });

  test('is charged to the window in which a run ends', () => {
    const of = budgets(1000);
    const long = of.reserve('a', most(800));
    now += WINDOW_MS;
    expect(of.usage('a').cpu_seconds).toMatchObject({ used: 0, reserved: 0.8 });
    long.settle({ cpuMs: 700, memoryMibMs: 0 });
    expect(of.usage('a').cpu_seconds).toMatchObject({ used: 0.7, reserved: 0 });
  });
});

test('whatever callers do, nobody goes over by more than one run, and nothing stays reserved', () => {
  const step = fc.record({
    caller: fc.constantFrom('a', 'b'),
    cpu: fc.integer({ min: 1, max: 400 }),
    part: fc.double({ min: 0, max: 1, noNaN: true }),
    end: fc.nat(5),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      // A caller of its own each time: the table goes on.
      const suffix = `-${String(Math.random())}`;
      const of = budgets(1000);
      const held: { caller: string; hold: BudgetHold; cpuMs: number }[] = [];
      for (const { caller, cpu, part, end } of steps) {
        try {
          held.push({ caller, hold: of.reserve(caller + suffix, most(cpu)), cpuMs: cpu * part });
        } catch (error) {
          expect(error).toMatchObject({ code: 'budget_exhausted' });
        }
        const [ended] = held.splice(end, 1);
        ended?.hold.settle({ cpuMs: ended.cpuMs, memoryMibMs: 0 });
      }
      for (const { hold, cpuMs } of held) hold.settle({ cpuMs, memoryMibMs: 0 });
      for (const caller of ['a', 'b']) {
        const { used, reserved } = of.usage(caller + suffix).cpu_seconds;
        expect(reserved).toBe(0);
        expect(used).toBeLessThanOrEqual(1.4);
      }
    }),
    { numRuns: 100 },
  );
});

test('over HTTP: charged, shown, refused with the time to come back, and before anything runs', async () => {
  const of = new Budgets({ windowMs: 3_600_000, cpuMsMax: 1, memoryMibMsMax: 0, table, onError: () => undefined });
  await using server = await startHttp({ engine: { budgets: of }, program: () => exited(0) });
  expect((await postJson(server, { code: '' })).status).toBe(200);
  await expect.poll(() => of.usage('anonymous').cpu_seconds).toEqual({ used: 0.001, reserved: 0, limit: 0.001 });
  const refused = await postJson(server, { code: '' });
  expect([refused.status, await refused.json()]).toMatchObject([429, { code: 'budget_exhausted', retryable: true }]);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  expect(server.plans).toHaveLength(1);
  const usage = (await (await fetch(`${server.url}/api/v1/usage`)).json()) as Record<string, unknown>;
  expect(usage).toMatchObject({ window_seconds: 3600, cpu_seconds: { used: 0.001, limit: 0.001 } });
});
