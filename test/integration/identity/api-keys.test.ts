/** The real server with PYEXEC_AUTH=keys, its keys changed by the command line while it runs. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newKey } from '../../../src/identity/key-format.ts';
import { createKey, operatorCommand } from '../../support/operator-command.ts';
import { freePort, runService, ServiceProcess } from '../../support/service-process.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

const state = temporaryStateDirectory();
let service: ServiceProcess;
beforeAll(async () => {
  service = await ServiceProcess.start({
    PYEXEC_AUTH: 'keys',
    PYEXEC_STATE_DIR: state.path,
    PYEXEC_LOG_LEVEL: 'info',
    PYEXEC_DEFAULT_IMAGE: 'pyexec/slim:latest',
  });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  state.remove();
});

const ask = (path: string, key?: string, init: RequestInit = {}) =>
  fetch(service.url + path, {
    ...init,
    redirect: 'manual',
    headers: { ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...init.headers },
  });
const run = (key: string, document: object) =>
  ask('/api/v1/exec', key, {
    method: 'POST',
    body: JSON.stringify(document),
    headers: { 'content-type': 'application/json' },
  });

describe('a key', () => {
  test('made while the server runs opens it at once, and revoked closes it at once', async () => {
    const key = await createKey(state.path, 'made-now', 'run,read');
    const answer = await run(key, { code: 'print("in")' });
    expect([answer.status, await answer.json()]).toMatchObject([200, { stdout: 'in\n' }]);
    await operatorCommand(state.path, ['keys', 'revoke', 'made-now']);
    expect((await run(key, { code: '1' })).status).toBe(401);
  });

  test('rotated works beside its successor, as the same caller', async () => {
    const old = await createKey(state.path, 'rotated', 'run,read');
    const { execution_id } = (await (await run(old, { code: '1' })).json()) as { execution_id: string };
    const { stdout } = await operatorCommand(state.path, ['keys', 'rotate', 'rotated', '--overlap', '1h']);
    const path = `/api/v1/executions/${execution_id}`;
    expect((await ask(path, stdout.trim())).status).toBe(200);
    expect((await ask(path, old)).status).toBe(200);
    const { stdout: third } = await operatorCommand(state.path, ['keys', 'rotate', 'rotated', '--overlap', '0s']);
    expect((await ask(path, old)).status).toBe(401);
    expect((await ask(path, third.trim())).status).toBe(200);
  });

  test('has its own limits and images', async () => {
    const key = await createKey(
      state.path,
      'small',
      'run',
      ...['--limit', 'memory_mb=128', '--limit', 'timeout_seconds=20', '--image', 'pyexec/slim'],
    );
    const within = (await (await run(key, { code: '1' })).json()) as { limits: Record<string, number> };
    expect(within.limits).toMatchObject({ memory_bytes: 128 << 20, wall_ms: 20_000, cpu_ms: 20_000 });
    const refused = await run(key, { code: '1', limits: { memory_bytes: 129 << 20 } });
    expect([refused.status, await refused.json()]).toMatchObject([422, { maximum: 128 << 20 }]);
    const image = await run(key, { code: '1', image: 'pyexec/data' });
    expect([image.status, await image.json()]).toMatchObject([403, { code: 'image_not_allowed' }]);
  });
});

describe('H22: without a right key', () => {
  test.each([
    ['none', {}],
    ['another', { authorization: `Bearer ${newKey()}` }],
    ['a short one', { authorization: 'Bearer pyx_a' }],
    ['a very long one', { authorization: `Bearer ${'x'.repeat(14_000)}` }],
    ['one in a cookie', { cookie: `key=${newKey()}` }],
  ])('%s: 401', async (_what, headers) => {
    expect((await ask('/api/v1/images', undefined, { headers })).status).toBe(401);
  });

  test('a right one in the URL is none', async () => {
    const key = await createKey(state.path, 'in-url', 'admin');
    expect((await ask(`/api/v1/images?api_key=${key}&access_token=${key}&authorization=Bearer%20${key}`)).status).toBe(
      401,
    );
  });

  test('health and ready are open, docs too, metrics are not', async () => {
    for (const path of ['/health', '/ready', '/docs', '/openapi.json']) expect((await ask(path)).status).toBe(200);
    expect((await ask('/health/')).status).toBe(301);
    expect((await ask('/metrics')).status).toBe(401);
    const admin = await createKey(state.path, 'prometheus', 'admin');
    expect((await ask('/metrics', admin)).status).toBe(200);
  });

  test.each([
    ['/api/v1/exec/sync', 'multipart/form-data; boundary=x'],
    ['/api/v1/exec/async', 'multipart/form-data; boundary=x'],
    ['/api/v1/eval', 'application/json'],
  ])('%s refuses in python-executor’s shape', async (path, type) => {
    const response = await ask(path, undefined, { method: 'POST', body: '--x--', headers: { 'content-type': type } });
    expect(response.status).toBe(401);
    expect(response.headers.get('x-error-code')).toBe('unauthenticated');
    expect(Object.keys((await response.json()) as object)).toEqual(['error']);
  });
});

test('one caller’s execution does not exist for another, and does for an admin', async () => {
  const [alice, bob, root] = [
    await createKey(state.path, 'alice', 'run,read'),
    await createKey(state.path, 'bob', 'run,read'),
    await createKey(state.path, 'root', 'admin'),
  ];
  const { execution_id } = (await (await run(alice, { code: '1' })).json()) as { execution_id: string };
  for (const [method, suffix] of [
    ['GET', ''],
    ['GET', '/events'],
    ['GET', '/artifacts'],
    ['DELETE', ''],
  ]) {
    const path = `/api/v1/executions/${execution_id}${suffix ?? ''}`;
    expect([method, suffix, (await ask(path, bob, { method: method ?? '' })).status]).toEqual([method, suffix, 404]);
  }
  expect((await ask(`/api/v1/executions/${execution_id}`, root)).status).toBe(200);
});

describe('without authentication', () => {
  test('an address that is not loopback is refused at boot, unless the operator says so', async () => {
    const settings = { PYEXEC_HOST: '0.0.0.0', PYEXEC_PORT: String(await freePort()), PYEXEC_POOL_SIZE: '0' };
    const refused = await runService(settings);
    expect(refused.code).toBe(78);
    expect(refused.stderr).toMatch(/PYEXEC_HOST: whoever reaches 0\.0\.0\.0 could run programs; set PYEXEC_AUTH/);
    await using open = await ServiceProcess.start({ ...settings, PYEXEC_ALLOW_UNAUTHENTICATED: 'true' });
    expect((await open.get('/api/v1/images')).status).toBe(200);
  });

  test('with keys it may listen anywhere', async () => {
    await using closed = await ServiceProcess.start({ PYEXEC_HOST: '0.0.0.0', PYEXEC_AUTH: 'keys' });
    expect((await closed.get('/api/v1/images')).status).toBe(401);
  });
});
