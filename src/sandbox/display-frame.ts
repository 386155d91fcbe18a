/**
 * A display as it comes from a container, checked and made a value. Pure.
 *
 * The supervisor saw that the form is right; every byte of it is the program's. What
 * is not what it says it is (text that is no UTF-8, JSON that does not parse) is
 * left out; the program meant nothing by it that could be shown.
 */
import { isUtf8 } from 'node:buffer';
import type { Display } from '../domain/displays.ts';

const PARTS_MAX = 16;
const NAME = /^[a-z0-9][a-z0-9+.-]{0,50}\/[a-z0-9][a-z0-9+.-]{0,80}$/;
/** JSON.stringify recurses; deeper values are for nobody. */
const JSON_DEPTH_MAX = 100;
const JSON_BYTES_MAX = 1 << 20;

/** The display in `payload` (docs/SUPERVISOR.md), or undefined where there is nothing in it to show. */
export function displayOf(payload: Buffer): Display | undefined {
  const parts = partsOf(payload);
  if (!parts) return undefined;
  const data: Record<string, unknown> = {};
  let metadata: unknown;
  let isCut = payload[0] === 1;
  for (const [name, body] of parts) {
    if (name === 'metadata') metadata = jsonOf(body);
    else if (NAME.test(name) && !Object.hasOwn(data, name)) {
      const value = valueOf(name, body);
      if (value !== undefined) data[name] = value;
      else if (isJson(name) && body.length > JSON_BYTES_MAX) isCut = true;
    }
  }
  if (Object.keys(data).length === 0) return undefined;
  return {
    data,
    ...(isObject(metadata) ? { metadata } : {}),
    ...(isCut ? { truncated: true as const } : {}),
  };
}

function partsOf(payload: Buffer): readonly (readonly [string, Buffer])[] | undefined {
  const count = payload[1] ?? 0;
  if (count === 0 || count > PARTS_MAX) return undefined;
  const parts: (readonly [string, Buffer])[] = [];
  let at = 2;
  for (let index = 0; index < count; index += 1) {
    const nameEnd = at + 1 + (payload[at] ?? 0);
    if (nameEnd + 4 > payload.length) return undefined;
    const end = nameEnd + 4 + payload.readUInt32BE(nameEnd);
    if (end > payload.length) return undefined;
    parts.push([payload.toString('latin1', at + 1, nameEnd), payload.subarray(nameEnd + 4, end)]);
    at = end;
  }
  return at === payload.length ? parts : undefined;
}

function valueOf(name: string, body: Buffer): unknown {
  if (isJson(name)) return jsonOf(body);
  const isText = name.startsWith('text/') || name.endsWith('+xml') || name === 'application/javascript';
  if (!isText) return body.toString('base64');
  return isUtf8(body) ? body.toString('utf8') : undefined;
}

const isJson = (name: string) => name === 'application/json' || name.endsWith('+json');

function jsonOf(body: Buffer): unknown {
  if (body.length > JSON_BYTES_MAX || !isUtf8(body) || isDeep(body)) return undefined;
  try {
    return JSON.parse(body.toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

/** Brackets in strings count too: a bound, not a parse. */
function isDeep(body: Buffer): boolean {
  let depth = 0;
  for (const byte of body) {
    if (byte === 0x5b || byte === 0x7b) depth += 1;
    else if (byte === 0x5d || byte === 0x7d) depth -= 1;
    if (depth > JSON_DEPTH_MAX) return true;
  }
  return false;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
