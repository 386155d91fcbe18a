/** A caller's own limits and images, within the operator's. */
import { describe, expect, test } from 'vitest';
import type { Caller } from '../../../src/domain/caller.ts';
import type { Limits } from '../../../src/domain/limits.ts';
import type { OperatorPolicy } from '../../../src/policy/decide.ts';
import { defaultImageOf, mayUseImage, withinCaller } from '../../../src/policy/within-caller.ts';

const limits: Limits = {
  wall_ms: 1000,
  cpu_ms: 1000,
  memory_bytes: 512,
  pids: 100,
  disk_bytes: 100,
  output_bytes: 100,
  open_files: 100,
  cpus: 1,
};
const policy: OperatorPolicy = {
  defaults: limits,
  maxima: { ...limits, memory_bytes: 1024, cpus: 4 },
  runtime: 'runc',
  network: 'none',
  stdinBytesMax: 1,
  inputs: { count: 3, wallMs: 60_000, outputBytes: 1 << 20 },
};
const caller = (more: Partial<Caller>): Caller => ({ id: 'c', scopes: new Set(['run']), ...more });

describe('limits', () => {
  test('a caller without maxima has the operator’s', () => {
    expect(withinCaller(policy, caller({}))).toBe(policy);
  });

  test('a lower maximum lowers the default with it', () => {
    const within = withinCaller(policy, caller({ maxima: { memory_bytes: 256 } }));
    expect([within.maxima.memory_bytes, within.defaults.memory_bytes]).toEqual([256, 256]);
    expect(within.maxima.cpus).toBe(4);
  });

  test('a higher maximum gives nothing more', () => {
    const within = withinCaller(policy, caller({ maxima: { memory_bytes: 4096, cpus: 2 } }));
    expect([within.maxima.memory_bytes, within.defaults.memory_bytes]).toEqual([1024, 512]);
    expect([within.maxima.cpus, within.defaults.cpus]).toEqual([2, 1]);
  });
});

describe('images', () => {
  test.each<[readonly string[] | undefined, string, boolean]>([
    [undefined, 'pyexec/data', true],
    [['pyexec/slim'], 'pyexec/slim:latest', true],
    [['pyexec/slim'], 'docker.io/pyexec/slim', true],
    [['pyexec/slim'], 'pyexec/slimmer', false],
    [['pyexec/*'], 'pyexec/a/b', false],
    [[], 'pyexec/slim', false],
  ])('with %j, %s: %s', (images, reference, allowed) => {
    expect(mayUseImage(caller(images ? { images } : {}), reference)).toBe(allowed);
  });

  test('the default is the operator’s where the caller may use it, otherwise the first it names in full', () => {
    expect(defaultImageOf(caller({}), 'a')).toBe('a');
    expect(defaultImageOf(caller({ images: ['a', 'b'] }), 'a')).toBe('a');
    expect(defaultImageOf(caller({ images: ['c/*', 'b'] }), 'a')).toBe('b');
    expect(defaultImageOf(caller({ images: ['c/*'] }), 'a')).toBe('a');
  });
});
