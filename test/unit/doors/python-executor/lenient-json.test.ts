import { describe, expect, it } from 'vitest';
import {
  boolean,
  field,
  firstJsonValue,
  integer,
  LenientJsonError,
  object,
  objects,
  parseObject,
  string,
  strings,
} from '../../../../src/doors/python-executor/lenient-json.ts';
import type { Reader } from '../../../../src/doors/python-executor/lenient-json.ts';

describe('a document', () => {
  it.each<[string, unknown]>([
    ['{}', {}],
    ['null', {}],
    [' {"a": 1} \n', { a: 1 }],
    ['{"__proto__": {"a": 1}}', JSON.parse('{"__proto__": {"a": 1}}')],
  ])('%s', (text, value) => {
    expect(parseObject(text)).toEqual(value);
    expect(Object.getPrototypeOf(parseObject(text))).toBe(Object.prototype);
  });

  it.each(['', '  ', '{', '[]', '5', '"x"', '{"a":1} x', "{'a':1}"])('not %j', (text) => {
    expect(() => parseObject(text)).toThrow(LenientJsonError);
  });

  it.each([
    ['{"a":"}"} trailing', '{"a":"}"}'],
    ['{"a":"\\"}"}{"b":1}', '{"a":"\\"}"}'],
    ['  {"a":[{}]}]', '  {"a":[{}]}'.trim()],
    ['[1] [2]', '[1]'],
    ['{"a":', '{"a":'],
    ['x', 'x'],
    ['', ''],
  ])('the first value of %s', (text, first) => {
    expect(firstJsonValue(text)).toBe(first);
  });
});

describe('a field', () => {
  it('is found whatever its case, null is absence, the last of several wins', () => {
    const source = parseObject('{"Entrypoint":"a","ENTRYPOINT":"b","stdin":null,"x":1}');
    expect(field(source, 'entrypoint', string)).toBe('b');
    expect(field(source, 'stdin', string)).toBeUndefined();
    expect(field(source, 'absent', string)).toBeUndefined();
    expect(field(parseObject('{"a":"x","a":"y"}'), 'a', string)).toBe('y');
  });

  it.each<[string, Reader<unknown>, unknown]>([
    ['a string', string, 1],
    ['a string', string, ['x']],
    ['true or false', boolean, 'true'],
    ['true or false', boolean, 1],
    ['an integer', integer, '5'],
    ['an integer', integer, 5.5],
    ['an integer', integer, 2 ** 60],
    ['an integer', integer, true],
    ['a list of strings', strings, 'x'],
    ['a string', strings, [1]],
    ['an object', object, [1]],
    ['an object', object, 'x'],
    ['a list of objects', objects, {}],
    ['an object', objects, ['x']],
  ])('that must be %s', (wanted, read, value) => {
    expect(() => field({ name: value }, 'name', read)).toThrow(new RegExp(`as name, which is ${wanted}$`));
  });

  it('difference: `5.0` where an integer is meant', () => {
    expect(field(parseObject('{"timeout_seconds":5.0}'), 'timeout_seconds', integer)).toBe(5);
  });
});
