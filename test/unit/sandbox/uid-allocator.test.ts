/** One uid per live container. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FIRST_UID, UidAllocator } from '../../../src/sandbox/uid-allocator.ts';

test('no two live containers share a uid, and the lowest free one is taken', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(4), { nil: undefined, freq: 2 }), { maxLength: 60 }), (steps) => {
      const uids = new UidAllocator();
      const taken: number[] = [];
      for (const step of steps) {
        if (step === undefined) {
          const uid = uids.take();
          const lowest = Array.from({ length: taken.length + 1 }, (_, i) => FIRST_UID + i).find(
            (n) => !taken.includes(n),
          );
          expect(uid).toBe(lowest);
          taken.push(uid);
        } else {
          const [uid] = taken.splice(step, 1);
          if (uid !== undefined) uids.release(uid);
        }
      }
    }),
  );
});

test('giving back twice, or what was never taken, gives it back once', () => {
  const uids = new UidAllocator();
  const uid = uids.take();
  uids.release(uid);
  uids.release(uid);
  uids.release(0);
  expect([uids.take(), uids.take()]).toEqual([FIRST_UID, FIRST_UID + 1]);
});

test('the first is not a user of the host', () => {
  expect(FIRST_UID).toBeGreaterThan(1000);
});
