/** Bytes to text: nothing is lost, replaced or invented, however the bytes are cut. */
import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Utf8Stream, type TextPiece } from '../../../src/output/utf8-stream.ts';
import { cut } from './chunks.ts';

const bytesOf = (pieces: readonly TextPiece[]) => Buffer.concat(pieces.map(({ bytes }) => bytes));

/** As readers see them. */
const shown = (pieces: readonly TextPiece[]) =>
  pieces.map(({ bytes, kind }) =>
    kind === 'binary' ? { data: bytes.toString('base64'), encoding: 'base64' } : { data: bytes.toString(kind) },
  );

function piecesOf(chunks: readonly Buffer[]): readonly TextPiece[] {
  const stream = new Utf8Stream();
  return [...chunks.flatMap((chunk) => [...stream.push(chunk)]), ...stream.end()];
}

/** Mostly text, with bytes that are none strewn in: half characters, overlong forms, surrogates. */
const output = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes)),
      fc
        .constantFrom('f0908d88', 'f09f98', 'c3', 'eda080', 'c080', 'f8888080', '80', 'ff', 'e282')
        .map((hex) => Buffer.from(hex, 'hex')),
    ),
    { maxLength: 8 },
  )
  .map((parts) => Buffer.concat(parts));
const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 });

test('any bytes in any chunks come back as the same bytes', () => {
  fc.assert(
    fc.property(output, sizes, (bytes, chunkSizes) => {
      expect(bytesOf(piecesOf(cut(bytes, chunkSizes))).equals(bytes)).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

test('text in any chunks is never base64 and never has a replacement character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), sizes, (text, chunkSizes) => {
      fc.pre(!text.includes('\uFFFD'));
      const pieces = piecesOf(cut(Buffer.from(text), chunkSizes));
      expect(pieces.every(({ kind }) => kind !== 'binary')).toBe(true);
      expect(
        shown(pieces)
          .map(({ data }) => data)
          .join(''),
      ).toBe(text);
    }),
    { numRuns: 1000 },
  );
});

test('no piece is empty, and a text piece has only characters that were written', () => {
  fc.assert(
    fc.property(output, sizes, (bytes, chunkSizes) => {
      const wasText = isUtf8(bytes) && bytes.toString().includes('\uFFFD');
      for (const { data, encoding } of shown(piecesOf(cut(bytes, chunkSizes)))) {
        expect(data).not.toBe('');
        if (encoding === undefined && !wasText && !bytes.includes('\uFFFD')) expect(data).not.toContain('\uFFFD');
      }
    }),
    { numRuns: 1000 },
  );
});

describe('a character that is cut', () => {
  test.each(['é', '€', '😀'])('%s waits for its rest, and is text', (character) => {
    const bytes = Buffer.from(character);
    for (let at = 1; at < bytes.length; at += 1) {
      const stream = new Utf8Stream();
      expect(shown(stream.push(bytes.subarray(0, at)))).toEqual([]);
      expect(shown(stream.push(bytes.subarray(at)))).toEqual([{ data: character }]);
      expect(shown(stream.end())).toEqual([]);
    }
  });

  test('is base64 when its rest never comes', () => {
    const stream = new Utf8Stream();
    expect(shown(stream.push(Buffer.from('ab\xe2', 'latin1')))).toEqual([{ data: 'ab' }]);
    expect(shown(stream.end())).toEqual([{ data: '4g==', encoding: 'base64' }]);
    expect(shown(stream.end())).toEqual([]);
  });

  test('is not waited for longer than a character is', () => {
    const stream = new Utf8Stream();
    expect(bytesOf(stream.push(Buffer.from('80808080', 'hex'))).toString('hex')).toBe('80808080');
  });

  test('does not make the text after a gap base64 as well', () => {
    const euro = Buffer.from('€€');
    const stream = new Utf8Stream();
    expect(shown(stream.push(euro.subarray(0, 4)))).toEqual([{ data: '€' }]);
    expect(shown(stream.tear())).toEqual([{ data: '4g==', encoding: 'base64' }]);
    expect(shown(stream.push(Buffer.concat([euro.subarray(4), Buffer.from('end')])))).toEqual([
      { data: 'gqw=', encoding: 'base64' },
      { data: 'end' },
    ]);
  });
});
