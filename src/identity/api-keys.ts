/**
 * Recognises a caller by an API key.
 *
 * The store is asked for every request, so that a key that is revoked is refused by
 * the next one. A store that cannot be read refuses everybody: nobody gets in
 * because a disk failed.
 */
import { timingSafeEqual } from 'node:crypto';
import type { ApiKey, KeySecret } from '../domain/api-key.ts';
import type { Caller } from '../domain/caller.ts';
import { NotRecognised } from '../domain/credentials.ts';
import { ServiceError } from '../domain/errors.ts';
import { hashOfKey, isKey } from './key-format.ts';

/** Finds what is kept under a hash. */
export type KeyLookup = (hash: Uint8Array) => { readonly key: ApiKey; readonly secret: KeySecret } | undefined;

const CALLER_PREFIX = 'key:';

/** The id of the key that is this caller; undefined where it is none. */
export function keyOfCaller(callerId: string): string | undefined {
  return callerId.startsWith(CALLER_PREFIX) ? callerId.slice(CALLER_PREFIX.length) : undefined;
}

/**
 * The caller `token` stands for.
 * @param nowMs wall clock.
 * @throws {ServiceError} unauthenticated; identity_unavailable when the store cannot be read.
 */
export function callerOfKey(token: string, lookup: KeyLookup, nowMs: number): Caller {
  if (!isKey(token)) throw new NotRecognised('malformed', 'This is not a complete API key.');
  const hash = hashOfKey(token);
  let found: ReturnType<KeyLookup>;
  try {
    found = lookup(hash);
  } catch (cause) {
    throw new ServiceError('identity_unavailable', 'API keys cannot be checked now.', { cause });
  }
  if (!found || !timingSafeEqual(found.secret.hash, hash)) throw new NotRecognised('unknown');
  const { key, secret } = found;
  if (key.revokedAtMs !== undefined) throw new NotRecognised('revoked');
  if (secret.expiresAtMs !== undefined && secret.expiresAtMs <= nowMs) throw new NotRecognised('expired');
  return {
    id: CALLER_PREFIX + key.id,
    scopes: new Set(key.scopes),
    ...(key.maxima ? { maxima: key.maxima } : {}),
    ...(key.images ? { images: key.images } : {}),
    ...(key.concurrentMax === undefined ? {} : { concurrentMax: key.concurrentMax }),
  };
}
