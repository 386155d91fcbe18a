/** The real server behind an identity provider, and behind a proxy that names callers. */
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAnswer, RawConnection } from '../../support/http-raw.ts';
import { freePort, runService, ServiceProcess } from '../../support/service-process.ts';

const pair = await generateKeyPair('ES256', { extractable: true });
const keys = JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'ES256' }] });
let isUp = true;
const provider = createServer((_request, response) => {
  response.writeHead(isUp ? 200 : 503, { 'content-type': 'application/json' }).end(isUp ? keys : '');
});

let service: ServiceProcess;
let settings: Record<string, string>;
beforeAll(async () => {
  provider.listen(0, '127.0.0.1');
  await once(provider, 'listening');
  settings = {
    PYEXEC_AUTH: 'jwt,proxy',
    PYEXEC_JWT_JWKS_URL: `http://127.0.0.1:${String((provider.address() as AddressInfo).port)}/keys`,
    PYEXEC_JWT_ISSUER: 'https://id.example',
    PYEXEC_JWT_AUDIENCE: 'pyexec',
    PYEXEC_TRUST_PROXY: '127.0.0.1',
    PYEXEC_RATE_FAILURES: '5',
  };
  service = await ServiceProcess.start(settings);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  provider.closeAllConnections();
  provider.close();
});

const token = (subject: string, scope: string) =>
  new SignJWT({ scope })
    .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
    .setIssuer('https://id.example')
    .setAudience('pyexec')
    .setSubject(subject)
    .setExpirationTime('1m')
    .sign(pair.privateKey);

const run = (headers: Record<string, string>) =>
  fetch(`${service.url}/api/v1/exec`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ code: 'print(1)', image: 'pyexec/slim' }),
  });
const get = (path: string, headers: Record<string, string>) => fetch(service.url + path, { headers });

test('a token runs what its scopes allow; the same name from another way is another caller', async () => {
  const bearer = { authorization: `Bearer ${await token('ada', 'pyexec:run pyexec:read')}` };
  const answer = await run(bearer);
  const { execution_id, stdout } = (await answer.json()) as { execution_id: string; stdout: string };
  expect([answer.status, stdout]).toEqual([200, '1\n']);
  const path = `/api/v1/executions/${execution_id}`;
  expect((await get(path, bearer)).status).toBe(200);
  expect((await get(path, { 'x-forwarded-user': 'ada' })).status).toBe(404);
  expect((await run({ authorization: `Bearer ${await token('ada', 'pyexec:read')}` })).status).toBe(403);
});

test('the proxy names callers: run and read, not admin', async () => {
  expect((await run({ 'x-forwarded-user': 'ada', 'x-forwarded-for': '192.0.2.1' })).status).toBe(200);
  expect((await get('/metrics', { 'x-forwarded-user': 'ada' })).status).toBe(403);
});

test('two identities in one request are refused', async () => {
  const bearer = `Bearer ${await token('ada', 'pyexec:run')}`;
  const answer = await get('/api/v1/images', { authorization: bearer, 'x-forwarded-user': 'bob' });
  expect(answer.status).toBe(401);
  await using connection = await RawConnection.open(Number(new URL(service.url).port));
  connection.send(
    'GET /api/v1/images HTTP/1.1\r\nHost: x\r\nX-Forwarded-User: ada\r\nx-forwarded-USER: root\r\nConnection: close\r\n\r\n',
  );
  expect(parseAnswer(await connection.closed()).status).toBe(401);
});

test('wrong credentials are rate limited by the address the proxy forwards, and counted', async () => {
  const admin = { authorization: `Bearer ${await token('root', 'pyexec:admin')}` };
  const wrong = { authorization: 'Bearer a.b.c', 'x-forwarded-for': '192.0.2.77' };
  const statuses: number[] = [];
  for (let count = 0; count < 7; count += 1) statuses.push((await get('/api/v1/images', wrong)).status);
  expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429]);
  const metrics = await (await get('/metrics', admin)).text();
  expect(metrics).toMatch(/pyexec_authentication_failures_total\{reason="malformed"\} [5-9]/);
  expect(metrics).toMatch(/pyexec_requests_refused_total\{code="rate_limited"\} 2/);
});

test('who is no proxy names nobody', async () => {
  await using direct = await ServiceProcess.start({ ...settings, PYEXEC_TRUST_PROXY: '192.0.2.1' });
  const headers = { 'x-forwarded-user': 'root', 'x-forwarded-for': '192.0.2.1' };
  expect((await fetch(`${direct.url}/api/v1/images`, { headers })).status).toBe(401);
});

test('a provider that is away at first is a 503 until it is back', async () => {
  isUp = false;
  await using late = await ServiceProcess.start(settings);
  const headers = { authorization: `Bearer ${await token('ada', 'pyexec:read')}` };
  const ask = () => fetch(`${late.url}/api/v1/images`, { headers });
  expect((await ask()).status).toBe(503);
  isUp = true;
  const deadline = performance.now() + 20_000;
  while ((await ask()).status === 503) {
    if (performance.now() > deadline) throw new Error('it never came back');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  expect((await ask()).status).toBe(200);
});

describe.concurrent('the service does not start', () => {
  test.each([
    ['with tokens and no keys for them', { PYEXEC_AUTH: 'jwt' }, /PYEXEC_JWT_JWKS_URL or PYEXEC_JWT_KEY_FILE/],
    ['with tokens from anybody', { PYEXEC_AUTH: 'jwt', PYEXEC_JWT_KEY_FILE: '/x' }, /PYEXEC_JWT_ISSUER/],
    ['with a proxy and no address for it', { PYEXEC_AUTH: 'proxy' }, /PYEXEC_TRUST_PROXY/],
    [
      'with a proxy that is no address',
      { PYEXEC_AUTH: 'proxy', PYEXEC_TRUST_PROXY: '10.0.0.0/99' },
      /PYEXEC_TRUST_PROXY: 10\.0\.0\.0\/99 is not an address/,
    ],
    [
      'with a key file that is not there',
      {
        PYEXEC_AUTH: 'jwt',
        PYEXEC_JWT_KEY_FILE: '/nonexistent/key.pem',
        PYEXEC_JWT_ISSUER: 'i',
        PYEXEC_JWT_AUDIENCE: 'a',
      },
      /PYEXEC_JWT_KEY_FILE: \/nonexistent\/key\.pem cannot be used/,
    ],
  ])('%s', async (_what, wrong, sentence) => {
    const { code, stderr } = await runService({
      ...wrong,
      PYEXEC_PORT: String(await freePort()),
      PYEXEC_POOL_SIZE: '0',
    });
    expect(stderr).toMatch(sentence);
    expect(code).toBe(78);
  });
});
