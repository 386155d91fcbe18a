/** Who may do what: every route, every caller, before a byte of a body is read. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Caller, Scope } from '../../../src/domain/caller.ts';
import { NotRecognised } from '../../../src/domain/credentials.ts';
import { ServiceError } from '../../../src/domain/errors.ts';
import { parseAnswer, RawConnection } from '../../support/http-raw.ts';
import { endless, startHttp, type TestServer, type TestServerOptions } from '../../support/http-server.ts';

let server: TestServer;
afterEach(async () => {
  await server[Symbol.asyncDispose]();
});

/** Whoever sends `X-API-Key: name:scope,scope` is that; nothing else is anybody. */
async function start(options: TestServerOptions = {}): Promise<void> {
  server = await startHttp({
    ...options,
    deps: {
      openRoutes: [],
      identify: async ({ header }) => {
        const [text = ''] = header('x-api-key');
        await Promise.resolve();
        if (text === 'away') throw new ServiceError('identity_unavailable', 'Not now.');
        const [id = '', scopes = ''] = text.split(':');
        if (id === '') throw new NotRecognised('none_given');
        return { id, scopes: new Set(scopes.split(',') as Scope[]) } satisfies Caller;
      },
      ...options.deps,
    },
  });
}

const ask = (method: string, path: string, key?: string, init: RequestInit = {}) =>
  fetch(server.url + path, {
    method,
    redirect: 'manual',
    ...init,
    headers: { ...(key === undefined ? {} : { 'x-api-key': key }), ...init.headers },
  });
const json = (code: string) => ({
  body: JSON.stringify({ code }),
  headers: { 'content-type': 'application/json', prefer: 'respond-async' },
});
const submit = async (key: string): Promise<string> => {
  const response = await ask('POST', '/api/v1/exec', key, json('1'));
  return ((await response.json()) as { execution_id: string }).execution_id;
};

describe('a request without a caller', () => {
  it.each(['/health', '/ready'])('is answered on %s', async (path) => {
    await start();
    expect((await ask('GET', path)).status).toBeLessThan(400);
  });

  it('is refused everywhere else: on every route there is, by every method', async () => {
    await start();
    const document = server.app.swagger() as { paths: Record<string, Record<string, unknown>> };
    const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => [method.toUpperCase(), path.replaceAll(/\{\w+\}/g, 'x')] as const),
    );
    expect(routes.length).toBeGreaterThan(7);
    const closed = routes.filter(([, path]) => path !== '/health' && path !== '/ready');
    const others = [
      ['GET', '/docs'],
      ['GET', '/docs/static/swagger-ui.css'],
      ['GET', '/nothing'],
      ['PUT', '/api/v1/exec'],
      ['OPTIONS', '/api/v1/exec'],
      ['HEAD', '/api/v1/executions/x'],
      ['HEAD', '/api/v1/executions/x/events'],
      ['GET', '//health'],
      ['GET', '/health/../metrics'],
      ['GET', '/%6Detrics'],
    ] as const;
    for (const [method, path] of [...closed, ...others]) {
      const response = await ask(method, path);
      expect([method, path, response.status]).toEqual([method, path, 401]);
      expect(response.headers.get('www-authenticate')).toBe('Bearer realm="pyexec"');
    }
    expect(server.plans).toEqual([]);
  });

  it('is refused in our shape, naming nothing', async () => {
    await start();
    const response = await ask('POST', '/api/v1/exec', undefined, json('1'));
    expect(response.headers.get('content-type')).toContain('application/problem+json');
    expect(await response.json()).toMatchObject({ status: 401, code: 'unauthenticated', retryable: false });
  });

  it('is refused before a 100 is sent', async () => {
    await start();
    await using connection = await RawConnection.open(server.port);
    connection.send(
      'POST /api/v1/exec HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: 3000000\r\nExpect: 100-continue\r\n\r\n',
    );
    const answer = await connection.closed();
    expect(answer).not.toContain('100 Continue');
    expect(parseAnswer(answer).status).toBe(401);
  });

  it('is refused before an upload of 100 MB has begun, and the connection is closed', async () => {
    await start();
    await using connection = await RawConnection.open(server.port);
    connection.send(
      `POST /api/v1/exec HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: ${String(100 << 20)}\r\n\r\n`,
    );
    await connection.until('"code":"unauthenticated"');
    expect(parseAnswer(connection.received)).toMatchObject({ status: 401, headers: { connection: 'close' } });
    expect(server.archives).toEqual([]);
  });
});

describe('a caller without the scope', () => {
  it.each([
    ['POST', '/api/v1/exec', 'read', 'run'],
    ['DELETE', '/api/v1/executions/x', 'read', 'run'],
    ['GET', '/api/v1/executions/x', 'run', 'read'],
    ['GET', '/api/v1/executions/x/events', 'run', 'read'],
    ['GET', '/metrics', 'run,read', 'admin'],
  ])('%s %s with %s only is a 403 that names %s', async (method, path, has, needs) => {
    await start();
    const response = await ask(method, path, `a:${has}`);
    expect(response.status).toBe(403);
    expect(response.headers.get('www-authenticate')).toBe(
      `Bearer realm="pyexec", error="insufficient_scope", scope="${needs}"`,
    );
    expect(await response.json()).toMatchObject({ code: 'forbidden', scope: needs });
  });

  it.each(['/api/v1/images', '/docs', '/openapi.json'])('%s asks for no scope', async (path) => {
    await start();
    expect((await ask('GET', path, 'a:run')).status).toBe(200);
  });

  it('admin may do everything', async () => {
    await start();
    expect((await ask('GET', '/metrics', 'a:admin')).status).toBe(200);
    expect((await ask('POST', '/api/v1/exec', 'a:admin', json('1'))).status).toBe(202);
  });
});

it('docs and metrics are open where the operator says so', async () => {
  await start({ deps: { openRoutes: ['docs', 'metrics'] } });
  for (const path of ['/docs', '/openapi.json', '/metrics', '/docs/static/swagger-ui.css']) {
    expect([path, (await ask('GET', path)).status]).toEqual([path, 200]);
  }
});

it('a provider that cannot be asked is a 503, not a 401', async () => {
  await start();
  const response = await ask('GET', '/api/v1/images', 'away');
  expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
  expect(await response.json()).toMatchObject({ code: 'identity_unavailable', retryable: true });
});

describe('another caller’s execution', () => {
  it('is, on every route, exactly what an unknown id is', async () => {
    await start({ program: endless });
    const id = await submit('alice:run,read');
    const unknown = id.replace(/.{6}$/, (tail) => [...tail].toReversed().join(''));
    const shape = async (method: string, path: string, accept?: string) => {
      const response = await ask(method, path, 'bob:run,read', accept ? { headers: { accept } } : {});
      const headers = Object.fromEntries(
        [...response.headers].filter(([name]) => name !== 'x-request-id' && name !== 'date'),
      );
      const body = (await response.text()).replace(/"request_id":"[^"]+"/, '');
      return { status: response.status, headers, body };
    };
    for (const [method, suffix, accept] of [
      ['GET', ''],
      ['HEAD', ''],
      ['DELETE', ''],
      ['GET', '/events', 'application/x-ndjson'],
      ['GET', '/events?after=1', 'text/event-stream'],
      ['HEAD', '/events'],
    ] as const) {
      const theirs = await shape(method, `/api/v1/executions/${id}${suffix}`, accept);
      expect(theirs).toEqual(await shape(method, `/api/v1/executions/${unknown}${suffix}`, accept));
      expect(theirs.status).toBe(404);
    }
    const own = await ask('GET', `/api/v1/executions/${id}`, 'alice:read');
    expect(await own.json()).toMatchObject({ status: 'running' });
    // The positive control: whoever may, ends it.
    expect((await ask('DELETE', `/api/v1/executions/${id}`, 'root:admin')).status).toBe(200);
  });
});

describe('what another caller’s run left', () => {
  it('is, by every way there is to its files, exactly what an unknown id has', async () => {
    await start({
      program: async ({ sink }) => {
        sink.artifacts?.begin({ path: 'a.txt', size: 1, executable: false });
        await sink.artifacts?.data(Buffer.from('x'));
        await sink.artifacts?.end(true);
      },
    });
    const left = await ask('POST', '/api/v1/exec', 'alice:run,read', {
      body: JSON.stringify({ code: '1' }),
      headers: { 'content-type': 'application/json' },
    });
    const id = ((await left.json()) as { execution_id: string }).execution_id;
    const unknown = id.replace(/.{6}$/, (tail) => [...tail].toReversed().join(''));
    const shape = async (key: string, method: string, path: string, init: RequestInit = {}) => {
      const response = await ask(method, path, key, init);
      const body = (await response.text()).replace(/"request_id":"[^"]+"/, '').replaceAll(/exe_[0-9a-f-]{36}/g, 'ID');
      const headers = [...response.headers].filter(([name]) => !['x-request-id', 'date'].includes(name));
      return { status: response.status, body, headers };
    };
    const takes = (whose: string): RequestInit => ({
      body: JSON.stringify({ code: '1', files_from: [{ execution_id: whose, path: 'a.txt' }] }),
      headers: { 'content-type': 'application/json', 'idempotency-key': 'same' },
    });
    const ways: [string, (whose: string) => string, ((whose: string) => RequestInit)?][] = [
      ['GET', (whose) => `/api/v1/executions/${whose}/artifacts`],
      ['GET', (whose) => `/api/v1/executions/${whose}/artifacts`, () => ({ headers: { accept: 'application/x-tar' } })],
      ['HEAD', (whose) => `/api/v1/executions/${whose}/artifacts`],
      ['GET', (whose) => `/api/v1/executions/${whose}/artifacts/a.txt`],
      ['HEAD', (whose) => `/api/v1/executions/${whose}/artifacts/a.txt`],
      ['GET', (whose) => `/api/v1/executions/${whose}/artifacts/a.txt`, () => ({ headers: { 'if-match': '"x"' } })],
      ['GET', (whose) => `/api/v1/executions/${whose}/artifacts/a.txt`, () => ({ headers: { range: 'bytes=9-' } })],
      ['POST', () => '/api/v1/exec', takes],
      ['POST', (whose) => `/api/v1/webhooks/dead-letters/${whose}/redeliver`],
    ];
    for (const [method, path, init] of ways) {
      const bob = (whose: string) => shape('bob:run,read', method, path(whose), init?.(whose));
      const theirs = await bob(id);
      expect(theirs, `${method} ${path('ID')}`).toEqual(await bob(unknown));
      expect(theirs.status).toBe(404);
    }
    // The positive control: they are there for who left them, and the key bob used in vain is not alice's.
    expect((await ask('GET', `/api/v1/executions/${id}/artifacts/a.txt`, 'alice:read')).status).toBe(200);
    expect((await ask('POST', '/api/v1/exec', 'alice:run,read', takes(id))).status).toBe(200);
  });
});

describe('a caller’s own limits and images', () => {
  const withGrant = (grant: Partial<Caller>): TestServerOptions => ({
    deps: { identify: () => Promise.resolve({ id: 'a', scopes: new Set<Scope>(['run', 'read']), ...grant }) },
  });

  it('above its maximum is a 422 that names it', async () => {
    await start(withGrant({ maxima: { memory_bytes: 256 << 20 } }));
    const body = JSON.stringify({ code: '1', limits: { memory_bytes: 512 << 20 } });
    const refused = await ask('POST', '/api/v1/exec', undefined, { ...json(''), body });
    expect([refused.status, await refused.json()]).toMatchObject([
      422,
      { code: 'limit_too_high', field: 'limits.memory_bytes', maximum: 256 << 20 },
    ]);
    expect((await ask('POST', '/api/v1/exec', undefined, json('1'))).status).toBe(202);
    expect(server.plans[0]?.limits.memory_bytes).toBe(256 << 20);
  });

  it('images it may not use are not listed', async () => {
    await start(withGrant({ images: ['pyexec/other'] }));
    expect(await (await ask('GET', '/api/v1/images')).json()).toEqual({ images: [] });
  });
});

it('the log says who was recognised, and never what they showed', async () => {
  await start();
  await ask('GET', '/api/v1/images', 'alice:read');
  await ask('GET', '/api/v1/images', ':secret');
  await ask('GET', '/api/v1/images?token=s3cr3t', undefined, { headers: { authorization: 'Bearer s3cr3t' } });
  expect(server.log).toContainEqual(expect.objectContaining({ route: '/api/v1/images', caller: 'alice' }));
  expect(server.logText()).not.toMatch(/s3cr3t|alice:read|:secret/);
});
