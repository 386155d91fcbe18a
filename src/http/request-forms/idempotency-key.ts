/**
 * The Idempotency-Key header: by it a caller that does not know whether its request
 * arrived sends it again without running anything twice. Pure.
 *
 * Its value is one string of visible ASCII, quoted or not, as clients send it.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { invalidField } from './field-errors.ts';

const KEY = /^[\x21-\x7e]{1,255}$/;

/** The key, without its quotes; undefined where there is none. @throws {ServiceError} invalid_request. */
export function idempotencyKeyOf(headers: IncomingHttpHeaders): string | undefined {
  const value = headers['idempotency-key'];
  if (value === undefined) return undefined;
  const text = String(value);
  const key = /^"(.*)"$/.exec(text)?.[1] ?? text;
  if (!KEY.test(key)) throw invalidField('Idempotency-Key', 'must be 1 to 255 visible ASCII characters, given once');
  return key;
}
