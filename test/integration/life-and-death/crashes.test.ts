/** F06: kill -9 at random instants under load, in the boot as well: I1 to I5 and I8 hold. `npm run crash-test` does it hundreds of times. */
import { expect, test } from 'vitest';
import { crashRounds } from '../../../chaos/crash-rounds.ts';

test('whatever instant it is killed at, what was answered is there, once, with one end', async () => {
  const seed = Date.now() % 1_000_000;
  const verdict = await crashRounds({ kills: 20, seed, say: () => undefined });
  expect(verdict.violations, `seed ${String(seed)}`).toEqual([]);
  // It met what it is about.
  expect(verdict.answered).toBeGreaterThan(20);
  expect(verdict.interrupted).toBeGreaterThan(0);
  expect(verdict.told).toBeGreaterThan(0);
}, 300_000);
