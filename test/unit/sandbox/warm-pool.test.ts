/** The pool with a fake starter: who gets which sandbox, and what becomes of the rest. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { SandboxShape } from '../../../src/domain/plan.ts';
import type { Lease } from '../../../src/sandbox/cold-start.ts';
import { WarmPool, type PoolEvent } from '../../../src/sandbox/warm-pool.ts';

const SHAPE: SandboxShape = {
  image: 'a',
  imageId: 'sha256:a',
  runtime: 'runc',
  network: 'none',
  memoryBytes: 100,
  pids: 10,
  cpus: 1,
  workBytes: 10,
  tmpBytes: 10,
  preimports: [],
};
const never = new AbortController().signal;
const fixed = (size: number) => ({ min: size, max: size });

interface Fake {
  readonly id: number;
  readonly lease: Lease;
  readonly shape: SandboxShape;
  isAlive: boolean;
  /** Whether it answers when it is asked. */
  answers: boolean;
  released: number;
}

/** Starts end when the test says so. */
class Starter {
  readonly made: Fake[] = [];
  readonly pending: { shape: SandboxShape; succeed: () => Fake; fail: (error: Error) => void }[] = [];
  readonly updates: string[] = [];
  readonly events: PoolEvent[] = [];
  updateFails = false;
  isAway = false;
  activeRuns = 0;

  pool(options: { ageMsMax?: number; concurrentStarts?: number } = {}): WarmPool {
    return new WarmPool({
      start: (shape) =>
        new Promise<Lease>((resolve, reject) => {
          this.pending.push({
            shape,
            succeed: () => {
              const fake = this.#fake(shape);
              resolve(fake.lease);
              return fake;
            },
            fail: reject,
          });
        }),
      daemon: {
        ping: () => (this.isAway ? Promise.reject(new Error('no')) : Promise.resolve()),
        update: (id) => {
          this.updates.push(id);
          return this.updateFails ? Promise.reject(new Error('no')) : Promise.resolve();
        },
      },
      ageMsMax: options.ageMsMax ?? 60_000,
      concurrentStarts: options.concurrentStarts ?? 2,
      activeRuns: () => this.activeRuns,
      observe: (event) => this.events.push(event),
    });
  }

  #fake(shape: SandboxShape): Fake {
    const fake: Fake = {
      id: this.made.length,
      shape,
      isAlive: true,
      answers: true,
      released: 0,
      lease: {
        sandbox: {
          containerId: `c${String(this.made.length)}`,
          shape,
          get isAlive() {
            return fake.isAlive;
          },
          answers: () => Promise.resolve(fake.answers),
        } as unknown as Lease['sandbox'],
        release: () => {
          fake.released += 1;
          return Promise.resolve();
        },
      },
    };
    this.made.push(fake);
    return fake;
  }

  /** Lets every start there is, and those that follow from them, succeed. */
  async settle(): Promise<void> {
    await flush();
    for (let start = this.pending.shift(); start; start = this.pending.shift()) {
      start.succeed();
      await flush();
    }
  }

  fakeOf(lease: Lease): Fake {
    const fake = this.made.find((made) => made.lease === lease);
    if (!fake) throw new Error('not a lease of this starter');
    return fake;
  }
}

async function flush(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

async function filled(size = 3, options: Parameters<Starter['pool']>[0] = {}) {
  const starter = new Starter();
  const pool = starter.pool(options);
  pool.setTargets([{ shape: SHAPE, ...fixed(size) }]);
  await starter.settle();
  expect(pool.readyCount).toBe(size);
  return { starter, pool };
}

describe('filling', () => {
  test('goes up to the target with a bounded number of starts at a time, and stops there', async () => {
    const starter = new Starter();
    const pool = starter.pool({ concurrentStarts: 2 });
    pool.setTargets([{ shape: SHAPE, ...fixed(5) }]);
    expect(starter.pending).toHaveLength(2);
    await starter.settle();
    expect([pool.readyCount, pool.targetCount, starter.made.length]).toEqual([5, 5, 5]);
  });

  test('takes one start at a time while something runs', () => {
    const starter = new Starter();
    starter.activeRuns = 1;
    starter.pool({ concurrentStarts: 4 }).setTargets([{ shape: SHAPE, ...fixed(4) }]);
    expect(starter.pending).toHaveLength(1);
  });

  test('beside a running program a start is followed by a rest as long as it took, unless somebody waits', async () => {
    const starter = new Starter();
    starter.activeRuns = 1;
    const pool = starter.pool({ concurrentStarts: 4 });
    pool.setTargets([{ shape: SHAPE, ...fixed(3) }]);
    await vi.advanceTimersByTimeAsync(200);
    starter.pending.shift()?.succeed();
    await vi.advanceTimersByTimeAsync(190);
    expect(starter.pending).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(20);
    expect(starter.pending).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(100);
    starter.pending.shift()?.succeed();
    await flush();
    expect([pool.readyCount, starter.pending.length]).toEqual([2, 0]);
    for (let turn = 0; turn < 2; turn += 1) await pool.take(SHAPE, never);
    const waiting = pool.take(SHAPE, never);
    await flush();
    expect(starter.pending.length).toBeGreaterThan(0);
    await starter.settle();
    await waiting;
  });

  test('a place that was taken is filled again, once the run had a head start', async () => {
    const { starter, pool } = await filled(2);
    await pool.take(SHAPE, never);
    expect(starter.pending).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(100);
    await starter.settle();
    expect(pool.readyCount).toBe(2);
  });

  test('takes that follow one another do not put the start off again and again', async () => {
    const { starter, pool } = await filled(8);
    for (let taken = 0; taken < 3; taken += 1) {
      await pool.take(SHAPE, never);
      await vi.advanceTimersByTimeAsync(25);
    }
    expect(starter.pending).toHaveLength(2);
  });

  test('starts at once when less than half of the members are left', async () => {
    const { starter, pool } = await filled(3);
    await pool.take(SHAPE, never);
    expect(starter.pending).toHaveLength(0);
    await pool.take(SHAPE, never);
    expect(starter.pending).toHaveLength(2);
  });

  test('a target of nothing starts nothing, and a run starts its own', async () => {
    const starter = new Starter();
    const pool = starter.pool();
    pool.setTargets([{ shape: SHAPE, ...fixed(0) }]);
    expect(starter.pending).toEqual([]);
    const taken = pool.take(SHAPE, never);
    starter.pending.shift()?.succeed();
    expect(starter.fakeOf(await taken).released).toBe(0);
    expect(pool.readyCount).toBe(0);
  });
});

describe('handing out', () => {
  test('never one member twice, never a dead one, whatever happens in between', async () => {
    type Step = { kind: 'take' | 'settle' | 'maintain' | 'fail' } | { kind: 'die'; which: number };
    const step: fc.Arbitrary<Step> = fc.oneof(
      { weight: 4, arbitrary: fc.constant<Step>({ kind: 'take' }) },
      { weight: 3, arbitrary: fc.constant<Step>({ kind: 'settle' }) },
      { weight: 1, arbitrary: fc.constant<Step>({ kind: 'maintain' }) },
      { weight: 1, arbitrary: fc.constant<Step>({ kind: 'fail' }) },
      { weight: 2, arbitrary: fc.nat(20).map<Step>((which) => ({ kind: 'die', which })) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const starter = new Starter();
        const pool = starter.pool();
        pool.setTargets([{ shape: SHAPE, ...fixed(3) }]);
        const given: Fake[] = [];
        const violations: string[] = [];
        for (const each of steps) {
          if (each.kind === 'settle') await starter.settle();
          else if (each.kind === 'maintain') pool.maintain();
          else if (each.kind === 'fail') starter.pending.shift()?.fail(new Error('no'));
          else if (each.kind === 'die') {
            const fake = starter.made[each.which];
            if (fake && !given.includes(fake)) fake.isAlive = false;
          } else {
            pool.take(SHAPE, never).then(
              (lease) => {
                const fake = starter.fakeOf(lease);
                if (given.includes(fake)) violations.push(`member ${String(fake.id)} was handed out twice`);
                if (!fake.isAlive) violations.push(`member ${String(fake.id)} is dead`);
                given.push(fake);
              },
              () => undefined,
            );
          }
          await flush();
        }
        const closed = pool.close();
        await starter.settle();
        await closed;
        await flush();
        expect(violations).toEqual([]);
        // What was handed out is its taker's; everything else was given back exactly once.
        for (const fake of starter.made) expect(fake.released).toBe(given.includes(fake) ? 0 : 1);
      }),
      { numRuns: 200 },
    );
  });

  test('the oldest first', async () => {
    const { starter, pool } = await filled(3);
    const order = [];
    for (let i = 0; i < 3; i += 1) order.push(starter.fakeOf(await pool.take(SHAPE, never)).id);
    expect(order).toEqual([0, 1, 2]);
  });

  test('a member that died is passed over, removed and replaced', async () => {
    const { starter, pool } = await filled(2);
    const [dead] = starter.made;
    if (dead) dead.isAlive = false;
    expect(starter.fakeOf(await pool.take(SHAPE, never)).id).toBe(1);
    expect(dead?.released).toBe(1);
    expect(starter.events).toContainEqual({ kind: 'discarded', reason: 'died', shape: SHAPE });
    await starter.settle();
    expect(pool.readyCount).toBe(2);
  });

  test('a member that does not answer, or was paused, goes and is replaced; one that was handed out meanwhile does not', async () => {
    const { starter, pool } = await filled(3);
    const [given, silent, paused] = starter.made;
    if (!given || !silent || !paused) throw new Error('there are three');
    given.answers = silent.answers = false;
    starter.isAway = true;
    pool.maintain();
    await flush();
    expect(pool.readyCount, 'a daemon that hangs says nothing of them').toBe(3);
    starter.isAway = false;
    pool.maintain();
    expect(starter.fakeOf(await pool.take(SHAPE, never))).toBe(given);
    await flush();
    expect([given, silent, paused].map(({ released }) => released)).toEqual([0, 1, 0]);
    for (const { lease } of [given, paused]) pool.standsStill(lease.sandbox.containerId);
    await flush();
    expect([given, silent, paused].map(({ released }) => released)).toEqual([0, 1, 1]);
    expect(starter.events.filter((event) => event.kind === 'discarded' && event.reason === 'silent')).toHaveLength(2);
    await starter.settle();
    expect(pool.readyCount).toBe(3);
  });

  test('those who wait are served in the order they came', async () => {
    const starter = new Starter();
    const pool = starter.pool({ concurrentStarts: 1 });
    pool.setTargets([{ shape: SHAPE, ...fixed(1) }]);
    const order: string[] = [];
    for (const name of ['a', 'b', 'c', 'd']) void pool.take(SHAPE, never).then(() => order.push(name));
    await starter.settle();
    expect(order).toEqual(['a', 'b', 'c', 'd']);
    expect(pool.readyCount).toBe(1);
  });

  test('one who stops waiting gets nothing and loses nobody a member', async () => {
    const starter = new Starter();
    const pool = starter.pool({ concurrentStarts: 1 });
    pool.setTargets([{ shape: SHAPE, ...fixed(1) }]);
    const controller = new AbortController();
    const leaving = pool.take(SHAPE, controller.signal);
    const staying = pool.take(SHAPE, never);
    controller.abort(new Error('gone'));
    await expect(leaving).rejects.toThrow('gone');
    await starter.settle();
    expect(starter.fakeOf(await staying).id).toBe(0);
    await expect(pool.take(SHAPE, AbortSignal.abort(new Error('gone')))).resolves.toBeDefined();
  });

  test('another image, runtime, network or file system starts its own', async () => {
    const { starter, pool } = await filled(1);
    for (const change of [
      { imageId: 'b' },
      { runtime: 'runsc' },
      { network: 'bridge' },
      { workBytes: 1 },
      { tmpBytes: 1 },
    ]) {
      const taken = pool.take({ ...SHAPE, ...change }, never);
      expect(starter.pending.at(-1)?.shape).toEqual({ ...SHAPE, ...change });
      starter.pending.pop()?.succeed();
      await taken;
    }
    expect(pool.readyCount).toBe(1);
  });
});

describe('limits', () => {
  test.each([{ memoryBytes: 50 }, { pids: 11 }, { cpus: 2 }])(
    '%j is applied before the member is handed out',
    async (change) => {
      const { starter, pool } = await filled(1);
      await pool.take({ ...SHAPE, ...change }, never);
      expect(starter.updates).toEqual(['c0']);
    },
  );

  test('those it has already need no call', async () => {
    const { starter, pool } = await filled(1);
    await pool.take(SHAPE, never);
    expect(starter.updates).toEqual([]);
  });

  test('a member that cannot have them is removed, and one is made that has them, however often that fails', async () => {
    const { starter, pool } = await filled(2);
    starter.updateFails = true;
    const taken = pool.take({ ...SHAPE, pids: 11 }, never);
    await flush();
    expect(starter.made.map(({ released }) => released)).toEqual([1, 0]);
    expect(starter.updates).toEqual(['c0']);
    await starter.settle();
    const fake = starter.fakeOf(await taken);
    expect([fake.released, fake.shape.pids]).toEqual([0, 11]);
    expect(starter.updates).toEqual(['c0']);
  });
});

describe('failing starts', () => {
  test('are heard by the one who waits longest; the others get the next', async () => {
    const starter = new Starter();
    const pool = starter.pool({ concurrentStarts: 1 });
    pool.setTargets([{ shape: SHAPE, ...fixed(1) }]);
    const [first, second] = [pool.take(SHAPE, never), pool.take(SHAPE, never)];
    starter.pending.shift()?.fail(new Error('daemon is gone'));
    await expect(first).rejects.toThrow('daemon is gone');
    await starter.settle();
    await expect(second).resolves.toBeDefined();
  });

  test('make refilling pause, longer each time, and a success ends the pause', async () => {
    const starter = new Starter();
    const pool = starter.pool({ concurrentStarts: 1 });
    pool.setTargets([{ shape: SHAPE, ...fixed(1) }]);
    const pauses: number[] = [];
    for (let attempt = 0; attempt < 8; attempt += 1) {
      starter.pending.shift()?.fail(new Error('no'));
      await flush();
      expect(starter.pending).toEqual([]);
      let waited = 0;
      while (starter.pending.length === 0 && waited < 120_000) {
        await vi.advanceTimersByTimeAsync(100);
        waited += 100;
      }
      pauses.push(waited);
    }
    expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    await starter.settle();
    expect(pool.readyCount).toBe(1);
    await pool.take(SHAPE, never);
    expect(starter.pending).toHaveLength(1);
  });

  test('of one shape do not hold up another', async () => {
    const starter = new Starter();
    const pool = starter.pool({ concurrentStarts: 1 });
    const other = { ...SHAPE, imageId: 'sha256:b' };
    pool.setTargets([
      { shape: SHAPE, ...fixed(1) },
      { shape: other, ...fixed(2) },
    ]);
    for (let turn = 0; turn < 10; turn += 1) {
      for (const start of starter.pending.splice(0)) {
        if (start.shape.imageId === SHAPE.imageId) start.fail(new Error('its image is gone'));
        else start.succeed();
      }
      await flush();
    }
    expect(pool.shelves.map(({ ready }) => ready)).toEqual([0, 2]);
  });

  test('that took long, while none succeeded, are heard by all who waited as long', async () => {
    const starter = new Starter();
    const pool = starter.pool({ concurrentStarts: 1 });
    pool.setTargets([{ shape: SHAPE, ...fixed(1) }]);
    const early = [1, 2, 3].map(() => pool.take(SHAPE, never));
    const told = Promise.allSettled(early);
    await vi.advanceTimersByTimeAsync(20_000);
    const late = pool.take(SHAPE, never);
    starter.pending.shift()?.fail(new Error('no answer'));
    expect((await told).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    await starter.settle();
    await expect(late).resolves.toBeDefined();
  });

  test('that took long are heard by one alone where others succeed', async () => {
    const starter = new Starter();
    const pool = starter.pool({ concurrentStarts: 2 });
    pool.setTargets([{ shape: SHAPE, ...fixed(1) }]);
    const [first, second, third] = [1, 2, 3].map(() => pool.take(SHAPE, never));
    await vi.advanceTimersByTimeAsync(20_000);
    starter.pending.pop()?.succeed();
    await expect(first).resolves.toBeDefined();
    starter.pending.shift()?.fail(new Error('no answer'));
    await expect(second).rejects.toThrow('no answer');
    await starter.settle();
    await expect(third).resolves.toBeDefined();
  });

  test('a run does not wait for the pause to end', async () => {
    const starter = new Starter();
    const pool = starter.pool({ concurrentStarts: 1 });
    pool.setTargets([{ shape: SHAPE, ...fixed(1) }]);
    starter.pending.shift()?.fail(new Error('no'));
    await flush();
    const taken = pool.take(SHAPE, never);
    await starter.settle();
    await expect(taken).resolves.toBeDefined();
  });
});

describe('changing', () => {
  test('an image built anew replaces the members, those being made included', async () => {
    const { starter, pool } = await filled(2);
    await pool.take(SHAPE, never);
    await vi.advanceTimersByTimeAsync(100);
    const anew = { ...SHAPE, imageId: 'sha256:b' };
    pool.setTargets([{ shape: anew, ...fixed(2) }]);
    expect(pool.readyCount).toBe(0);
    await starter.settle();
    expect(pool.readyCount).toBe(2);
    expect(starter.made.map(({ shape, released }) => [shape.imageId, released])).toEqual([
      ['sha256:a', 0],
      ['sha256:a', 1],
      ['sha256:a', 1],
      ['sha256:b', 0],
      ['sha256:b', 0],
    ]);
    expect(starter.events).toContainEqual({ kind: 'discarded', reason: 'stale', shape: SHAPE });
  });

  test('members that are too old are replaced', async () => {
    const { starter, pool } = await filled(2, { ageMsMax: 1000 });
    vi.advanceTimersByTime(1001);
    pool.maintain();
    await starter.settle();
    expect(pool.readyCount).toBe(2);
    expect(starter.made.map(({ released }) => released)).toEqual([1, 1, 0, 0]);
    expect(starter.events).toContainEqual({ kind: 'discarded', reason: 'aged', shape: SHAPE });
  });
});

describe('closing', () => {
  test('gives every member back and starts no more', async () => {
    const { starter, pool } = await filled(3);
    await pool.close();
    pool.maintain();
    expect(pool.readyCount).toBe(0);
    expect(starter.made.map(({ released }) => released)).toEqual([1, 1, 1]);
    expect(starter.pending).toEqual([]);
  });

  test('waits for starts under way and gives back what comes of them', async () => {
    const starter = new Starter();
    const pool = starter.pool();
    pool.setTargets([{ shape: SHAPE, ...fixed(2) }]);
    let isClosed = false;
    const closed = pool.close().then(() => (isClosed = true));
    await flush();
    expect(isClosed).toBe(false);
    starter.pending.shift()?.succeed();
    starter.pending.shift()?.fail(new Error('no'));
    await closed;
    expect(starter.made.map(({ released }) => released)).toEqual([1]);
  });

  test('tells those who wait, and those who come later', async () => {
    const starter = new Starter();
    const pool = starter.pool();
    pool.setTargets([{ shape: SHAPE, ...fixed(1) }]);
    const waiting = pool.take(SHAPE, never);
    waiting.catch(() => undefined);
    const closed = pool.close();
    await starter.settle();
    await closed;
    await expect(waiting).rejects.toThrow('closing');
    await expect(pool.take(SHAPE, never)).rejects.toThrow('closing');
  });
});

describe('between bounds', () => {
  const ranged = (min: number, max: number) => {
    const starter = new Starter();
    const pool = starter.pool();
    pool.setTargets([{ shape: SHAPE, min, max }]);
    return { starter, pool };
  };
  const rest = (pool: WarmPool, turns: number) => {
    for (let turn = 0; turn < turns; turn += 1) pool.maintain();
  };

  test('as many as the lower one are kept until a run finds none', async () => {
    const { starter, pool } = ranged(2, 6);
    await starter.settle();
    expect([pool.readyCount, pool.targetCount]).toEqual([2, 2]);
    await Promise.all([pool.take(SHAPE, never), pool.take(SHAPE, never)]);
    expect(pool.targetCount).toBe(2);
    const missed = [pool.take(SHAPE, never), pool.take(SHAPE, never)];
    await starter.settle();
    await Promise.all(missed);
    expect(pool.targetCount).toBe(4);
    expect(pool.readyCount).toBe(4);
  });

  test('never more than the upper one, however many find none', async () => {
    const { starter, pool } = ranged(1, 5);
    const taken = Array.from({ length: 50 }, () => pool.take(SHAPE, never));
    await starter.settle();
    await Promise.all(taken);
    expect([pool.readyCount, pool.targetCount]).toEqual([5, 5]);
  });

  test('at rest they go one by one, down to the lower bound, and each is given back', async () => {
    const { starter, pool } = ranged(1, 5);
    const taken = Array.from({ length: 9 }, () => pool.take(SHAPE, never));
    await starter.settle();
    await Promise.all(taken);
    rest(pool, 4);
    expect(pool.targetCount).toBe(5);
    rest(pool, 1);
    expect(pool.targetCount).toBe(4);
    rest(pool, 50);
    await flush();
    expect([pool.readyCount, pool.targetCount]).toEqual([1, 1]);
    expect(starter.made.filter(({ released }) => released === 1)).toHaveLength(4);
    expect(starter.events).toContainEqual({ kind: 'discarded', reason: 'surplus', shape: SHAPE });
  });

  test('what is needed from time to time stays', async () => {
    const { starter, pool } = ranged(1, 3);
    const taken = Array.from({ length: 9 }, () => pool.take(SHAPE, never));
    await starter.settle();
    await Promise.all(taken);
    for (let turn = 0; turn < 30; turn += 1) {
      const burst = Array.from({ length: 3 }, () => pool.take(SHAPE, never));
      await starter.settle();
      await Promise.all(burst);
      pool.maintain();
    }
    expect(pool.targetCount).toBe(3);
  });

  test('a lower bound of 0 keeps nothing until somebody comes', async () => {
    const { starter, pool } = ranged(0, 2);
    await starter.settle();
    expect(starter.made).toEqual([]);
    const taken = pool.take(SHAPE, never);
    await starter.settle();
    await taken;
    expect(pool.readyCount).toBe(1);
  });
});

describe('modules imported beforehand', () => {
  const WITH: SandboxShape = { ...SHAPE, preimports: ['numpy'] };
  const both = async () => {
    const starter = new Starter();
    const pool = starter.pool();
    pool.setTargets([
      { shape: SHAPE, ...fixed(1) },
      { shape: WITH, ...fixed(1) },
    ]);
    await starter.settle();
    return { starter, pool };
  };

  test('are offered to shapes that differ in nothing else', async () => {
    const { pool } = await both();
    expect(pool.preimportsOffered(SHAPE)).toEqual([['numpy']]);
    expect(pool.preimportsOffered({ ...SHAPE, memoryBytes: 7 })).toEqual([['numpy']]);
    expect(pool.preimportsOffered({ ...SHAPE, runtime: 'runsc' })).toEqual([]);
  });

  test('come from their own shelf, and from the plain one where that is empty', async () => {
    const { starter, pool } = await both();
    expect(starter.fakeOf(await pool.take(WITH, never)).shape.preimports).toEqual(['numpy']);
    expect(starter.fakeOf(await pool.take(WITH, never)).shape.preimports).toEqual([]);
  });

  test('are never given to a plan that did not ask for them', async () => {
    const { starter, pool } = await both();
    const taken = [pool.take(SHAPE, never), pool.take(SHAPE, never)];
    await starter.settle();
    for (const lease of await Promise.all(taken)) expect(starter.fakeOf(lease).shape.preimports).toEqual([]);
  });
});

test('after a pause one start alone tries the daemon, and only its success lets the others follow', async () => {
  const starter = new Starter();
  const pool = starter.pool({ concurrentStarts: 4 });
  pool.setTargets([{ shape: SHAPE, ...fixed(4) }]);
  for (const start of starter.pending.splice(0)) start.fail(new Error('no'));
  await flush();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(starter.pending).toHaveLength(1);
  starter.pending.shift()?.succeed();
  await flush();
  expect(starter.pending).toHaveLength(3);
});
