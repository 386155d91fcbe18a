/** Which pre-imports a program gets. */
import { describe, expect, test } from 'vitest';
import type { RunRequest } from '../../../src/domain/plan.ts';
import { choosePreimports, mayUsePreimports } from '../../../src/policy/preimports.ts';
import { PLAN } from '../execution/plan-and-report.ts';

const OFFERS = [['numpy', 'pandas', 'matplotlib.pyplot'], ['numpy'], ['scipy', 'numpy']];

describe('choosing', () => {
  test.each([
    [[], []],
    [['json'], []],
    [['numpy'], ['numpy']],
    [['pandas'], ['numpy', 'pandas', 'matplotlib.pyplot']],
    [['matplotlib'], ['numpy', 'pandas', 'matplotlib.pyplot']],
    [
      ['numpy', 'scipy'],
      ['scipy', 'numpy'],
    ],
    [
      ['numpy', 'pandas', 'json'],
      ['numpy', 'pandas', 'matplotlib.pyplot'],
    ],
  ])('a program that imports %j gets %j', (imported, chosen) => {
    expect(choosePreimports(OFFERS, new Set(imported))).toEqual(chosen);
  });

  test('of nothing there is nothing', () => {
    expect(choosePreimports([], new Set(['numpy']))).toEqual([]);
  });
});

describe('a plan that libraries could read from while they are imported, or that needs a new interpreter', () => {
  const plan = { ...PLAN, entryPoint: { kind: 'script' as const, path: 'main.py' }, commandChain: [] };
  const request: RunRequest = {
    args: [],
    stdin: new Uint8Array(),
    environment: {},
    limits: {},
    onOverflow: 'truncate',
    wantsNetwork: false,
    preCommands: [],
  };

  test('what the service itself sets for every run is no hindrance', () => {
    expect(mayUsePreimports({ ...plan, environment: { OMP_NUM_THREADS: '1' } }, request)).toBe(true);
  });

  test('variables of the request are', () => {
    expect(mayUsePreimports(plan, { ...request, environment: { A: '' } })).toBe(false);
  });

  test.each([
    [{ commandChain: ['true'] }],
    [{ entryPoint: { kind: 'module' as const, name: 'main' } }],
    [{ entryPoint: { kind: 'script' as const, path: 'app' } }],
  ])('%j has none', (change) => {
    expect(mayUsePreimports({ ...plan, ...change }, request)).toBe(false);
  });
});
