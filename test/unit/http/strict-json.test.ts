/** JSON that readers would disagree about is refused; H14. */
import { describe, expect, it } from 'vitest';
import { ServiceError } from '../../../src/domain/errors.ts';
import { parseStrictJson } from '../../../src/http/request-forms/strict-json.ts';

const parse = (text: string | Buffer) => parseStrictJson(Buffer.from(text), 'The body');

describe('strict JSON', () => {
  it.each([
    '{}',
    '{"a":{"a":1},"b":[{"a":1},{"a":2}]}',
    String.raw`{"a":"\"a\":1,","b":"\\","c":"{\"a\":"}`,
    '{"constructor":1,"prototype":2}',
    '{"constructor":[{"prototype":1}]}',
    '{"":"","\u00e4":1,"a\u0308":2}',
    '\ufeff{"a":1}',
    ' [1, "x", null] ',
  ])('reads %s', (text) => {
    expect(parse(text)).toEqual(JSON.parse(text.replace('\ufeff', '')));
  });

  it.each([
    ['nothing', '', 'empty'],
    ['blanks', ' \n', 'empty'],
    ['half an object', '{"a":', 'not valid JSON'],
    ['two values', '{} {}', 'not valid JSON'],
    ['a key twice', '{"a":1,"b":{"c":1},"a":2}', 'twice at position 19'],
    ['a key twice, spelled differently', String.raw`{"code":1,"\u0063ode":2}`, 'twice'],
    ['a key twice, deeper', '[{"x":[{"k":1,"k":1}]}]', 'twice'],
    ['__proto__', '{"__proto__":{}}', 'prototype'],
    ['__proto__, escaped', String.raw`{"a":{"\u005f_proto__":1}}`, 'prototype'],
    ['constructor.prototype', '{"constructor":{"prototype":{}}}', 'prototype'],
    ['deep nesting', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 'nested'],
    ['bytes that are not UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'not UTF-8'],
  ])('refuses %s', (_what, text, reason) => {
    expect(() => parse(text)).toThrow(ServiceError);
    try {
      parse(text);
    } catch (error) {
      expect(error).toMatchObject({ code: 'invalid_json' });
      expect((error as Error).message).toContain(reason);
    }
  });

  it('does not repeat the text in its sentence', () => {
    expect(() => parse('{"secret": hunter2}')).toThrow(/^The body is not valid JSON( at position \d+)?\.$/);
  });

  it('takes time in proportion to the text', () => {
    const many = `{${Array.from({ length: 100_000 }, (_, index) => `"${String(index)}":"\\\\\\""`).join(',')}}`;
    const startedAt = performance.now();
    parse(many);
    parse(JSON.stringify('\\"'.repeat(1_000_000)));
    expect(performance.now() - startedAt).toBeLessThan(3_000);
  });
});
