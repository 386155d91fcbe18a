/** What happens to an execution after it was accepted: waiting, fetching, ending, failing. */
import { afterEach, describe, expect, it } from 'vitest';
import { ServiceError } from '../../../src/domain/errors.ts';
import { SandboxBroken } from '../../../src/sandbox/sandbox.ts';
import {
  cancelledEnding,
  endless,
  eventually,
  exited,
  postJson,
  startHttp,
  type TestServer,
  type TestServerOptions,
} from '../../support/http-server.ts';

let server: TestServer | undefined;
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  server = undefined;
});

async function start(options: TestServerOptions = {}): Promise<TestServer> {
  server = await startHttp(options);
  return server;
}

const get = async (path: string) => {
  const response = await fetch((server as TestServer).url + path);
  return {
    status: response.status,
    body: (await response.json()) as Record<string, unknown>,
    headers: response.headers,
  };
};

describe('the answer to a run', () => {
  it('is a 200 for whatever the program did', async () => {
    await start({ program: () => exited(3) });
    const response = await postJson(server as TestServer, { code: '' });
    expect([response.status, await response.json()]).toMatchObject([200, { status: 'completed', exit_code: 3 }]);
  });

  it.each([
    ['a broken sandbox', new SandboxBroken('the daemon said /var/lib/docker'), 503, 'sandbox_failed'],
    [
      'a missing sandbox',
      new ServiceError('sandbox_unavailable', 'The container engine does not answer.'),
      503,
      'sandbox_unavailable',
    ],
    ['a bug', new TypeError('at /home/service/secret.ts'), 500, 'internal'],
  ])('is a problem for %s', async (_what, fault, status, code) => {
    await start({
      program: () => {
        throw fault;
      },
    });
    const waited = await postJson(server as TestServer, { code: '' });
    const problem = (await waited.json()) as Record<string, unknown>;
    expect(waited.status).toBe(status);
    expect(waited.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(problem).toMatchObject({
      code,
      execution_id: waited.headers.get('x-execution-id'),
      outcome: { kind: 'infrastructure_error', code },
    });
    expect(JSON.stringify(problem)).not.toMatch(/\/var|\/home|secret/);

    const streamed = await postJson(
      server as TestServer,
      { code: '' },
      { headers: { accept: 'application/x-ndjson' } },
    );
    expect(streamed.status).toBe(200);
    const events = (await streamed.text())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string });
    expect(events.filter(({ type }) => type === 'result' || type === 'error')).toMatchObject([{ type: 'error', code }]);

    // Fetched later it is an execution like any other.
    const { status: fetched, body } = await get(`/api/v1/executions/${String(problem['execution_id'])}`);
    expect([fetched, body]).toMatchObject([200, { status: 'failed', exit_code: -1 }]);
  });

  it('is a problem with the status of its code when there is no room', async () => {
    await start({ program: endless, concurrent: 1, queueMax: 0 });
    const gone = new AbortController();
    const first = postJson(server as TestServer, { code: '' }, { signal: gone.signal }).catch(() => undefined);
    await eventually(() => server?.plans.length === 1, 'the first runs');
    const second = await postJson(server as TestServer, { code: '' });
    expect(second.status).toBe(429);
    expect(second.headers.get('retry-after')).toBe('1');
    expect(await second.json()).toMatchObject({ code: 'queue_full', retryable: true });
    gone.abort();
    await first;
  });
});

describe('Prefer: respond-async', () => {
  it('answers 202 at once and the run goes on', async () => {
    let finish: () => void = () => undefined;
    await start({
      program: async ({ out }) => {
        await new Promise<void>((resolve) => (finish = resolve));
        out('late\n');
      },
    });
    const response = await postJson(server as TestServer, { code: '' }, { headers: { prefer: 'respond-async' } });
    expect(response.status).toBe(202);
    expect(response.headers.get('preference-applied')).toBe('respond-async');
    const body = (await response.json()) as { execution_id: string; status: string };
    expect(body.status).toMatch(/pending|running/);
    const location = response.headers.get('location') ?? '';
    expect(location).toBe(`/api/v1/executions/${body.execution_id}`);

    await eventually(() => server?.plans.length === 1, 'the run starts');
    expect((await get(location)).body).toMatchObject({ status: 'running', exit_code: 0 });
    finish();
    await eventually(() => server?.executions.activeCount === 0, 'the run ends');
    expect((await get(location)).body).toMatchObject({ status: 'completed', stdout: 'late\n' });
  });

  it('waits as long as the client is ready to', async () => {
    await start({ program: () => exited(0) });
    const ended = await postJson(server as TestServer, { code: '' }, { headers: { prefer: 'respond-async, wait=10' } });
    expect([ended.status, await ended.json()]).toMatchObject([200, { status: 'completed' }]);
  });

  it('is not applied to a stream', async () => {
    await start();
    const response = await postJson(
      server as TestServer,
      { code: '' },
      { headers: { prefer: 'respond-async', accept: 'text/event-stream' } },
    );
    expect(response.status).toBe(200);
    expect(response.headers.get('preference-applied')).toBeNull();
    await response.text();
  });
});

describe('DELETE', () => {
  const submit = async (): Promise<string> => {
    const response = await postJson(server as TestServer, { code: '' }, { headers: { prefer: 'respond-async' } });
    return ((await response.json()) as { execution_id: string }).execution_id;
  };
  const cancel = async (id: string, init: RequestInit = {}) => {
    const response = await fetch(`${(server as TestServer).url}/api/v1/executions/${id}`, {
      method: 'DELETE',
      ...init,
    });
    return [response.status, await response.json()];
  };

  it('ends a running execution and says so once it has', async () => {
    await start({ program: endless });
    const id = await submit();
    await eventually(() => server?.plans.length === 1, 'the run starts');
    expect(await cancel(id)).toEqual([200, { status: 'killed' }]);
    expect((await get(`/api/v1/executions/${id}`)).body).toMatchObject({
      status: 'killed',
      stdout: 'started\n',
      outcome: { kind: 'cancelled', reason: 'requested' },
    });
    // Again changes nothing.
    expect(await cancel(id)).toEqual([200, { status: 'killed' }]);
  });

  it('ends one that still waits, which then never runs', async () => {
    await start({ program: endless, concurrent: 1 });
    await submit();
    const second = await submit();
    expect(await cancel(second)).toEqual([200, { status: 'killed' }]);
    expect(server?.plans).toHaveLength(1);
  });

  it('leaves one that has ended as it is', async () => {
    await start();
    const id = await submit();
    await eventually(() => server?.executions.activeCount === 0, 'the run ends');
    expect(await cancel(id)).toEqual([200, { status: 'completed' }]);
  });

  it('tells the truth about one that does not end in time', async () => {
    let finish: () => void = () => undefined;
    await start({
      program: async ({ cancelled }) => {
        await cancelled;
        await new Promise<void>((resolve) => (finish = resolve));
        return cancelledEnding;
      },
    });
    const id = await submit();
    await eventually(() => server?.plans.length === 1, 'the run starts');
    expect(await cancel(id)).toEqual([200, { status: 'running' }]);
    finish();
  });

  it('does not mind a body, or a content type without one', async () => {
    await start();
    const id = await submit();
    await eventually(() => server?.executions.activeCount === 0, 'the run ends');
    const headers = { 'content-type': 'application/json' };
    expect(await cancel(id, { headers })).toEqual([200, { status: 'completed' }]);
    expect(await cancel(id, { headers, body: '{"a":1}' })).toEqual([200, { status: 'completed' }]);
  });

  it('of an unknown one is a 404', async () => {
    await start();
    expect(await cancel('exe_0b0f3b1e-6a0f-4c58-9a3c-2f7f6f1f2d11')).toMatchObject([404, { code: 'not_found' }]);
  });
});

describe('an id nobody gave (H17)', () => {
  it.each([
    'exe_0b0f3b1e-6a0f-4c58-9a3c-2f7f6f1f2d11',
    'x',
    '%2e%2e%2f',
    '..%2f..%2fhealth',
    '..%00',
    '%c3%a4',
    '__proto__',
    'constructor',
    'a'.repeat(10_240),
  ])('%.40s', async (id) => {
    await start();
    for (const path of [`/api/v1/executions/${id}`, `/api/v1/executions/${id}/events`]) {
      const { status, body } = await get(path);
      expect(status).toBe(404);
      expect(body).toMatchObject({ code: 'not_found', detail: 'There is no execution with this id.' });
    }
  });

  it('is a 404 even when it is no text at all', async () => {
    await start();
    expect(await get('/api/v1/executions/%zz')).toMatchObject({ status: 404, body: { code: 'route_not_found' } });
    expect(await get('/api/v1/executions/%ff')).toMatchObject({ status: 404 });
  });
});
