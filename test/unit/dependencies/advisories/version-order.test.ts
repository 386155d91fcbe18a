/** The order of versions: that of PEP 440. */
import { expect, it } from 'vitest';
import { compareVersions, isFinalVersion } from '../../../../src/dependencies/advisories/version-order.ts';

/** In order. */
const ORDERED = [
  'no version',
  '0.9',
  '1.0.dev3',
  '1.0a1',
  '1.0a2.dev1',
  '1.0a2',
  '1.0b1',
  '1.0rc1',
  '1.0',
  '1.0.post1.dev2',
  '1.0.post1',
  '1.0.1',
  '1.2',
  '1.10',
  '1.26.18',
  '2.0',
  '2024.1',
  '1!0.1',
];

it('is that of PEP 440', () => {
  expect(ORDERED.toReversed().sort(compareVersions)).toEqual(ORDERED);
  expect(ORDERED.map((_, place) => ORDERED[(place * 7) % ORDERED.length] ?? '').sort(compareVersions)).toEqual(ORDERED);
});

it('does not depend on how a version is written', () => {
  for (const [a, b] of [
    ['1.0', '1'],
    ['1.0', 'v1.0.0'],
    ['1.0-rc.1', '1.0c1'],
    ['1.0-1', '1.0.post1'],
    ['1.0alpha', '1.0a0'],
    ['1.0+cu118', '1.0'],
  ] as const) {
    expect(compareVersions(a, b), `${a} ${b}`).toBe(0);
  }
});

it('knows final versions', () => {
  expect(['1.0', '1.0.post1', '1!2'].every(isFinalVersion)).toBe(true);
  expect(['1.0a1', '1.0.dev1', '1.0rc1', 'x', '', '1'.repeat(200)].some(isFinalVersion)).toBe(false);
});

it('takes no time over what is no version', () => {
  expect(compareVersions(`1${'.1'.repeat(50_000)}x`, `1${'-'.repeat(100_000)}`)).toBe(0);
});
