/** One shape for every error, and nothing in it that is not the caller's business; H20. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ERRORS, isErrorCode, ServiceError } from '../../../src/domain/errors.ts';
import { asServiceError, problemOf } from '../../../src/http/plugins/service-errors.ts';
import { problemSchema } from '../../../src/http/schemas/problem-schema.ts';
import { EXEC, postJson, startHttp, tar, type TestServer } from '../../support/http-server.ts';
import { exchange, parseAnswer, RawConnection } from '../../support/http-raw.ts';

const LEAKS = /node_modules|\/work\/|\/home|\/var|\.ts\b|at .*:\d+:\d+|FST_|ECONN|fastify/i;

let server: TestServer;
beforeAll(async () => {
  server = await startHttp({
    deps: {
      images: () => Promise.reject(new Error('dial unix /var/run/docker.sock: refused')),
      readiness: () =>
        Promise.resolve({ ready: false, checks: { docker: { ok: false, detail: 'it does not answer' } } }),
      renderMetrics: () => Promise.reject(new TypeError('at /home/service/metrics.ts:1:1')),
    },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

const send = (method: string, path: string, init: RequestInit = {}) => fetch(server.url + path, { method, ...init });

describe('every error', () => {
  it.each<[string, () => Promise<Response>, number, string]>([
    ['a route that is not', () => send('GET', '/nope'), 404, 'route_not_found'],
    ['a route with a slash too many', () => send('GET', '/health/'), 404, 'route_not_found'],
    ['a route in capitals', () => send('GET', '/HEALTH'), 404, 'route_not_found'],
    ['a path that climbs', () => send('GET', '/docs/static/%2e%2e/%2e%2e/package.json'), 404, 'route_not_found'],
    ['a post to nowhere', () => send('POST', '/nope', { body: tar() }), 404, 'route_not_found'],
    [
      'a post of an unknown type to nowhere',
      () => send('POST', '/nope', { body: 'x', headers: { 'content-type': 'a/b' } }),
      404,
      'route_not_found',
    ],
    ['the wrong method', () => send('GET', EXEC), 405, 'method_not_allowed'],
    ['another wrong method', () => send('PUT', EXEC, { body: 'x' }), 405, 'method_not_allowed'],
    ['a method nobody has', () => send('PROPFIND', '/health'), 405, 'method_not_allowed'],
    ['a daemon that is down', () => send('GET', '/api/v1/images'), 500, 'internal'],
    ['a bug', () => send('GET', '/metrics'), 500, 'internal'],
    [
      'an answer nobody makes',
      () => postJson(server, { code: '' }, { headers: { accept: 'image/png' } }),
      406,
      'not_acceptable',
    ],
    [
      'a type nobody reads',
      () => postJson(server, '', { headers: { 'content-type': 'text/csv' } }),
      415,
      'unsupported_media_type',
    ],
    [
      'too many headers',
      () =>
        send('GET', '/health', {
          headers: Object.fromEntries(Array.from({ length: 120 }, (_, i) => [`h${String(i)}`, '1'])),
        }),
      431,
      'headers_too_large',
    ],
  ])('%s', async (_what, request, status, code) => {
    const response = await request();
    const text = await response.text();
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(text).not.toMatch(LEAKS);
    const problem = problemSchema.parse(JSON.parse(text));
    expect(problem).toMatchObject({ status, code, title: ERRORS[problem.code].title });
    expect(problem.error).toBe(problem.detail);
    expect(problem.request_id).toBe(response.headers.get('x-request-id'));
    expect(server.requests.at(-1)).toMatchObject({ status, code });
  });

  it('is logged once, a fault of ours with its cause', async () => {
    const before = server.log.length;
    const response = await send('GET', '/metrics');
    const { request_id } = (await response.json()) as { request_id: string };
    const lines = server.log.slice(before);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      request_id,
      status: 500,
      code: 'internal',
      err: { message: 'at /home/service/metrics.ts:1:1' },
    });
  });
});

describe('unknown errors', () => {
  it.each([
    new Error('at /home/x/y.ts:1:1'),
    Object.assign(new Error('x'), { code: 'toString' }),
    Object.assign(new Error('x'), { code: 'FST_ERR_SOMETHING_NEW', statusCode: 418 }),
    Object.assign(new Error('connect ECONNREFUSED /var/run/docker.sock'), { code: 'ECONNREFUSED' }),
    'a string',
    undefined,
    null,
  ])('%s becomes internal', (thrown) => {
    const error = asServiceError(thrown);
    expect(error.code).toBe('internal');
    expect(JSON.stringify(problemOf(error, 'id'))).not.toMatch(LEAKS);
  });

  it('keeps members from replacing what is ours', () => {
    const error = new ServiceError('not_found', 'No.', { members: { status: 200, code: 'x', more: 1 } });
    expect(problemOf(error, 'id')).toMatchObject({ status: 404, code: 'not_found', more: 1, request_id: 'id' });
  });

  it('has the status of the table for every code', () => {
    for (const code of Object.keys(ERRORS)) {
      expect(isErrorCode(code)).toBe(true);
      const problem = problemOf(new ServiceError(code as keyof typeof ERRORS, 'Because.'), 'id');
      expect(problemSchema.parse(problem)).toMatchObject(ERRORS[code as keyof typeof ERRORS]);
    }
  });
});

describe('methods', () => {
  it('are listed where a path does not answer one', async () => {
    expect((await send('GET', EXEC)).headers.get('allow')).toBe('POST, OPTIONS');
    expect((await send('POST', '/health')).headers.get('allow')).toBe('GET, HEAD, OPTIONS');
    const id = '/api/v1/executions/exe_0b0f3b1e-6a0f-4c58-9a3c-2f7f6f1f2d11';
    expect((await send('PUT', id)).headers.get('allow')).toBe('GET, HEAD, DELETE, OPTIONS');
    expect((await send('DELETE', `${id}/events`)).headers.get('allow')).toBe('GET, HEAD, OPTIONS');
  });

  it('OPTIONS says which', async () => {
    const response = await send('OPTIONS', EXEC);
    expect([response.status, response.headers.get('allow')]).toEqual([204, 'POST, OPTIONS']);
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    expect((await send('OPTIONS', '/nope')).status).toBe(404);
    const everything = parseAnswer(
      await exchange(server.port, 'OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
    );
    expect(everything.status).toBe(204);
  });

  it('HEAD is GET without its body', async () => {
    const get = await send('GET', '/health');
    const head = await send('HEAD', '/health');
    expect([head.status, await head.text()]).toEqual([200, '']);
    expect(head.headers.get('content-length')).toBe(String((await get.text()).length));
    expect((await send('HEAD', '/nope')).status).toBe(404);
  });
});

describe('request ids', () => {
  it.each(['abc', '4bf92f35-77b3', 'a.b_c~d+e/f=1', 'x'.repeat(128)])('%.20s is kept', async (id) => {
    const response = await send('GET', '/health', { headers: { 'x-request-id': id } });
    expect(response.headers.get('x-request-id')).toBe(id);
    expect(server.log.at(-1)).toMatchObject({ request_id: id });
  });

  it.each(['', 'a b', 'x'.repeat(129), '<script>', '"'])('%.20s is replaced', async (id) => {
    const response = await send('GET', '/health', { headers: { 'x-request-id': id } });
    expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe('operations', () => {
  it('health is green whatever else is not', async () => {
    expect(await (await send('GET', '/health')).json()).toEqual({ status: 'ok' });
    const ready = await send('GET', '/ready');
    expect([ready.status, await ready.json()]).toEqual([
      503,
      { ready: false, checks: { docker: { ok: false, detail: 'it does not answer' } } },
    ]);
  });
});

describe('an answer before the body was read', () => {
  const head = (headers: string) => `POST ${EXEC} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`;

  it('is complete, and the connection closes', async () => {
    await using raw = await RawConnection.open(server.port);
    raw.send(head('Content-Type: application/x-tar\r\nContent-Length: 99999999\r\n'));
    raw.send(Buffer.alloc(3_000_000));
    const answer = parseAnswer(await raw.closed());
    expect(answer.status).toBe(413);
    expect(answer.headers['connection']).toBe('close');
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'body_too_large', maximum: 4 * 2 ** 20 });
    expect(server.requests.at(-1)).toMatchObject({ status: 413, code: 'body_too_large' });
  });

  it('reaches a client that sends all of its body first', async () => {
    const response = await fetch(server.url + EXEC, {
      method: 'POST',
      body: Buffer.alloc(20_000_000),
      headers: { 'content-type': 'application/x-tar' },
    });
    expect([response.status, await response.json()]).toMatchObject([413, { code: 'body_too_large' }]);
  });

  it('saves a client that asks first from sending it', async () => {
    await using raw = await RawConnection.open(server.port);
    raw.send(head('Content-Type: application/x-tar\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n'));
    const received = await raw.closed(2_000);
    expect(received).not.toContain('100 Continue');
    expect(parseAnswer(received).status).toBe(413);
  });

  it('is a 100 where the body is welcome', async () => {
    await using raw = await RawConnection.open(server.port);
    raw.send(head('Content-Type: application/json\r\nContent-Length: 11\r\nExpect: 100-continue\r\n'));
    await raw.until('HTTP/1.1 100 Continue\r\n\r\n');
    raw.send('{"code":""}');
    await raw.until('"completed"');
    expect(parseAnswer(raw.received).status).toBe(200);
  });

  it('ignores expectations it does not know', async () => {
    const answer = parseAnswer(
      await exchange(server.port, 'GET /health HTTP/1.1\r\nHost: x\r\nExpect: the-worst\r\nConnection: close\r\n\r\n'),
    );
    expect(answer.status).toBe(200);
  });
});

describe('headers for browsers', () => {
  it('are on every answer', async () => {
    for (const path of ['/health', '/nope']) {
      const { headers } = await send('GET', path);
      expect(headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-frame-options')).toBe('DENY');
      expect(headers.get('strict-transport-security')).toBeNull();
    }
  });
});
