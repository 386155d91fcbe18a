/** One line a request, with what helps and nothing that is the caller's. */
import { afterEach, describe, expect, it } from 'vitest';
import { EXEC, eventually, postJson, postTar, startHttp, tar, type TestServer } from '../../support/http-server.ts';

let server: TestServer | undefined;
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  server = undefined;
});

const requestLines = (from: TestServer) => from.log.filter(({ msg }) => msg === 'request');

describe('the log', () => {
  it('has one line for each request', async () => {
    server = await startHttp();
    const response = await postJson(server, { code: '' }, { headers: { 'x-request-id': 'my-id' } });
    await response.text();
    await fetch(`${server.url}/nope?x=1`);
    await eventually(() => requestLines(server as TestServer).length === 2, 'both are logged');
    expect(requestLines(server)).toMatchObject([
      {
        level: 30,
        request_id: 'my-id',
        method: 'POST',
        route: EXEC,
        status: 200,
        client: '127.0.0.1',
        request_bytes: 11,
        response_bytes: expect.any(Number) as number,
        execution_id: response.headers.get('x-execution-id'),
      },
      { method: 'GET', route: 'unmatched', status: 404, code: 'route_not_found' },
    ]);
    // Nothing of Fastify's own, but where it listens.
    expect(server.log.filter(({ msg }) => msg !== 'request')).toHaveLength(1);
  });

  it('holds nothing the caller sent', async () => {
    server = await startHttp({
      program: ({ out }) => {
        out('hunter-output');
      },
    });
    const secrets = { stdin: 'hunter-stdin', env: { TOKEN: 'hunter-env' }, args: ['hunter-arg'] };
    await (
      await postJson(
        server,
        { code: '# hunter-code', ...secrets },
        { headers: { authorization: 'Bearer hunter-token', cookie: 'hunter-cookie' } },
      )
    ).text();
    await (await postTar(server, tar('hunter-tar'), { query: '?stdin=hunter-query&arg=hunter-arg' })).text();
    await (await postTar(server, tar(), { query: '?hunter-field=1' })).text();
    await (await postJson(server, { code: '', 'hunter-field': 1 })).text();
    await (await postJson(server, '{"hunter')).text();
    await (await fetch(`${server.url}/hunter-path`)).text();
    await (await fetch(`${server.url}/api/v1/executions/hunter-id`)).text();
    await eventually(() => requestLines(server as TestServer).length === 7, 'all are logged');
    expect(server.logText()).not.toContain('hunter');
  });

  it('bounds what becomes a label', async () => {
    server = await startHttp();
    await fetch(`${server.url}/api/v1/executions/abc`);
    await fetch(`${server.url}/x/${'y'.repeat(500)}`, { method: 'PROPFIND' });
    await eventually(() => server?.requests.length === 2, 'both are observed');
    expect(server.requests.map(({ method, route }) => [method, route])).toEqual([
      ['GET', '/api/v1/executions/:id'],
      ['OTHER', 'unmatched'],
    ]);
  });
});
