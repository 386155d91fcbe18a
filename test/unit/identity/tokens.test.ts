/** Tokens: what is checked of them, and the attacks on checking. */
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createHmac, type webcrypto } from 'node:crypto';
import { exportJWK, exportPKCS8, exportSPKI, generateKeyPair, SignJWT, type JWTPayload } from 'jose';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { NotRecognised } from '../../../src/domain/credentials.ts';
import { ServiceError } from '../../../src/domain/errors.ts';
import { tokenReader, type TokenSettings } from '../../../src/identity/tokens.ts';

const pair = await generateKeyPair('RS256', { extractable: true });
const other = await generateKeyPair('RS256', { extractable: true });
const pem = await exportSPKI(pair.publicKey);

const SETTINGS: TokenSettings = {
  issuer: 'https://id.example',
  audience: ['pyexec'],
  algorithms: ['RS256'],
  clockSkewSeconds: 10,
  callerClaim: 'sub',
  scopesClaim: 'scope',
  scopes: new Map([
    ['pyexec:run', 'run'],
    ['ops', 'admin'],
  ]),
};

const now = () => Math.floor(Date.now() / 1000);
const CLAIMS = () => ({ iss: 'https://id.example', aud: 'pyexec', sub: 'ada', exp: now() + 60, scope: 'pyexec:run x' });

const sign = (claims: JWTPayload = CLAIMS(), { key = pair.privateKey, kid = 'k1', alg = 'RS256' } = {}) =>
  new SignJWT(claims).setProtectedHeader({ alg, kid }).sign(key);
/** What a provider with a fault may sign: claims and headers as they are, whatever their types. */
const signAsItIs = async (claims: object, head: object = { alg: 'RS256' }) => {
  const text = `${part(head)}.${part(claims)}`;
  const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', pair.privateKey, Buffer.from(text));
  return `${text}.${Buffer.from(signature).toString('base64url')}`;
};
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

const read = await tokenReader({ text: pem }, SETTINGS);
const reasonOf = async (answer: Promise<unknown>) => {
  const error: unknown = await answer.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof NotRecognised)) throw new Error(`not refused: ${String(error)}`);
  return error.reason;
};

describe('a right token', () => {
  test('is its subject, with the scopes its words stand for', async () => {
    expect(await read(await sign())).toEqual({ id: 'jwt:ada', scopes: new Set(['run']) });
  });

  test('may have its scopes in a list, and none at all', async () => {
    const listed = await read(await sign({ ...CLAIMS(), scope: ['ops', 7, null] }));
    expect(listed.scopes).toEqual(new Set(['admin']));
    for (const scope of [{ 'pyexec:run': true }, [['ops']], 7, 'ops\tx', 'OPS', '__proto__ constructor']) {
      expect((await read(await sign({ ...CLAIMS(), scope }))).scopes).toEqual(new Set());
    }
    const { scope: _, ...without } = CLAIMS();
    expect((await read(await sign(without))).scopes).toEqual(new Set());
  });

  test('may be off by the clock skew', async () => {
    await expect(read(await sign({ ...CLAIMS(), exp: now() - 5, nbf: now() + 5 }))).resolves.toBeDefined();
  });
});

describe('a token is refused', () => {
  test.each<[string, Partial<Record<string, unknown>>, string]>([
    ['of another issuer', { iss: 'https://evil.example' }, 'bad_claims'],
    ['for somebody else', { aud: 'billing' }, 'bad_claims'],
    ['that has expired', { exp: now() - 60 }, 'expired'],
    ['that is not valid yet', { nbf: now() + 60 }, 'bad_claims'],
    ['that never ends', { exp: undefined }, 'bad_claims'],
    ['without an issuer', { iss: undefined }, 'bad_claims'],
    ['without an audience', { aud: undefined }, 'bad_claims'],
    ['that names nobody', { sub: undefined }, 'bad_claims'],
    ['that names a list', { sub: ['ada'] }, 'bad_claims'],
    ['that names odd characters', { sub: 'ada\u0000' }, 'bad_claims'],
    ['that names nothing', { sub: '' }, 'bad_claims'],
    ['that names a space', { sub: ' ' }, 'bad_claims'],
    ['that names a number', { sub: 7 }, 'bad_claims'],
    ['that names too much', { sub: 'x'.repeat(300) }, 'bad_claims'],
    ['whose end is a text', { exp: String(now() + 60) }, 'bad_claims'],
    ['whose end is null', { exp: null }, 'bad_claims'],
    ['whose end is a list', { exp: [now() + 60] }, 'bad_claims'],
    ['whose beginning is a text', { nbf: '0' }, 'bad_claims'],
    ['for an empty list', { aud: [] }, 'bad_claims'],
    ['for a list in a list', { aud: [['pyexec']] }, 'bad_claims'],
    ['for an object', { aud: { 0: 'pyexec' } }, 'bad_claims'],
    ['of a list of issuers', { iss: ['https://id.example'] }, 'bad_claims'],
  ])('%s', async (_what, change, reason) => {
    expect(await reasonOf(read(await signAsItIs({ ...CLAIMS(), ...change })))).toBe(reason);
  });

  test('at the moment the skew is used up, and not a second before', async () => {
    vi.useFakeTimers({ now: Date.now(), toFake: ['Date'] });
    try {
      await expect(read(await sign({ ...CLAIMS(), exp: now() - 9, nbf: now() + 10 }))).resolves.toBeDefined();
      expect(await reasonOf(read(await sign({ ...CLAIMS(), exp: now() - 10 })))).toBe('expired');
      expect(await reasonOf(read(await sign({ ...CLAIMS(), nbf: now() + 11 })))).toBe('bad_claims');
    } finally {
      vi.useRealTimers();
    }
  });

  test('that asks to be understood in a way we do not know', async () => {
    const head = { alg: 'RS256', crit: ['urgent'], urgent: true };
    expect(await reasonOf(read(await signAsItIs(CLAIMS(), head)))).toBe('bad_algorithm');
  });

  test('signed by another key', async () => {
    expect(await reasonOf(read(await sign(CLAIMS(), { key: other.privateKey })))).toBe('bad_signature');
  });

  test('changed after it was signed', async () => {
    const [head = '', , signature = ''] = (await sign()).split('.');
    const forged = `${head}.${part({ ...CLAIMS(), sub: 'root' })}.${signature}`;
    expect(await reasonOf(read(forged))).toBe('bad_signature');
  });

  test.each(['none', 'None', 'NONE', ''])('with the algorithm %j', async (alg) => {
    for (const signature of ['', 'AAAA']) {
      await reasonOf(read(`${part({ alg })}.${part(CLAIMS())}.${signature}`));
    }
  });

  test('signed with our public key as a shared secret', async () => {
    const text = `${part({ alg: 'HS256', kid: 'k1' })}.${part(CLAIMS())}`;
    for (const secret of [pem, pem.trim(), `${pem}\n`]) {
      const signature = createHmac('sha256', secret).update(text).digest('base64url');
      expect(await reasonOf(read(`${text}.${signature}`))).toBe('bad_algorithm');
    }
  });

  test('that brings its own key', async () => {
    const jwk = await exportJWK(other.publicKey);
    const own = await new SignJWT(CLAIMS()).setProtectedHeader({ alg: 'RS256', jwk }).sign(other.privateKey);
    expect(await reasonOf(read(own))).toBe('bad_signature');
  });

  test.each(['', 'a', 'a.b', 'a.b.c', '..', 'a.b.c.d.e', `${'a'.repeat(9000)}.b.c`])(
    'that is none: %s',
    async (text) => {
      await reasonOf(read(text));
    },
  );
});

describe('keys in a file', () => {
  test('that are private, shared or no keys at all are refused', async () => {
    const secret = await exportPKCS8(pair.privateKey);
    for (const text of ['', 'x', secret, '{"keys":[{"kty":"oct","k":"AAAA"}]}', '{"keys":']) {
      await expect(tokenReader({ text }, SETTINGS)).rejects.toThrow();
    }
  });

  test('of another kind than the algorithms are refused', async () => {
    await expect(tokenReader({ text: pem }, { ...SETTINGS, algorithms: ['ES256'] })).rejects.toThrow(/algorithms/);
  });

  test('may be a set', async () => {
    const set = { keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'RS256' }] };
    const fromSet = await tokenReader({ text: JSON.stringify(set) }, SETTINGS);
    expect((await fromSet(await sign())).id).toBe('jwt:ada');
  });
});

describe('keys of a provider', () => {
  let provider: Server | undefined;
  afterEach(() => {
    vi.restoreAllMocks();
    provider?.closeAllConnections();
    provider?.close();
  });

  /** A provider that answers what `answer` says now. */
  async function provide(answer: () => { status: number; body: string }) {
    let asked = 0;
    provider = createServer((_request, response) => {
      asked += 1;
      const { status, body } = answer();
      response.writeHead(status, { 'content-type': 'application/json' }).end(body);
    }).listen(0, '127.0.0.1');
    await once(provider, 'listening');
    const url = `http://127.0.0.1:${String((provider.address() as AddressInfo).port)}/keys`;
    return { read: await tokenReader({ url }, SETTINGS), asked: () => asked };
  }

  test('are fetched once, and an unknown key does not make us ask again and again', async () => {
    const body = JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'RS256' }] });
    const { read: remote, asked } = await provide(() => ({ status: 200, body }));
    for (let count = 0; count < 5; count += 1) expect((await remote(await sign())).id).toBe('jwt:ada');
    for (let count = 0; count < 20; count += 1) {
      const token = await sign(CLAIMS(), { kid: `unknown-${String(count)}` });
      expect(await reasonOf(remote(token))).toBe('unknown');
    }
    expect(asked()).toBe(1);
  });

  test.each([
    ['an error', 500, '{}'],
    ['a page', 200, '<html>'],
    ['no set', 200, '[]'],
    ['a redirect', 302, ''],
    ['what never ends', 200, `{"keys":[]${' '.repeat(1 << 20)}}`],
  ])('that answers %s is our failure, and is left alone for a while', async (_what, status, body) => {
    const { read: remote, asked } = await provide(() => ({ status, body }));
    for (let count = 0; count < 10; count += 1) {
      const error: unknown = await remote(await sign()).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(ServiceError);
      expect(error).toMatchObject({ code: 'identity_unavailable', retryAfterSeconds: 5 });
    }
    expect(asked()).toBe(1);
  });

  test('that fails once its keys are known is asked for an unknown key once in a while; known keys still count', async () => {
    const body = JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'RS256' }] });
    let status = 200;
    const { read: remote, asked } = await provide(() => ({ status, body }));
    await remote(await sign());
    status = 500;
    // Past the time for which what was fetched is not fetched again.
    vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 35_000);
    for (let count = 0; count < 10; count += 1) {
      const stranger = sign(CLAIMS(), { kid: `unknown-${String(count)}` });
      await expect(remote(await stranger)).rejects.toMatchObject({ code: 'identity_unavailable' });
      expect((await remote(await sign())).id).toBe('jwt:ada');
    }
    expect(asked()).toBe(2);
  });

  test.each([['of one name', 'k1'] as const, ['without a name', undefined] as const])(
    'two %s, while it changes them: a token of either counts, of a third does not',
    async (_what, kid) => {
      const named = async (key: webcrypto.CryptoKey) => ({
        ...(await exportJWK(key)),
        alg: 'RS256',
        ...(kid ? { kid } : {}),
      });
      const body = JSON.stringify({ keys: [await named(pair.publicKey), await named(other.publicKey)] });
      const { read: remote } = await provide(() => ({ status: 200, body }));
      const of = (key: webcrypto.CryptoKey, claims: JWTPayload = CLAIMS()) =>
        new SignJWT(claims).setProtectedHeader({ alg: 'RS256', ...(kid ? { kid } : {}) }).sign(key);
      for (const { privateKey } of [pair, other]) expect((await remote(await of(privateKey))).id).toBe('jwt:ada');
      const third = await generateKeyPair('RS256');
      expect(await reasonOf(remote(await of(third.privateKey)))).toBe('bad_signature');
      expect(await reasonOf(remote(await of(other.privateKey, { ...CLAIMS(), exp: now() - 60 })))).toBe('expired');
    },
  );

  test('that is not there is our failure', async () => {
    const remote = await tokenReader({ url: 'http://127.0.0.1:1/keys' }, SETTINGS);
    await expect(remote(await sign())).rejects.toMatchObject({ code: 'identity_unavailable' });
  });
});
