/** What the host makes of a display, whatever a container says. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { displayOf } from '../../../src/sandbox/display-frame.ts';

const part = (name: string, body: string | Buffer) => {
  const bytes = Buffer.from(body as string);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), length, bytes]);
};
const display = (cut: number, ...parts: readonly Buffer[]) =>
  Buffer.concat([Buffer.from([cut, parts.length]), ...parts]);

describe('a display', () => {
  test('is text as it is, JSON as a value, the rest as base64', () => {
    const payload = display(
      1,
      part('text/plain', 'é'),
      part('image/svg+xml', '<svg/>'),
      part('application/json', '{"a":[1]}'),
      part('application/vnd.x+json', '2'),
      part('image/png', Buffer.from([0xff, 0])),
      part('metadata', '{"m":1}'),
    );
    expect(displayOf(payload)).toEqual({
      data: {
        'text/plain': 'é',
        'image/svg+xml': '<svg/>',
        'application/json': { a: [1] },
        'application/vnd.x+json': 2,
        'image/png': '/wA=',
      },
      metadata: { m: 1 },
      truncated: true,
    });
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['no parts', Buffer.from([0, 0])],
    ['too many parts', Buffer.concat([Buffer.from([0, 17]), ...Array.from({ length: 17 }, () => part('a/b', ''))])],
    ['fewer parts than said', Buffer.concat([Buffer.from([0, 2]), part('a/b', '')])],
    ['more than was said', Buffer.concat([display(0, part('a/b', '')), Buffer.from('x')])],
    ['a length beyond the end', Buffer.from('\0\x01\x03a/b\xff\xff\xff\xff', 'latin1')],
    ['only what is no media type', display(0, part('text', 'x'), part('Text/Plain', 'x'), part('../x', 'x'))],
    ['only text that is no UTF-8', display(0, part('text/html', Buffer.from([0xff])))],
    ['only JSON that is none', display(0, part('application/json', '{'))],
    ['only JSON that is too deep', display(0, part('application/json', '['.repeat(101) + ']'.repeat(101)))],
    ['only metadata', display(0, part('metadata', '{}'))],
  ])('of %s is nothing', (_, payload) => {
    expect(displayOf(payload)).toBeUndefined();
  });

  test('takes a media type once, and metadata that is an object only', () => {
    expect(displayOf(display(0, part('text/plain', 'a'), part('text/plain', 'b'), part('metadata', '[1]')))).toEqual({
      data: { 'text/plain': 'a' },
    });
  });

  test('of any bytes is a display that can be written as JSON, or nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const found = displayOf(Buffer.from(bytes));
        if (found) expect(JSON.parse(JSON.stringify(found))).toEqual(found);
      }),
      { numRuns: 5000 },
    );
  });
});
