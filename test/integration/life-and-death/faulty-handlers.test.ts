/**
 * F32: a fault nobody handles, raised in the handler of every route there is, beside a run in progress. The process
 * ends and says why; what was answered is there in the next, once. A handler that throws is an answer and no end.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { containersOf, until, untilGone } from '../../support/docker-containers.ts';
import { FAULT_HEADER, FAULT_MESSAGE, HANDLED_HEADER, type Fault, type Route } from '../../support/faulty-handlers.ts';
import { formOf, metadataPart, tarPart } from '../../support/python-executor-client.ts';
import { plainTar } from '../../support/python-executor-tars.ts';
import { ServiceProcess } from '../../support/service-process.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

const PRELOAD = new URL('../../support/faulty-handlers.ts', import.meta.url).href;
const SLEEPS = 'import time; print("begun", flush=True); time.sleep(300)';

const state = temporaryStateDirectory();
const settings = {
  PYEXEC_STATE_DIR: state.path,
  PYEXEC_INSTANCE: `test-${randomUUID()}`,
  PYEXEC_POOL_SIZE: '1',
  NODE_OPTIONS: `--import=${PRELOAD}`,
};
const instance = settings.PYEXEC_INSTANCE;

interface Ended {
  readonly execution_id: string;
  readonly stdout: string;
  readonly outcome?: { readonly kind: string; readonly reason?: string };
}

/** A run that was left in progress, and its key. */
interface Left {
  readonly id: string;
  readonly key: string;
}

let service: ServiceProcess;
let routes: readonly Route[] = [];
let answered: Ended;

beforeAll(async () => {
  const routesFile = join(state.path, 'routes');
  service = await ServiceProcess.start({ ...settings, TEST_ROUTES_FILE: routesFile });
  const lines = readFileSync(routesFile, 'utf8').trimEnd().split('\n');
  routes = lines.map((line) => JSON.parse(line) as Route);
  rmSync(routesFile);
  answered = (await (await service.exec('open("left", "w").write("x"); print("answered")')).json()) as Ended;
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  state.remove();
});

/** What reaches the handler of a route, about this execution. */
function ask({ method, url }: Route, id: string, fault?: Fault): Promise<Response> {
  const path = url.replace(':id', id).replace('*', url.startsWith('/docs/') ? 'index.html' : 'left');
  const headers = new Headers(fault === undefined ? {} : { [FAULT_HEADER]: fault });
  let body: string | Uint8Array<ArrayBuffer> | null = null;
  if (/\/exec\/a?sync/.test(url)) {
    const form = formOf(tarPart(plainTar({ 'main.py': 'print("answered")' })), metadataPart({ entrypoint: 'main.py' }));
    headers.set('content-type', form.contentType);
    body = form.body;
  } else if (method === 'POST') {
    headers.set('content-type', 'application/json');
    body = JSON.stringify({ code: 'print("answered")' });
  }
  return fetch(service.url + path, { method, headers, body, redirect: 'manual', signal: AbortSignal.timeout(30_000) });
}

/** Routes that answer before their handler: another spelling of one that does not. */
const isRedirect = ({ url }: Route) => (url.endsWith('/') && url.startsWith('/api/')) || url === '/health/';

/** Handlers, each once: that of HEAD is that of GET. */
const handlers = () => routes.filter((route) => route.method !== 'HEAD' && !isRedirect(route));

test('without the header every route answers', async () => {
  expect(handlers().length).toBeGreaterThan(20);
  for (const route of routes) {
    const response = await ask(route, answered.execution_id);
    const name = `${route.method} ${route.url}: ${await response.text()}`;
    expect(response.status, name).toBeLessThan(500);
    expect(response.headers.has(HANDLED_HEADER), name).toBe(!isRedirect(route));
  }
});

test('a handler that throws is answered as internal, tells nothing of the fault, and ends no process', async () => {
  for (const route of routes.filter((each) => !isRedirect(each))) {
    const response = await ask(route, answered.execution_id, 'throw');
    const text = await response.text();
    const name = `${route.method} ${route.url}: ${text}`;
    expect(response.status, name).toBe(500);
    expect(response.headers.get('x-error-code'), name).toBe('internal');
    expect(text, name).not.toMatch(/stack|\.ts|node_modules|    at /);
    expect(text, name).not.toContain(FAULT_MESSAGE);
    if (route.method === 'HEAD') continue;
    const isDoor = /\/exec\/a?sync|\/eval/.test(route.url);
    expect(JSON.parse(text), name).toMatchObject(
      isDoor ? { error: expect.any(String) as string } : { code: 'internal' },
    );
  }
  expect((await service.get('/health')).status).toBe(200);
});

const submit = (key: string) => service.exec(SLEEPS, { headers: { 'idempotency-key': key, prefer: 'respond-async' } });

/** Begins a run that would take minutes. */
async function beginRun(key: string): Promise<Left> {
  const response = await submit(key);
  expect(response.status).toBe(202);
  const { execution_id: id } = (await response.json()) as Ended;
  await until('it runs', async () => (await service.execution(id)).stdout === 'begun\n');
  return { id, key };
}

/** Raises the fault in the handler of a route beside a run; the process is to end of it, and the next is started. */
async function endBy(fault: Fault, route: Route): Promise<Left> {
  const name = `${fault} in ${route.method} ${route.url}`;
  const left = await beginRun(randomUUID());
  // Whether it is still answered is open.
  await ask(route, left.id, fault).then(
    (response) => response.text(),
    () => undefined,
  );
  const ended = await Promise.race([service.ended, sleep(20_000, 'it goes on', { ref: false })]);
  expect(ended, name).toMatchObject({ code: 1, signal: null });
  const fatal = service
    .log()
    .split('\n')
    .filter((line) => line.includes('"level":"fatal"'));
  expect(fatal.length, name).toBe(1);
  expect(JSON.parse(fatal[0] ?? ''), name).toMatchObject({ msg: 'unhandled fault', err: { message: FAULT_MESSAGE } });
  service = await ServiceProcess.start(settings);
  return left;
}

const fetched = async (id: string) => (await service.execution(id)) as unknown as Ended;

test('a rejection or an exception nobody handles ends the process, and nothing that was answered is lost', async () => {
  const all: { name: string; left: Left; end: Ended }[] = [];
  for (const [index, route] of handlers().entries()) {
    const faults: Fault[] = route.url.startsWith('/docs')
      ? [index % 2 === 0 ? 'rejection' : 'exception']
      : ['rejection', 'exception'];
    for (const fault of faults) {
      const left = await endBy(fault, route);
      const name = `${fault} in ${route.method} ${route.url}`;
      const end = await fetched(left.id);
      expect(end, name).toMatchObject({ stdout: 'begun\n', outcome: { kind: 'cancelled' } });
      all.push({ name, left, end });
    }
  }
  expect(await fetched(answered.execution_id)).toEqual(answered);
  for (const { name, left, end } of all) {
    expect(await fetched(left.id), name).toEqual(end);
    const again = await submit(left.key);
    expect(again.headers.get('idempotency-replayed'), name).toBe('true');
    expect(((await again.json()) as Ended).execution_id, name).toBe(left.id);
  }
  // The sandbox that waits for the next run is this process's own.
  await until('nothing is left of them', async () => (await containersOf(instance)).length <= 1);
}, 300_000);

test('a second one while the process closes ends it at once: the run is interrupted, its container removed', async () => {
  const route = { method: 'GET', url: '/health' };
  const left = await beginRun(randomUUID());
  await ask(route, left.id, 'two exceptions').catch(() => undefined);
  expect(await service.ended).toMatchObject({ code: 1, signal: null });
  service = await ServiceProcess.start({ ...settings, PYEXEC_POOL_SIZE: '0' });
  const end = await fetched(left.id);
  expect(['interrupted', 'cancelled']).toContain(end.outcome?.kind);
  await untilGone(instance);
  const again = await submit(left.key);
  const { execution_id: id } = (await again.json()) as Ended;
  expect(id === left.id).toBe(end.outcome?.kind === 'cancelled');
  expect(await fetched(left.id)).toEqual(end);
});
