/** Who runs next: never more than allowed, first come first served, refusal at once. */
import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RunSlots } from '../../../src/admission/run-slots.ts';

const never = new AbortController().signal;
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Reserves and notes when the place is free, or why it never was. */
function reserve(slots: RunSlots, signal = never) {
  const { ready, release } = slots.reserve(signal);
  const seen: { state: 'waiting' | 'running' | 'aborted'; release: () => void } = { state: 'waiting', release };
  ready.then(
    () => (seen.state = 'running'),
    () => (seen.state = 'aborted'),
  );
  return seen;
}

describe('bounds', () => {
  test('so many run, so many wait, the next is refused with the time to come back', async () => {
    const slots = new RunSlots({ concurrent: 2, queueMax: 3 });
    const places = Array.from({ length: 5 }, () => reserve(slots));
    await settle();
    expect(places.map(({ state }) => state)).toEqual(['running', 'running', 'waiting', 'waiting', 'waiting']);
    expect([slots.running, slots.waiting]).toEqual([2, 3]);
    expect(() => slots.reserve(never)).toThrow(expect.objectContaining({ code: 'queue_full', retryAfterSeconds: 1 }));
    expect([slots.running, slots.waiting]).toEqual([2, 3]);
  });

  test('without a queue only what can run is taken', () => {
    const slots = new RunSlots({ concurrent: 1, queueMax: 0 });
    const { release } = slots.reserve(never);
    expect(() => slots.reserve(never)).toThrow(expect.objectContaining({ code: 'queue_full' }));
    release();
    slots.reserve(never).release();
    expect(slots.running).toBe(0);
  });
});

test('first come, first served', async () => {
  const slots = new RunSlots({ concurrent: 1, queueMax: 10 });
  const places = Array.from({ length: 6 }, () => reserve(slots));
  const order: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    await settle();
    const running = places.findIndex((place, index) => place.state === 'running' && !order.includes(index));
    order.push(running);
    places[running]?.release();
  }
  expect(order).toEqual([0, 1, 2, 3, 4, 5]);
  expect([slots.running, slots.waiting]).toEqual([0, 0]);
});

test('nobody overtakes those who wait while a place passes on', () => {
  const slots = new RunSlots({ concurrent: 1, queueMax: 10 });
  const first = slots.reserve(never);
  slots.reserve(never);
  first.release();
  // The waiting one has the place although it has not heard of it yet.
  expect([slots.running, slots.waiting]).toEqual([1, 0]);
  slots.reserve(never);
  expect([slots.running, slots.waiting]).toEqual([1, 1]);
});

describe('giving up while waiting', () => {
  test('frees the place in the queue, tells why, and leaves no listener', async () => {
    const slots = new RunSlots({ concurrent: 1, queueMax: 1 });
    const running = reserve(slots);
    const controller = new AbortController();
    const { ready, release } = slots.reserve(controller.signal);
    controller.abort(new Error('gone'));
    await expect(ready).rejects.toThrow('gone');
    expect(slots.waiting).toBe(0);
    release();
    const next = reserve(slots);
    running.release();
    await settle();
    expect(next.state).toBe('running');
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  test('beforehand takes no place', async () => {
    const slots = new RunSlots({ concurrent: 1, queueMax: 1 });
    slots.reserve(never);
    await expect(slots.reserve(AbortSignal.abort(new Error('gone'))).ready).rejects.toThrow('gone');
    expect([slots.running, slots.waiting]).toEqual([1, 0]);
  });

  test('after the place came changes nothing', async () => {
    const slots = new RunSlots({ concurrent: 1, queueMax: 1 });
    const controller = new AbortController();
    const first = reserve(slots);
    const second = reserve(slots, controller.signal);
    first.release();
    controller.abort();
    await settle();
    expect(second.state).toBe('running');
    expect(slots.running).toBe(1);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    second.release();
    expect(slots.running).toBe(0);
  });
});

describe('waiting for a limited time', () => {
  test('ends with the time, frees the place in the queue and its bytes, and holds up nobody', async () => {
    const slots = new RunSlots({ concurrent: 1, queueMax: 2 });
    const running = reserve(slots);
    const { signal } = new AbortController();
    const hasty = slots.reserve(signal, { callerId: 'a', bytes: 7, waitMsMax: 20 });
    const patient = reserve(slots);
    expect(hasty.queue()?.expires_in_ms).toBeGreaterThan(0);
    expect(hasty.queue()?.expires_in_ms).toBeLessThanOrEqual(20);
    expect([slots.waiting, slots.waitingBytes, slots.callersWaiting]).toEqual([2, 7, 2]);
    await expect(hasty.ready).rejects.toMatchObject({ code: 'queue_timeout' });
    expect(hasty.queue()).toBeUndefined();
    expect([slots.running, slots.waiting, slots.waitingBytes, slots.callersWaiting]).toEqual([1, 1, 0, 1]);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    hasty.release();
    running.release();
    await settle();
    expect([patient.state, slots.running]).toEqual(['running', 1]);
  });

  test('means nothing once there is a place, nor for who gave up before', async () => {
    const slots = new RunSlots({ concurrent: 1, queueMax: 2 });
    const running = reserve(slots);
    const controller = new AbortController();
    const waiting = slots.reserve(never, { callerId: 'a', waitMsMax: 20 });
    const gone = slots.reserve(controller.signal, { callerId: 'a', waitMsMax: 20 });
    controller.abort(new Error('gone'));
    running.release();
    await waiting.ready;
    await new Promise((resolve) => setTimeout(resolve, 60));
    await expect(gone.ready).rejects.toThrow('gone');
    expect([slots.running, slots.waiting]).toEqual([1, 0]);
    waiting.release();
    expect(slots.running).toBe(0);
  });

  test('when to come again is told from what waits', () => {
    let now = 0;
    const slots = new RunSlots({ concurrent: 1, queueMax: 9, now: () => now });
    expect(slots.retryAfterSeconds('a')).toBe(1);
    const first = slots.reserve(never, { callerId: 'a' });
    now = 10_000;
    first.release();
    for (let n = 0; n < 4; n += 1) slots.reserve(never, { callerId: 'a' });
    expect(slots.retryAfterSeconds('a')).toBe(40);
    expect(slots.retryAfterSeconds('b')).toBe(20);
  });
});

describe('releasing', () => {
  test('twice frees one place', () => {
    const slots = new RunSlots({ concurrent: 2, queueMax: 2 });
    const first = slots.reserve(never);
    slots.reserve(never);
    first.release();
    first.release();
    expect(slots.running).toBe(1);
  });

  test('twice lets one of those who wait in', async () => {
    const slots = new RunSlots({ concurrent: 1, queueMax: 2 });
    const first = reserve(slots);
    const [second, third] = [reserve(slots), reserve(slots)];
    first.release();
    first.release();
    await settle();
    expect([second.state, third.state]).toEqual(['running', 'waiting']);
  });

  test('while waiting leaves the queue', async () => {
    const slots = new RunSlots({ concurrent: 1, queueMax: 1 });
    const first = reserve(slots);
    reserve(slots).release();
    expect(slots.waiting).toBe(0);
    first.release();
    await settle();
    expect(slots.running).toBe(0);
  });
});

test('whatever callers do, the bounds hold, the order holds, and in the end every place is free', async () => {
  type Action = { kind: 'reserve' } | { kind: 'release' | 'abort'; which: number };
  const action: fc.Arbitrary<Action> = fc.oneof(
    fc.constant<Action>({ kind: 'reserve' }),
    fc.record({ kind: fc.constantFrom('release' as const, 'abort' as const), which: fc.nat(30) }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 0, max: 4 }),
      fc.array(action, { maxLength: 40 }),
      async (concurrent, queueMax, actions) => {
        const slots = new RunSlots({ concurrent, queueMax });
        const places: { index: number; controller: AbortController; place: ReturnType<typeof reserve> }[] = [];
        const entered: number[] = [];
        for (const step of actions) {
          if (step.kind === 'reserve') {
            const controller = new AbortController();
            try {
              const place = reserve(slots, controller.signal);
              places.push({ index: places.length, controller, place });
            } catch {
              expect([slots.running, slots.waiting]).toEqual([concurrent, queueMax]);
            }
          } else if (step.kind === 'release') places[step.which]?.place.release();
          else places[step.which]?.controller.abort(new Error('gone'));
          await settle();
          for (const { index, place } of places) {
            if (place.state === 'running' && !entered.includes(index)) entered.push(index);
          }
          expect(slots.running).toBeLessThanOrEqual(concurrent);
          expect(slots.waiting).toBeLessThanOrEqual(queueMax);
          // Nobody waits while a place is free.
          if (slots.waiting > 0) expect(slots.running).toBe(concurrent);
        }
        expect(entered).toEqual(entered.toSorted((a, b) => a - b));
        for (const { place } of places) place.release();
        for (const { place } of places) place.release();
        expect([slots.running, slots.waiting]).toEqual([0, 0]);
      },
    ),
    { numRuns: 200 },
  );
});
