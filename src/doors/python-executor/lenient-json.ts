/**
 * Reads JSON objects the way python-executor's clients have learned to send them:
 * unknown fields are ignored, keys match whatever their case, null is as good as
 * absent, the last of two equal keys wins; but a value of the wrong type is an
 * error, and so is a number with a fraction where an integer is meant. (`5.0` is 5.)
 */

/** What is wrong, as the sentence after `parsing metadata: ` or `invalid JSON: `. */
export class LenientJsonError extends Error {
  override readonly name = 'LenientJsonError';
}

export interface Reader<T> {
  (value: unknown, field: string): T;
}

/** Parses text to an object; `{}` for `null`. */
export function parseObject(text: string): Readonly<Record<string, unknown>> {
  if (text.trim() === '') throw new LenientJsonError('EOF');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new LenientJsonError(error instanceof Error ? error.message : 'not JSON');
  }
  return object(value, 'the document');
}

/** The first JSON value of a text that may go on behind it (python-executor's decoder stops there). */
export function firstJsonValue(text: string): string {
  const start = text.search(/\S/);
  if (start === -1 || !'{['.includes(text.charAt(start))) return text;
  let depth = 0;
  let isString = false;
  for (let at = start; at < text.length; at += 1) {
    const character = text.charAt(at);
    if (isString) {
      if (character === '\\') at += 1;
      else if (character === '"') isString = false;
    } else if (character === '"') isString = true;
    else if (character === '{' || character === '[') depth += 1;
    else if (character === '}' || character === ']') {
      depth -= 1;
      if (depth === 0) return text.slice(start, at + 1);
    }
  }
  return text;
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return typeof value === 'object' ? 'object' : typeof value;
}

function mismatch(field: string, value: unknown, wanted: string): LenientJsonError {
  return new LenientJsonError(`cannot take ${kindOf(value)} as ${field}, which is ${wanted}`);
}

export const string: Reader<string> = (value, field) => {
  if (typeof value !== 'string') throw mismatch(field, value, 'a string');
  return value;
};

export const boolean: Reader<boolean> = (value, field) => {
  if (typeof value !== 'boolean') throw mismatch(field, value, 'true or false');
  return value;
};

export const integer: Reader<number> = (value, field) => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw mismatch(field, value, 'an integer');
  return value;
};

export const strings: Reader<readonly string[]> = (value, field) => {
  if (!Array.isArray(value)) throw mismatch(field, value, 'a list of strings');
  return value.map((item: unknown) => (item === null ? '' : string(item, field)));
};

export const object: Reader<Readonly<Record<string, unknown>>> = (value, field) => {
  if (value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) throw mismatch(field, value, 'an object');
  return Object.fromEntries(Object.entries(value));
};

export const objects: Reader<readonly Readonly<Record<string, unknown>>[]> = (value, field) => {
  if (!Array.isArray(value)) throw mismatch(field, value, 'a list of objects');
  return value.map((item: unknown) => object(item, field));
};

/** The field of an object; undefined when it is absent or null. */
export function field<T>(source: Readonly<Record<string, unknown>>, name: string, read: Reader<T>): T | undefined {
  let found: unknown;
  for (const [key, value] of Object.entries(source)) {
    if (key.toLowerCase() === name && value !== null) found = value;
  }
  return found === undefined ? undefined : read(found, name);
}
