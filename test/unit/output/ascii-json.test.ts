/** ASCII as JSON, byte for byte what JSON.stringify gives, wherever in memory the bytes lie. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { asciiJson } from '../../../src/output/ascii-json.ts';

const joined = (parts: readonly (string | Buffer)[]) =>
  Buffer.concat(parts.map((part) => Buffer.from(part as string))).toString('latin1');

const stretch = fc
  .tuple(fc.integer({ min: 0, max: 3000 }), fc.array(fc.integer({ min: 0, max: 127 }), { maxLength: 9 }))
  .map(([length, bytes]) => Buffer.concat([Buffer.alloc(length, 'x'), Buffer.from(bytes)]));

test('long stretches with anything between them', () => {
  fc.assert(
    fc.property(fc.array(stretch, { maxLength: 5 }), fc.integer({ min: 0, max: 3 }), (stretches, offset) => {
      const bytes = Buffer.concat([Buffer.alloc(offset), ...stretches]).subarray(offset);
      const parts = asciiJson(bytes);
      if (parts) expect(joined(parts)).toBe(JSON.stringify(bytes.toString('latin1')));
    }),
    { numRuns: 1000 },
  );
});

test.each([0, 1, 2, 3])('every byte at every place of a word, %i bytes from its start', (offset) => {
  for (let byte = 0; byte < 128; byte += 1) {
    for (let at = 0; at < 12; at += 1) {
      const bytes = Buffer.alloc(offset + 12, 'x').subarray(offset);
      bytes[at] = byte;
      expect(joined(asciiJson(bytes) ?? [])).toBe(JSON.stringify(bytes.toString('latin1')));
    }
  }
});

test('many short stretches are left to JSON.stringify', () => {
  expect(asciiJson(Buffer.from('a\n'.repeat(1000)))).toBeUndefined();
});
