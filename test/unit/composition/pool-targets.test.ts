/** What the pool settings mean, and what they cannot mean. */
import { describe, expect, test } from 'vitest';
import { poolWishes, targetsOf } from '../../../src/composition/pool-targets.ts';
import { parseConfig } from '../../../src/config/config.ts';

import { ServiceError } from '../../../src/domain/errors.ts';
import type { SandboxShape } from '../../../src/domain/plan.ts';

const wishes = (settings: Record<string, string>) =>
  poolWishes(parseConfig({ PYEXEC_DEFAULT_IMAGE: 'base', ...settings }));

describe('sizes', () => {
  test.each([
    ['3', { min: 3, max: 3 }],
    ['0', { min: 0, max: 0 }],
    ['2-8', { min: 2, max: 8 }],
    ['0-256', { min: 0, max: 256 }],
  ])('%s', (text, size) => {
    expect(wishes({ PYEXEC_POOL_SIZE: text })).toEqual([{ image: 'base', preimports: [], ...size }]);
  });

  test.each(['257', '8-2', '1-257', '99999999'])('%s is refused, and the bound said', (text) => {
    expect(() => wishes({ PYEXEC_POOL_SIZE: text })).toThrow(/^PYEXEC_POOL_SIZE: .* up to 256/);
  });

  test.each(['base', 'base:latest'])('of further images, %s among them', (base) => {
    expect(wishes({ PYEXEC_POOL_SIZE: '1', PYEXEC_POOL_IMAGES: `a:v1=2-3,${base}=5` })).toEqual([
      { image: base, preimports: [], min: 5, max: 5 },
      { image: 'a:v1', preimports: [], min: 2, max: 3 },
    ]);
  });

  test.each(['a=1,a=2', 'a=1,a:latest=2', 'base=1,base:latest=1'])('%s is refused: one image twice', (text) => {
    expect(() => wishes({ PYEXEC_POOL_IMAGES: text })).toThrow(/^PYEXEC_POOL_IMAGES: .* is there twice$/);
  });
});

describe('modules', () => {
  test('are listed with their image and their number', () => {
    expect(
      wishes({ PYEXEC_POOL_SIZE: '0', PYEXEC_POOL_PREIMPORTS: 'a:1=numpy+matplotlib.pyplot:2, a:1=numpy:1-4' }).slice(
        1,
      ),
    ).toEqual([
      { image: 'a:1', preimports: ['numpy', 'matplotlib.pyplot'], min: 2, max: 2 },
      { image: 'a:1', preimports: ['numpy'], min: 1, max: 4 },
    ]);
  });

  test.each([
    'a',
    'a=numpy',
    'a=:1',
    '=numpy:1',
    'a=numpy:',
    'a=numpy:many',
    'a=num-py:1',
    'a=numpy;import os:1',
    'a=.numpy:1',
    'a=numpy.:1',
    'a=numpy+:1',
    'a=numpy+numpy:1',
    'a=numpy:1:2',
    'a=b=c:1',
    'a=b+c:1,a=c+b:2',
    'a=b:1,a:latest=b:2',
    'a=__main__:1',
    `a=${Array.from({ length: 17 }, (_, index) => `m${String(index)}`).join('+')}:1`,
  ])('%s is refused', (text) => {
    expect(() => wishes({ PYEXEC_POOL_PREIMPORTS: text })).toThrow(/^PYEXEC_POOL_PREIMPORTS: /);
  });
});

describe('what is kept while an image is gone', () => {
  const gone = (code: 'image_unavailable' | 'sandbox_unavailable') => (wish: { image: string }) =>
    wish.image === 'b'
      ? Promise.reject(new ServiceError(code, 'no'))
      : Promise.resolve({ image: wish.image } as SandboxShape);
  const all = wishes({ PYEXEC_POOL_SIZE: '1', PYEXEC_POOL_IMAGES: 'b=2,c=3' });

  test('the others, as far as that is wanted', async () => {
    const missing: ServiceError[] = [];
    const targets = await targetsOf(all, gone('image_unavailable'), (error) => missing.push(error));
    expect(targets.map(({ shape, min }) => [shape.image, min])).toEqual([
      ['base', 1],
      ['c', 3],
    ]);
    expect(missing).toHaveLength(1);
  });

  test('nothing is decided otherwise', async () => {
    await expect(targetsOf(all, gone('image_unavailable'))).rejects.toThrow('no');
    await expect(targetsOf(all, gone('sandbox_unavailable'), () => undefined)).rejects.toThrow('no');
  });
});
