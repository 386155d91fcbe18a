import { describe, expect, it } from 'vitest';
import { threadCounts } from '../../../src/policy/thread-counts.ts';

describe('thread counts', () => {
  it.each([
    [0.05, '1'],
    [1, '1'],
    [1.9, '1'],
    [2, '2'],
    [12, '12'],
  ])('of %s processors are %s', (cpus, threads) => {
    expect(new Set(Object.values(threadCounts(cpus)))).toEqual(new Set([threads]));
  });

  it('need no new interpreter', () => {
    // What supervisor.py takes for a reason to start one.
    expect(Object.keys(threadCounts(1)).filter((name) => /^(PYTHON|LC_|LANG|MALLOC_|GLIBC_)/.test(name))).toEqual([]);
    expect(threadCounts(1)).toMatchObject({ OMP_NUM_THREADS: '1', OPENBLAS_NUM_THREADS: '1' });
  });
});
