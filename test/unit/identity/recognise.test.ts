/** Which credentials count, and which requests are refused for having several or odd ones. */
import { describe, expect, test } from 'vitest';
import type { ApiKey, KeySecret } from '../../../src/domain/api-key.ts';
import { NotRecognised } from '../../../src/domain/credentials.ts';
import { ServiceError } from '../../../src/domain/errors.ts';
import { hashOfKey, newKey } from '../../../src/identity/key-format.ts';
import { recogniser } from '../../../src/identity/recognise.ts';

type Headers = readonly (readonly [string, string])[];

const credentials = (headers: Headers, peerAddress = '192.0.2.1') => ({
  peerAddress,
  header: (name: string) => headers.filter(([known]) => known.toLowerCase() === name).map(([, value]) => value),
});

const key = newKey();
const grant: ApiKey = { id: 'k1', name: 'ci', scopes: ['run'], createdAtMs: 0, maxima: { pids: 9 }, images: ['a'] };

function keys(change: Partial<ApiKey> = {}, secret: Partial<KeySecret> = {}) {
  return recogniser({
    keys: (hash) =>
      hashOfKey(key).equals(hash)
        ? { key: { ...grant, ...change }, secret: { hash: hashOfKey(key), createdAtMs: 0, ...secret } }
        : undefined,
  });
}

const reasonOf = async (answer: Promise<unknown>) => {
  const error: unknown = await answer.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof NotRecognised)) throw new Error(`not refused: ${String(error)}`);
  expect(error.code).toBe('unauthenticated');
  return error.reason;
};

describe('with keys', () => {
  test.each<[string, Headers]>([
    ['a bearer token', [['Authorization', `Bearer ${key}`]]],
    ['a bearer token in other letters', [['AUTHORIZATION', `bEARER   ${key}`]]],
    ['X-API-Key', [['x-api-key', key]]],
  ])('the caller is recognised by %s', async (_what, headers) => {
    const caller = await keys()(credentials(headers));
    expect(caller).toEqual({ id: 'key:k1', scopes: new Set(['run']), maxima: { pids: 9 }, images: ['a'] });
  });

  test.each<[string, Headers, string]>([
    ['nothing', [], 'none_given'],
    ['another key', [['authorization', `Bearer ${newKey()}`]], 'unknown'],
    ['half a key', [['authorization', `Bearer ${key.slice(0, 30)}`]], 'malformed'],
    ['an empty header', [['authorization', '']], 'malformed'],
    ['an empty X-API-Key', [['x-api-key', '']], 'malformed'],
    ['only the scheme', [['authorization', 'Bearer']], 'malformed'],
    ['another scheme', [['authorization', `Basic ${Buffer.from(`ci:${key}`).toString('base64')}`]], 'malformed'],
    ['a very long token', [['authorization', `Bearer ${'a'.repeat(16_000)}`]], 'malformed'],
    ['a token of a kind that is not taken', [['authorization', 'Bearer aa.bb.cc']], 'malformed'],
    ['two tokens in one header', [['authorization', `Bearer ${key}, Bearer ${key}`]], 'malformed'],
    [
      'the header twice',
      [
        ['authorization', `Bearer ${key}`],
        ['Authorization', `Bearer ${key}`],
      ],
      'several_given',
    ],
    [
      'both headers',
      [
        ['authorization', `Bearer ${key}`],
        ['x-api-key', key],
      ],
      'several_given',
    ],
    ['a name with an underscore', [['x_api_key', key]], 'none_given'],
    ['a cookie', [['cookie', `authorization=Bearer ${key}`]], 'none_given'],
  ])('%s is refused', async (_what, headers, reason) => {
    expect(await reasonOf(keys()(credentials(headers)))).toBe(reason);
  });

  test('an expired and a revoked one are refused with the sentence of an unknown one', async () => {
    const shown = credentials([['x-api-key', key]]);
    expect(await reasonOf(keys({}, { expiresAtMs: Date.now() })(shown))).toBe('expired');
    expect(await reasonOf(keys({ revokedAtMs: 1 })(shown))).toBe('revoked');
    const sentences = await Promise.all(
      [keys({ revokedAtMs: 1 })(shown), keys()(credentials([['x-api-key', newKey()]]))].map((answer) =>
        answer.catch((error: unknown) => (error as Error).message),
      ),
    );
    expect(new Set(sentences).size).toBe(1);
  });

  test('a store that cannot be read lets nobody in, and does not blame the caller', async () => {
    const broken = recogniser({
      keys: () => {
        throw new Error('disk I/O error');
      },
    });
    const error: unknown = await broken(credentials([['x-api-key', key]])).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ServiceError);
    expect(error).toMatchObject({ code: 'identity_unavailable', status: 503 });
    expect((error as Error).message).not.toContain('disk');
  });
});

test('with no way open everybody is anonymous, whatever they send', async () => {
  const { id } = await recogniser({})(credentials([['authorization', 'Bearer x']]));
  expect(id).toBe('anonymous');
});
