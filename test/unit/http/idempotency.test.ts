/** Idempotency-Key: a request that is sent again is the execution it already is. */
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { endless, EXEC, eventually, postJson, postTar, startHttp, tar } from '../../support/http-server.ts';

type Body = Record<string, unknown> & { execution_id: string };
const keyed = (key: string, more: Record<string, string> = {}) => ({ headers: { 'idempotency-key': key, ...more } });
const bodyOf = async (response: Response) => (await response.json()) as Body;

describe('the same request under the same key', () => {
  test('is the same execution, run once, in the form that is asked for', async () => {
    await using server = await startHttp();
    const first = await postJson(server, { code: 'print(1)' }, keyed('k'));
    expect(first.headers.get('idempotency-replayed')).toBeNull();
    const execution = await bodyOf(first);
    const second = await postJson(server, { code: 'print(1)' }, keyed('"k"'));
    expect([second.status, second.headers.get('idempotency-replayed')]).toEqual([200, 'true']);
    expect(await bodyOf(second)).toEqual(execution);
    const streamed = await postJson(server, { code: 'print(1)' }, keyed('k', { accept: 'application/x-ndjson' }));
    expect(streamed.headers.get('x-execution-id')).toBe(execution.execution_id);
    expect(await streamed.text()).toMatch(/"type":"stdout","data":"hello\\n"[^]*"type":"result"/);
    const async = await postJson(server, { code: 'print(1)' }, keyed('k', { prefer: 'respond-async' }));
    expect(async.status).toBe(202);
    expect((await bodyOf(async)).execution_id).toBe(execution.execution_id);
    expect(server.plans).toHaveLength(1);
  });

  test('however its program arrives and however its JSON is ordered', async () => {
    await using server = await startHttp();
    const a = await postJson(server, '{"code":"print(1)","args":["x"],"env":{"A":"1","B":"2"}}', keyed('k'));
    const b = await postJson(server, '{"env":{"B":"2","A":"1"},"args":["x"],"code":"print(1)"}', keyed('k'));
    expect((await bodyOf(b)).execution_id).toBe((await bodyOf(a)).execution_id);
    const archived = await postTar(server, tar('print(2)'), keyed('t'));
    const again = await postTar(server, tar('print(2)'), keyed('t'));
    expect((await bodyOf(again)).execution_id).toBe((await bodyOf(archived)).execution_id);
    expect(server.plans).toHaveLength(2);
    expect(server.spooled()).toEqual([]);
  });

  test('at the same time runs once, and all get the answer', async () => {
    await using server = await startHttp();
    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => bodyOf(await postJson(server, { code: 'print(1)' }, keyed('k')))),
    );
    expect(new Set(answers.map(({ execution_id }) => execution_id)).size).toBe(1);
    for (const answer of answers) expect(answer).toMatchObject({ status: 'completed', stdout: 'hello\n' });
    expect(server.plans).toHaveLength(1);
  });

  test('F34: a client that leaves does not cancel it, and finds it again by its key', async () => {
    let finish: () => void = () => undefined;
    await using server = await startHttp({
      program: async ({ out }) => {
        out('started\n');
        await new Promise<void>((resolve) => (finish = resolve));
        out('done\n');
      },
    });
    const controller = new AbortController();
    const leaving = postJson(server, { code: '1' }, { ...keyed('k'), signal: controller.signal });
    await eventually(() => server.plans.length === 1, 'it runs');
    controller.abort();
    await expect(leaving).rejects.toThrow();
    const back = postJson(server, { code: '1' }, keyed('k'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    finish();
    expect(await bodyOf(await back)).toMatchObject({ status: 'completed', stdout: 'started\ndone\n' });
    expect(server.plans).toHaveLength(1);
  });
});

describe('the same content under the same key', () => {
  test('is the same request in whatever form of archive it comes', async () => {
    await using server = await startHttp();
    const plain = await bodyOf(await postTar(server, tar('print(3)'), keyed('k')));
    const zipped = await postTar(server, gzipSync(tar('print(3)')), keyed('k', { 'content-type': 'application/gzip' }));
    const padded = await postTar(server, Buffer.concat([tar('print(3)'), Buffer.alloc(10_240)]), keyed('k'));
    const form = new FormData();
    form.append('tar', new Blob([tar('print(3)')]));
    const parts = await fetch(server.url + EXEC, { method: 'POST', body: form, headers: { 'idempotency-key': 'k' } });
    for (const answer of [zipped, padded, parts]) {
      expect(answer.headers.get('idempotency-replayed')).toBe('true');
      expect((await bodyOf(answer)).execution_id).toBe(plain.execution_id);
    }
    expect(server.plans).toHaveLength(1);
  });

  test('is the same execution while that waits for its place; who waited is told together', async () => {
    await using server = await startHttp({ program: endless, concurrent: 1 });
    const before = await bodyOf(await postJson(server, { code: '0' }, { headers: { prefer: 'respond-async' } }));
    const first = await bodyOf(await postJson(server, { code: '1' }, keyed('k', { prefer: 'respond-async' })));
    const waiting = postJson(server, { code: '1' }, keyed('k'));
    const streamed = await postJson(server, { code: '1' }, keyed('k', { accept: 'application/x-ndjson' }));
    expect(streamed.headers.get('x-execution-id')).toBe(first.execution_id);
    expect(await (await fetch(`${server.url}/api/v1/executions/${first.execution_id}`)).json()).toMatchObject({
      status: 'pending',
    });
    await fetch(`${server.url}/api/v1/executions/${first.execution_id}`, { method: 'DELETE' });
    expect(await bodyOf(await waiting)).toMatchObject({ execution_id: first.execution_id, status: 'killed' });
    expect(await streamed.text()).toContain('"reason":"requested"');
    expect(server.plans).toHaveLength(1);
    await fetch(`${server.url}/api/v1/executions/${before.execution_id}`, { method: 'DELETE' });
  });
});

test('the same key of two callers is two keys', async () => {
  await using server = await startHttp({
    deps: {
      identify: ({ header }) =>
        Promise.resolve({ id: header('x-api-key')[0] ?? '', scopes: new Set(['run', 'read'] as const) }),
    },
  });
  const of = async (who: string, code: string) => postJson(server, { code }, keyed('k', { 'x-api-key': who }));
  const ada = await bodyOf(await of('ada', '1'));
  const bob = await of('bob', '2');
  expect([bob.status, bob.headers.get('idempotency-replayed')]).toEqual([200, null]);
  expect((await bodyOf(bob)).execution_id).not.toBe(ada.execution_id);
  expect((await bodyOf(await of('ada', '1'))).execution_id).toBe(ada.execution_id);
});

describe('another request under the same key', () => {
  test.each([
    ['another program', { code: 'print(2)' }],
    ['other options', { code: 'print(1)', args: ['x'] }],
    ['another stdin', { code: 'print(1)', stdin: 'x' }],
  ])('%s is refused', async (_, other) => {
    await using server = await startHttp();
    await postJson(server, { code: 'print(1)' }, keyed('k'));
    const refused = await postJson(server, other, keyed('k'));
    expect(refused.status).toBe(422);
    expect(await refused.json()).toMatchObject({ code: 'idempotency_key_reused', retryable: false });
    expect(server.plans).toHaveLength(1);
    expect((await postJson(server, other, keyed('l'))).status).toBe(200);
  });
});

test.each(['', 'a b', 'ä', 'x'.repeat(256), '"', '"a b"'])('a key that is none is refused: %j', async (key) => {
  await using server = await startHttp();
  const refused = await fetch(server.url + EXEC, {
    method: 'POST',
    body: '{"code":"1"}',
    headers: { 'content-type': 'application/json', 'idempotency-key': Buffer.from(key).toString('latin1') },
  });
  const body = (await refused.json()) as { code: string };
  // One quote alone is a visible character like others.
  expect([refused.status, body.code]).toEqual(key === '"' ? [200, undefined] : [400, 'invalid_request']);
});

test('a refusal uses no key up: what follows under it runs', async () => {
  await using server = await startHttp({ program: endless, concurrent: 1, queueMax: 0 });
  const running = postJson(server, { code: '1' }, { headers: { prefer: 'respond-async' } });
  const { execution_id } = await bodyOf(await running);
  expect((await postJson(server, { code: '2' }, keyed('k', { prefer: 'respond-async' }))).status).toBe(429);
  await fetch(`${server.url}/api/v1/executions/${execution_id}`, { method: 'DELETE' });
  const again = await postJson(server, { code: '2' }, keyed('k', { prefer: 'respond-async' }));
  expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([202, null]);
});
