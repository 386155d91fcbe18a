/** Fair between callers: whatever callers do, the bounds hold, nobody starves, and no place stays empty. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RunSlots, type RunSlotsOptions, type Ticket } from '../../../src/admission/run-slots.ts';
import type { Priority } from '../../../src/domain/plan.ts';

const never = new AbortController().signal;
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Slots with a log of who began, in order. */
function setup(options: RunSlotsOptions) {
  const slots = new RunSlots(options);
  const begun: string[] = [];
  const reserve = (name: string, ticket: Partial<Ticket> = {}, signal = never) => {
    const reservation = slots.reserve(signal, { callerId: name, ...ticket });
    const place = { name, began: false, ended: false, ...reservation };
    reservation.ready.then(
      () => {
        place.began = true;
        begun.push(name);
      },
      () => (place.ended = true),
    );
    return {
      place,
      end: () => {
        place.ended = true;
        reservation.release();
      },
    };
  };
  const many = (name: string, count: number, ticket: Partial<Ticket> = {}) =>
    Array.from({ length: count }, () => reserve(name, ticket));
  return { slots, begun, reserve, many };
}

/** Ends the oldest run `count` times, each time letting the next one in. */
async function pass(all: readonly ReturnType<ReturnType<typeof setup>['reserve']>[], count: number) {
  for (let round = 0; round < count; round += 1) {
    await settle();
    all.find(({ place }) => place.began && !place.ended)?.end();
    await settle();
  }
}

describe('a light caller beside a heavy one', () => {
  test.each([1, 2, 3, 8])('with %i places: its first run is the next to begin', async (concurrent) => {
    const { begun, many, reserve } = setup({ concurrent, queueMax: 2000 });
    const heavy = many('heavy', 1000);
    await pass(heavy, 17);
    const before = begun.length;
    reserve('light');
    await pass(heavy, 1);
    expect(begun.slice(before)).toEqual(['light']);
  });

  test('both with many runs: they take turns', async () => {
    const { begun, many } = setup({ concurrent: 1, queueMax: 100 });
    const all = [...many('heavy', 30), ...many('light', 5)];
    await pass(all, 10);
    expect(begun.slice(1, 11)).toEqual(Array.from({ length: 5 }, () => ['light', 'heavy']).flat());
  });

  test('long runs: places are shared, not only turns', async () => {
    const { begun, many, reserve } = setup({ concurrent: 4, queueMax: 100 });
    const heavy = many('heavy', 20);
    await settle();
    const light = [reserve('light'), reserve('light'), reserve('light')];
    // Only the heavy caller's first two runs end.
    heavy[0]?.end();
    heavy[1]?.end();
    await settle();
    expect(begun).toEqual(['heavy', 'heavy', 'heavy', 'heavy', 'light', 'light']);
    // Now both have two: the turn decides, and a short run of the light caller does not push the heavy one out.
    light[0]?.end();
    await settle();
    expect(begun.at(-1)).toBe('light');
    heavy[2]?.end();
    await settle();
    expect(begun.at(-1)).toBe('heavy');
  });
});

test.each([1, 3])('%i new callers for every run that ends do not starve one who waits', async (newcomers) => {
  const { begun, many, reserve } = setup({ concurrent: 1, queueMax: 12 });
  const all = many('patient', 4);
  for (let n = 0; n < 60; n += 1) {
    for (let which = 0; which < newcomers; which += 1) {
      try {
        all.push(reserve(`new-${String(n)}-${String(which)}`));
      } catch (error) {
        expect(error).toMatchObject({ code: 'queue_full' });
      }
    }
    await pass(all, 1);
  }
  expect(begun.filter((name) => name === 'patient')).toHaveLength(4);
});

test('within a caller higher priority goes first, then who came first; between callers it changes nothing', async () => {
  const { slots, many, begun, reserve } = setup({ concurrent: 1, queueMax: 100 });
  const order: string[] = [];
  const all = [...many('a', 1)];
  const wants: readonly (readonly [string, Priority])[] = [
    ['l1', 'low'],
    ['n1', 'normal'],
    ['h1', 'high'],
    ['l2', 'low'],
    ['h2', 'high'],
    ['n2', 'normal'],
  ];
  for (const [label, priority] of wants) {
    const one = reserve('a', { priority });
    void one.place.ready.then(() => order.push(label));
    all.push(one);
  }
  const low = reserve('b', { priority: 'low' });
  expect(low.place.queue()).toMatchObject({ position: 1 });
  await pass([...all, low], 8);
  expect(order).toEqual(['h1', 'h2', 'n1', 'n2', 'l1', 'l2']);
  expect(begun.slice(0, 2)).toEqual(['a', 'b']);
  expect(slots.running).toBe(0);
});

describe('the bounds of one caller', () => {
  test('runs at one time: the rest waits while others run', async () => {
    const { slots, many, reserve, begun } = setup({ concurrent: 4, queueMax: 10, callerConcurrentMax: 2 });
    const heavy = many('heavy', 4);
    reserve('other');
    reserve('special', { concurrentMax: 1 });
    reserve('special', { concurrentMax: 1 });
    await settle();
    expect(begun).toEqual(['heavy', 'heavy', 'other', 'special']);
    expect([slots.running, slots.waiting, slots.callersWaiting]).toEqual([4, 3, 2]);
    heavy[0]?.end();
    await settle();
    expect(begun.at(-1)).toBe('heavy');
  });

  test('a bound that was raised lets in who waits', async () => {
    const { many, reserve, begun } = setup({ concurrent: 4, queueMax: 10 });
    many('a', 3, { concurrentMax: 1 });
    await settle();
    expect(begun).toHaveLength(1);
    reserve('a', { concurrentMax: 3 });
    await settle();
    expect(begun).toHaveLength(3);
  });

  test('a caller cannot fill the queue, neither by number nor by bytes', () => {
    const { slots, many, reserve } = setup({
      concurrent: 1,
      queueMax: 4,
      queueBytesMax: 100,
      callerQueueMax: 3,
      callerQueueBytesMax: 80,
    });
    many('heavy', 4, { bytes: 10 });
    const refusal = expect.objectContaining({ code: 'queue_full' }) as unknown;
    expect(() => reserve('heavy')).toThrow(refusal);
    expect(() => reserve('other', { bytes: 71 })).toThrow(refusal);
    reserve('other', { bytes: 70 });
    expect(() => reserve('third')).toThrow(refusal);
    expect([slots.waiting, slots.waitingBytes]).toEqual([4, 100]);
    const bytes = setup({ concurrent: 1, queueMax: 9, queueBytesMax: 100, callerQueueBytesMax: 80 });
    bytes.many('heavy', 2, { bytes: 60 });
    expect(() => bytes.reserve('heavy', { bytes: 21 })).toThrow(refusal);
    expect(() => bytes.reserve('heavy', { bytes: 21 })).toThrow(/of this caller that wait are too large/);
    bytes.reserve('other', { bytes: 40 });
  });
});

describe('what is told to those who wait', () => {
  test('is the place, and the time once something was observed', async () => {
    let now = 0;
    const { slots, many, reserve } = setup({ concurrent: 2, queueMax: 5, now: () => now });
    const first = many('a', 2);
    const waiting = many('a', 4);
    expect(first[0]?.place.queue()).toBeUndefined();
    expect(waiting.map(({ place }) => place.queue())).toEqual([1, 2, 3, 4].map((position) => ({ position })));
    await settle();
    now = 3000;
    first[0]?.end();
    await settle();
    expect(waiting.map(({ place }) => place.queue())).toEqual([
      undefined,
      { position: 1, estimated_wait_ms: 1500 },
      { position: 2, estimated_wait_ms: 3000 },
      { position: 3, estimated_wait_ms: 4500 },
    ]);
    const light = reserve('b');
    expect(light.place.queue()).toEqual({ position: 1, estimated_wait_ms: 1500 });
    expect(waiting[1]?.place.queue()).toEqual({ position: 2, estimated_wait_ms: 3000 });
    reserve('b');
    // A refused one is told when the next leaves the queue.
    expect(() => slots.reserve(never, { callerId: 'c' })).toThrow(expect.objectContaining({ retryAfterSeconds: 2 }));
  });

  test('a caller over its own share is told when its own next run begins', async () => {
    let now = 0;
    const { many, slots } = setup({ concurrent: 1, queueMax: 9, callerQueueMax: 2, now: () => now });
    const first = many('a', 3);
    await settle();
    now = 10_000;
    first[0]?.end();
    await settle();
    many('b', 2);
    many('a', 1);
    // b's run goes before it.
    expect(() => slots.reserve(never, { callerId: 'a' })).toThrow(
      expect.objectContaining({ code: 'queue_full', retryAfterSeconds: 20 }),
    );
  });
});

test('a hundred thousand wait, come, go and ask where they are', async () => {
  const { slots, reserve } = setup({ concurrent: 1, queueMax: 100_000 });
  const first = reserve('c0');
  const controllers: AbortController[] = [];
  const places = Array.from({ length: 100_000 }, (_, n) => {
    const controller = new AbortController();
    controllers.push(controller);
    return reserve(`c${String(n % 1000)}`, {}, controller.signal);
  });
  for (const { place } of places) expect(place.queue()?.position).toBeGreaterThan(0);
  for (let n = 0; n < 100_000; n += 2) controllers[n]?.abort();
  expect([slots.waiting, slots.callersWaiting]).toEqual([50_000, 500]);
  first.end();
  for (let n = 1; n < 100_000; n += 2) places[n]?.end();
  await settle();
  expect([slots.running, slots.waiting, slots.waitingBytes, slots.callersWaiting]).toEqual([0, 0, 0, 0]);
}, 60_000);

test('whatever callers do: within the bounds, no place empty, in order within a caller, nobody passed over', async () => {
  const CALLERS = ['a', 'b', 'c', 'd'];
  const reserveStep = fc.record({
    kind: fc.constant('reserve' as const),
    caller: fc.constantFrom(...CALLERS),
    priority: fc.constantFrom<Priority>('low', 'normal', 'high'),
    bytes: fc.nat(40),
  });
  const leaveStep = fc.record({ kind: fc.constantFrom('release' as const, 'abort' as const), which: fc.nat(40) });
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 0, max: 8 }),
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.oneof({ weight: 3, arbitrary: reserveStep }, { weight: 2, arbitrary: leaveStep }), { maxLength: 60 }),
      async (concurrent, queueMax, callerConcurrentMax, steps) => {
        const queueBytesMax = 120;
        const { slots, reserve } = setup({
          concurrent,
          queueMax,
          queueBytesMax,
          callerConcurrentMax,
          callerQueueMax: 5,
        });
        type Entry = ReturnType<typeof reserve> & {
          caller: string;
          priority: Priority;
          controller: AbortController;
          passedBy: Map<string, number>;
        };
        const entries: Entry[] = [];
        const state = (entry: Entry) => (entry.place.ended ? 'ended' : entry.place.began ? 'running' : 'waiting');
        const of = (wanted: string, caller?: string) =>
          entries.filter((entry) => state(entry) === wanted && (caller === undefined || entry.caller === caller));
        for (const step of steps) {
          const waitingBefore = of('waiting');
          if (step.kind === 'reserve') {
            const controller = new AbortController();
            const { caller, priority } = step;
            try {
              const made = reserve(caller, step, controller.signal);
              entries.push({ ...made, caller, priority, controller, passedBy: new Map() });
            } catch {
              const mayBegin = slots.running < concurrent && of('running', caller).length < callerConcurrentMax;
              expect(mayBegin).toBe(false);
            }
          } else {
            const entry = entries[step.which];
            if (step.kind === 'release') entry?.end();
            else entry?.controller.abort(new Error('gone'));
          }
          await settle();
          expect([slots.running, slots.waiting]).toEqual([of('running').length, of('waiting').length]);
          expect(slots.running).toBeLessThanOrEqual(concurrent);
          expect(slots.waiting).toBeLessThanOrEqual(queueMax);
          expect(slots.waitingBytes).toBeLessThanOrEqual(queueBytesMax);
          for (const caller of CALLERS) {
            expect(of('running', caller).length).toBeLessThanOrEqual(callerConcurrentMax);
            expect(of('waiting', caller).length).toBeLessThanOrEqual(5);
            // Work conserving: whoever waits could not run.
            if (of('waiting', caller).length > 0 && slots.running < concurrent) {
              expect(of('running', caller)).toHaveLength(callerConcurrentMax);
            }
          }
          for (const entered of waitingBefore.filter((entry) => state(entry) === 'running')) {
            const rank = { high: 0, normal: 1, low: 2 };
            for (const other of of('waiting', entered.caller)) {
              // In order: of one caller nothing of higher priority, and nothing older of the same, is left behind.
              expect(rank[other.priority]).toBeGreaterThanOrEqual(rank[entered.priority]);
              if (other.priority === entered.priority) {
                expect(entries.indexOf(other)).toBeGreaterThan(entries.indexOf(entered));
              }
            }
            for (const other of of('waiting')) {
              if (of('running', other.caller).length > 0 || other.caller === entered.caller) continue;
              // No starvation: a caller with nothing running is passed by each other caller a few times at most.
              const passed = (other.passedBy.get(entered.caller) ?? 0) + 1;
              other.passedBy.set(entered.caller, passed);
              const ownBefore = of('waiting', other.caller)[0] === other;
              if (ownBefore) expect(passed).toBeLessThanOrEqual(2 * (concurrent + 1));
            }
          }
        }
        for (const { end } of entries) end();
        for (const { end } of entries) end();
        expect([slots.running, slots.waiting, slots.waitingBytes, slots.callersWaiting]).toEqual([0, 0, 0, 0]);
      },
    ),
    { numRuns: 300 },
  );
});
