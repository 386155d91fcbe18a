/** How a key is written, and what damage to it is seen. */
import { describe, expect, test } from 'vitest';
import { hashOfKey, isKey, newKey } from '../../../src/identity/key-format.ts';

describe('a key', () => {
  test('is recognisable, 256 bits long, and never the same twice', () => {
    const keys = Array.from({ length: 500 }, newKey);
    expect(new Set(keys).size).toBe(500);
    for (const key of keys) expect(key).toMatch(/^pyx_[0-9A-Za-z]{49}$/);
    expect(keys.every(isKey)).toBe(true);
    // Every one of the 43 places takes many values; a constant byte would show.
    for (let place = 5; place < 47; place += 1) {
      expect(new Set(keys.map((key) => key[place])).size).toBeGreaterThan(20);
    }
  });

  test('that is damaged anywhere is no key', () => {
    const key = newKey();
    for (let place = 0; place < key.length; place += 1) {
      const other = key[place] === 'a' ? 'b' : 'a';
      expect(isKey(key.slice(0, place) + other + key.slice(place + 1))).toBe(false);
    }
    for (const text of [
      '',
      'pyx_',
      key.slice(0, -1),
      `${key}a`,
      ` ${key}`,
      `${key}\n`,
      key.toUpperCase(),
      `${key}\0`,
    ]) {
      expect(isKey(text)).toBe(false);
    }
  });

  test('is kept as a SHA-256 that holds nothing of it', () => {
    const key = newKey();
    expect(hashOfKey(key)).toHaveLength(32);
    expect(hashOfKey(key).equals(hashOfKey(newKey()))).toBe(false);
  });
});
