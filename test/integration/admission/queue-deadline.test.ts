/**
 * A run that may wait only so long, against the real service: it ends without having
 * run, everybody who asks is told, and nothing of it is held or charged.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Execution } from '../../../src/domain/execution.ts';
import { ServiceProcess } from '../../support/service-process.ts';

const SLEEP = 'import time; time.sleep(120)';
const told: Execution[] = [];
const receiver = createServer((request, response) => {
  void text(request).then((body) => {
    told.push(JSON.parse(body) as Execution);
    response.end();
  });
});
let service: ServiceProcess;
let blocker: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  service = await ServiceProcess.start({
    PYEXEC_MAX_CONCURRENT: '1',
    PYEXEC_SHUTDOWN_GRACE: '0',
    PYEXEC_MAX_TIMEOUT: '300',
    PYEXEC_DEFAULT_TIMEOUT: '300',
    PYEXEC_QUEUE_TIMEOUT: '1',
    PYEXEC_BUDGET_CPU_SECONDS: '3600',
    PYEXEC_WEBHOOK_ALLOW_HTTP: 'true',
    PYEXEC_WEBHOOK_ALLOWED_HOSTS: '127.0.0.1',
    PYEXEC_WEBHOOK_PORTS: String((receiver.address() as AddressInfo).port),
    PYEXEC_WEBHOOK_SECRET: 'a secret of sixteen bytes and more',
  });
  blocker = await service.submit(SLEEP);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  receiver.close();
});

const post = (path: string, document: object, headers: Record<string, string> = {}) =>
  fetch(service.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(document),
    signal: AbortSignal.timeout(30_000),
  });
const exec = (options: object, headers?: Record<string, string>) =>
  post('/api/v1/exec', { code: 'print(1)', ...options }, headers);
const gauge = async (name: string) =>
  Number(new RegExp(`^${name} (\\d+)`, 'm').exec(await (await service.get('/metrics')).text())?.[1]);
const usage = async () => ((await (await service.get('/api/v1/usage')).json()) as { cpu_seconds: object }).cpu_seconds;

const OUTCOME = { kind: 'queue_timeout', limit_ms: 300 };

test('who waits for the answer is told when to come again', async () => {
  const before = await usage();
  const response = await exec({ queue_timeout_ms: 300 });
  expect(response.status).toBe(503);
  expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(response.headers.get('x-error-code')).toBe('queue_timeout');
  const problem = (await response.json()) as Record<string, unknown>;
  expect(problem).toMatchObject({
    code: 'queue_timeout',
    retryable: true,
    detail: 'Not started: no place to run within 300ms.',
    outcome: OUTCOME,
  });
  expect(problem['execution_id']).toBe(response.headers.get('x-execution-id'));
  expect(await gauge('pyexec_runs_queued')).toBe(0);
  expect(await gauge('pyexec_queue_bytes')).toBe(0);
  expect(await usage()).toEqual(before);
});

test('who does not finds it ended, with its place until then; the webhook says the same', async () => {
  const url = `http://127.0.0.1:${String((receiver.address() as AddressInfo).port)}/`;
  const accepted = await exec({ queue_timeout_ms: 300, webhook: { url } }, { prefer: 'respond-async' });
  expect(accepted.status).toBe(202);
  const pending = (await accepted.json()) as Execution;
  expect(pending).toMatchObject({ status: 'pending', queue: { position: 1 } });
  expect(pending.queue?.expires_in_ms).toBeLessThanOrEqual(300);
  const id = pending.execution_id;
  await expect.poll(async () => (await service.execution(id)).status, { timeout: 5000 }).toBe('failed');
  const ended = (await (await service.get(`/api/v1/executions/${id}`)).json()) as Execution;
  expect(ended).toMatchObject({
    exit_code: -1,
    error: 'not started: no place to run within 300ms',
    outcome: OUTCOME,
    stdout: '',
  });
  expect(ended.started_at).toBeUndefined();
  expect(ended.queue).toBeUndefined();
  await expect.poll(() => told.find(({ execution_id }) => execution_id === id)).toMatchObject(ended);
});

test('a stream ends in an error event, live and replayed', async () => {
  const live = await exec({ queue_timeout_ms: 300 }, { accept: 'application/x-ndjson' });
  const lines = (await live.text()).trim().split('\n');
  expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ type: 'error', code: 'queue_timeout', outcome: OUTCOME });
  const id = live.headers.get('x-execution-id') ?? '';
  const replayed = await fetch(`${service.url}/api/v1/executions/${id}/events`, {
    headers: { accept: 'application/x-ndjson' },
  });
  expect((await replayed.text()).trim().split('\n')).toEqual(lines);
});

test('the operator says how long, where the request does not; a request may say more', async () => {
  const patient = await exec({ queue_timeout_ms: 60_000 }, { prefer: 'respond-async' });
  const { execution_id: id } = (await patient.json()) as Execution;
  const response = await exec({});
  expect(await response.json()).toMatchObject({ outcome: { kind: 'queue_timeout', limit_ms: 1000 } });
  expect((await service.execution(id)).status).toBe('pending');
  const cancelled = await fetch(`${service.url}/api/v1/executions/${id}`, { method: 'DELETE' });
  expect(await cancelled.json()).toMatchObject({ status: 'killed' });
  expect(await gauge('pyexec_runs_queued')).toBe(0);
});

test('python-executor’s clients are told in their words', async () => {
  const response = await post('/api/v1/eval', { code: 'print(1)' });
  expect(response.status).toBe(503);
  expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(await response.json()).toEqual({ error: expect.stringContaining('no place to run within 1s') as string });
});

test.each([0, -1, 1.5, '300', 86_400_001])('%j is no time to wait', async (value) => {
  const response = await exec({ queue_timeout_ms: value });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ code: 'invalid_request', field: 'queue_timeout_ms' });
});

test('a request repeated under its key runs, once there is a place', async () => {
  const key = { 'idempotency-key': 'again' };
  const first = await exec({ queue_timeout_ms: 300 }, key);
  expect(first.status).toBe(503);
  await fetch(`${service.url}/api/v1/executions/${blocker}`, { method: 'DELETE' });
  const second = await exec({ queue_timeout_ms: 300 }, key);
  expect(second.status).toBe(200);
  expect(await second.json()).toMatchObject({ status: 'completed', stdout: '1\n' });
  expect(second.headers.get('x-execution-id')).not.toBe(first.headers.get('x-execution-id'));
});
