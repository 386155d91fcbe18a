/** How long records are kept: while in progress always, then by age and by budget. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { MemoryStore } from '../../../src/store/memory-store.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const record = (id: string, sizeBytes = 1) => ({ id, sizeBytes });
const storeOf = (options: { ttlMs?: number; bytesMax?: number } = {}) =>
  new MemoryStore({ ttlMs: 1000, bytesMax: 100, ...options });
const idsOf = (store: MemoryStore<{ id: string; sizeBytes: number }>) => [...store.values()].map(({ id }) => id);

describe('age', () => {
  test('counts from the end of a record, not from its beginning', () => {
    const store = storeOf();
    store.add(record('a'));
    vi.advanceTimersByTime(10_000);
    expect(store.get('a')).toBeDefined();
    store.finish('a');
    vi.advanceTimersByTime(999);
    expect(store.get('a')).toBeDefined();
    vi.advanceTimersByTime(1);
    expect(store.get('a')).toBeUndefined();
    expect(store.size).toBe(0);
  });

  test('is not extended by asking or by finishing again', () => {
    const store = storeOf();
    store.add(record('a'));
    store.finish('a');
    vi.advanceTimersByTime(900);
    store.get('a');
    store.finish('a');
    vi.advanceTimersByTime(100);
    expect(store.get('a')).toBeUndefined();
  });

  test('those that are over go also when others are asked for', () => {
    const store = storeOf();
    for (const id of ['a', 'b', 'c']) store.add(record(id));
    store.finish('a');
    store.finish('b');
    vi.advanceTimersByTime(1000);
    expect(store.get('c')).toBeDefined();
    expect(idsOf(store)).toEqual(['c']);
  });
});

describe('budget', () => {
  test('the oldest finished go first, the rest stays', () => {
    const store = storeOf();
    for (const id of ['a', 'b', 'c']) {
      store.add(record(id, 40));
      store.finish(id);
    }
    expect(idsOf(store)).toEqual(['b', 'c']);
  });

  test('the order is that of finishing', () => {
    const store = storeOf();
    for (const id of ['a', 'b', 'c']) store.add(record(id, 40));
    for (const id of ['c', 'a', 'b']) store.finish(id);
    expect(idsOf(store)).toEqual(['a', 'b']);
  });

  test('exactly full is not too full', () => {
    const store = storeOf();
    for (const id of ['a', 'b']) {
      store.add(record(id, 50));
      store.finish(id);
    }
    expect(store.size).toBe(2);
  });

  test('those in progress are never evicted and do not count', () => {
    const store = storeOf();
    store.add(record('running', 1_000_000));
    for (let i = 0; i < 50; i += 1) {
      store.add(record(String(i), 10));
      store.finish(String(i));
    }
    expect(store.get('running')).toBeDefined();
    expect(store.size).toBe(11);
    vi.advanceTimersByTime(1_000_000);
    expect(store.get('running')).toBeDefined();
    expect(store.size).toBe(1);
  });

  test('one that is larger than all of it stays until the next finishes: its answer is being sent', () => {
    const store = storeOf();
    store.add(record('huge', 1000));
    store.finish('huge');
    expect(store.get('huge')).toBeDefined();
    store.add(record('next', 1));
    store.finish('next');
    expect(idsOf(store)).toEqual(['next']);
  });

  test('what left by age does not count any more', () => {
    const store = storeOf();
    store.add(record('old', 90));
    store.finish('old');
    vi.advanceTimersByTime(1000);
    for (const id of ['a', 'b']) {
      store.add(record(id, 50));
      store.finish(id);
    }
    expect(idsOf(store)).toEqual(['a', 'b']);
  });

  test('the size is taken when a record finishes: what a program printed counts', () => {
    const store = storeOf();
    const growing = { id: 'g', sizeBytes: 1 };
    store.add(growing);
    growing.sizeBytes = 90;
    store.finish('g');
    store.add(record('next', 20));
    store.finish('next');
    expect(idsOf(store)).toEqual(['next']);
  });
});

test('an id that is not there is undefined, and finishing it does nothing', () => {
  const store = storeOf();
  store.finish('nobody');
  expect(store.get('nobody')).toBeUndefined();
  expect(store.get('__proto__')).toBeUndefined();
});
