/**
 * Recognises a caller by a token (JWT) of the operator's identity provider.
 *
 * Only asymmetric signatures: who can check a token can then not make one, and a
 * public key cannot be passed off as a shared secret. Issuer, audience and end are
 * required. A provider that cannot be asked is our failure, not the caller's: 503.
 */
import { createLocalJWKSet, createRemoteJWKSet, customFetch, errors, importSPKI, jwtVerify } from 'jose';
import type { FetchImplementation, JSONWebKeySet, JWTPayload, JWTVerifyGetKey, JWTVerifyOptions } from 'jose';
import type { Caller, Scope } from '../domain/caller.ts';
import { NotRecognised, type RefusalReason } from '../domain/credentials.ts';
import { ServiceError } from '../domain/errors.ts';

/** A key that is not in the set may be new: the set is fetched again, but not more often than this. */
const COOL_DOWN_MS = 30_000;
const CACHE_MS = 600_000;
const FETCH_TIMEOUT_MS = 5_000;
/** Some hundred keys. What is longer is no set of keys, and would be parsed in the memory of the service. */
const KEY_SET_BYTES_MAX = 1 << 20;
/** After a failure the provider is left alone for this long: nobody can make us knock on it. */
const FAILURE_COOL_DOWN_MS = 5_000;
const CALLER_ID = /^[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?$/;

export interface TokenSettings {
  readonly issuer: string;
  readonly audience: readonly string[];
  readonly algorithms: readonly string[];
  readonly clockSkewSeconds: number;
  /** The claim that names the caller. */
  readonly callerClaim: string;
  /** The claim that holds scopes: words separated by spaces, or a list. */
  readonly scopesClaim: string;
  /** What a word of that claim means here. */
  readonly scopes: ReadonlyMap<string, Scope>;
}

/** Where the keys of the provider are. */
export type TokenKeys = { readonly url: string } | { readonly text: string };

/**
 * A function from a token to its caller.
 * @throws {Error} when the text of the keys is neither a key set nor a public key.
 */
export async function tokenReader(
  keys: TokenKeys,
  settings: TokenSettings,
): Promise<(token: string) => Promise<Caller>> {
  const find = 'url' in keys ? remoteKeys(keys.url) : await localKeys(keys.text, settings.algorithms);
  return async (token) => callerOf(await verified(token, find, settings), settings);
}

async function verified(token: string, find: JWTVerifyGetKey, settings: TokenSettings): Promise<JWTPayload> {
  const options = {
    issuer: settings.issuer,
    audience: [...settings.audience],
    algorithms: [...settings.algorithms],
    clockTolerance: settings.clockSkewSeconds,
    requiredClaims: ['iss', 'aud', 'exp', settings.callerClaim],
  };
  try {
    return (await jwtVerify(token, find, options)).payload;
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    if (error instanceof errors.JWKSMultipleMatchingKeys) return byAnyOf(error, token, options);
    throw new NotRecognised(reasonOf(error));
  }
}

/** A provider that changes its keys and does not name them has several that may be the one. */
async function byAnyOf(
  keys: errors.JWKSMultipleMatchingKeys,
  token: string,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  for await (const key of keys) {
    try {
      return (await jwtVerify(token, key, options)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw new NotRecognised(reasonOf(error));
    }
  }
  throw new NotRecognised('bad_signature');
}

function reasonOf(error: unknown): RefusalReason {
  if (error instanceof errors.JWTExpired) return 'expired';
  if (error instanceof errors.JWTClaimValidationFailed) return 'bad_claims';
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported) return 'bad_algorithm';
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'bad_signature';
  if (error instanceof errors.JWKSNoMatchingKey) return 'unknown';
  return 'malformed';
}

function callerOf(payload: JWTPayload, { callerClaim, scopesClaim, scopes }: TokenSettings): Caller {
  const id = payload[callerClaim];
  if (typeof id !== 'string' || !CALLER_ID.test(id)) throw new NotRecognised('bad_claims');
  const claimed = payload[scopesClaim];
  const words = typeof claimed === 'string' ? claimed.split(' ') : Array.isArray(claimed) ? claimed : [];
  const granted = words.map((word) => (typeof word === 'string' ? scopes.get(word) : undefined));
  return { id: `jwt:${id}`, scopes: new Set(granted.filter((scope) => scope !== undefined)) };
}

const fetchShort: FetchImplementation = async (url, options) => {
  const response = await fetch(url, options);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > KEY_SET_BYTES_MAX) throw new Error('the identity provider sent more than a set of keys has');
    chunks.push(chunk);
  }
  return new Response(Buffer.concat(chunks), { status: response.status });
};

function remoteKeys(url: string): JWTVerifyGetKey {
  const set = createRemoteJWKSet(new URL(url), {
    cooldownDuration: COOL_DOWN_MS,
    cacheMaxAge: CACHE_MS,
    timeoutDuration: FETCH_TIMEOUT_MS,
    [customFetch]: fetchShort,
  });
  let failedAt = -Infinity;
  /** What the provider said before it failed; by it whoever has a key that was known is recognised meanwhile. */
  let known: JWTVerifyGetKey | undefined;
  return async (header, token) => {
    const isLeftAlone = performance.now() - failedAt < FAILURE_COOL_DOWN_MS;
    if (isLeftAlone && !(set.fresh && known)) throw unavailable(undefined);
    try {
      return await (isLeftAlone && known ? known : set)(header, token);
    } catch (error) {
      // Of a key that is not known nobody can say whether it is new.
      if (isLeftAlone && error instanceof errors.JWKSNoMatchingKey) throw unavailable(error);
      const isAboutTheToken =
        error instanceof errors.JWKSNoMatchingKey ||
        error instanceof errors.JWKSMultipleMatchingKeys ||
        error instanceof errors.JOSENotSupported;
      if (isAboutTheToken) throw error;
      failedAt = performance.now();
      const said = set.jwks();
      known = said && createLocalJWKSet(said);
      throw unavailable(error);
    }
  };
}

function unavailable(cause: unknown): ServiceError {
  return new ServiceError('identity_unavailable', 'The identity provider cannot be asked now.', { cause });
}

/** A set of keys as JSON, or one public key as PEM. */
async function localKeys(text: string, algorithms: readonly string[]): Promise<JWTVerifyGetKey> {
  if (text.trimStart().startsWith('{')) {
    const set = JSON.parse(text) as JSONWebKeySet;
    const isSecret = set.keys.some((key) => key.kty === 'oct' || key.d !== undefined);
    if (isSecret) throw new Error('it holds a private or shared key; only public ones belong there');
    return createLocalJWKSet(set);
  }
  if (!text.includes('-----BEGIN PUBLIC KEY-----')) throw new Error('it holds neither a key set nor a PEM public key');
  const imported = new Map<string, Awaited<ReturnType<typeof importSPKI>>>();
  for (const algorithm of algorithms) {
    // A key is of one kind; the other algorithms cannot be its.
    const key = await importSPKI(text, algorithm).catch(() => undefined);
    if (key) imported.set(algorithm, key);
  }
  if (imported.size === 0) throw new Error('its key fits none of the algorithms');
  return ({ alg }) => {
    const key = imported.get(alg);
    if (!key) throw new NotRecognised('bad_algorithm');
    return key;
  };
}
