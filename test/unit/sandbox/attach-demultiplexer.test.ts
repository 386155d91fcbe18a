/** Docker's attach stream, taken apart. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AttachDemultiplexer } from '../../../src/sandbox/attach-demultiplexer.ts';
import { cut } from '../output/chunks.ts';

type Part = readonly [1 | 2, Buffer];

function frame([stream, body]: Part): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(stream, 0);
  header.writeUInt32BE(body.length, 4);
  return Buffer.concat([header, body]);
}

/** What arrives per stream, and the order of the streams, for these chunks. */
function demultiplex(chunks: readonly Buffer[]) {
  const arrived: Record<1 | 2, Buffer[]> = { 1: [], 2: [] };
  let order = '';
  const demultiplexer = new AttachDemultiplexer(
    (data) => {
      arrived[1].push(data);
      order += 'o'.repeat(data.length);
    },
    (data) => {
      arrived[2].push(data);
      order += 'e'.repeat(data.length);
    },
  );
  for (const chunk of chunks) demultiplexer.push(chunk);
  return { stdout: Buffer.concat(arrived[1]), stderr: Buffer.concat(arrived[2]), order };
}

const parts = fc.array(
  fc.tuple(
    fc.constantFrom<1 | 2>(1, 2),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  ),
  { maxLength: 10 },
);

test('any chunks mean what the whole means', () => {
  fc.assert(
    fc.property(parts, fc.array(fc.integer({ min: 1, max: 11 }), { minLength: 1 }), (written, sizes) => {
      const bytes = Buffer.concat(written.map(frame));
      const of = (stream: 1 | 2) => Buffer.concat(written.filter(([to]) => to === stream).map(([, body]) => body));
      const seen = demultiplex(cut(bytes, sizes));
      expect(seen).toEqual(demultiplex([bytes]));
      expect(seen.stdout.equals(of(1)) && seen.stderr.equals(of(2))).toBe(true);
      expect(seen.order).toBe(written.map(([to, body]) => (to === 1 ? 'o' : 'e').repeat(body.length)).join(''));
    }),
    { numRuns: 1000 },
  );
});

test('thousands of one-byte frames in one chunk are taken apart, without a stack', () => {
  const frames = Array.from({ length: 5000 }, (_, index) =>
    frame([index % 2 === 0 ? 1 : 2, Buffer.from([index % 251])]),
  );
  const { stdout, stderr } = demultiplex([Buffer.concat(frames)]);
  expect([stdout.length, stderr.length]).toEqual([2500, 2500]);
  expect([stdout[1], stderr[1]]).toEqual([2, 3]);
});

test('a body of several megabytes is passed on as it comes, not collected', () => {
  const body = Buffer.alloc(4 << 20, 7);
  const pieces: number[] = [];
  const demultiplexer = new AttachDemultiplexer(
    (data) => pieces.push(data.length),
    () => expect.unreachable(),
  );
  for (const chunk of cut(frame([1, body]), [65_536])) demultiplexer.push(chunk);
  expect(pieces.reduce((sum, length) => sum + length, 0)).toBe(body.length);
  expect(Math.max(...pieces)).toBeLessThanOrEqual(65_536);
});

test.each([
  ['stdin', [0, 0, 0, 0, 0, 0, 0, 1]],
  ['a system error', [3, 0, 0, 0, 0, 0, 0, 1]],
  ['text', [...Buffer.from('HTTP/1.1')]],
  ['a reserved byte that is set', [1, 0, 1, 0, 0, 0, 0, 1]],
])('a header that is %s is an error, never data', (_, header) => {
  for (const sizes of [[8], [1]]) {
    expect(() => demultiplex(cut(Buffer.from([...header, 65]), sizes))).toThrow('header');
  }
});
