/**
 * What becomes of the runs of a key that is rotated, revoked or expires: of those that wait, run, are followed and have
 * ended. The positive control is a neighbour's run, beside all of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createKey, operatorCommand } from '../../support/operator-command.ts';
import { ServiceProcess } from '../../support/service-process.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

const state = temporaryStateDirectory();
const NOTICED_MS = 6_000;
let service: ServiceProcess;
let admin: string;
let neighbour: string;
beforeAll(async () => {
  service = await ServiceProcess.start({
    PYEXEC_AUTH: 'keys',
    PYEXEC_STATE_DIR: state.path,
    PYEXEC_MAX_CONCURRENT: '4',
    PYEXEC_MAX_CONCURRENT_PER_CALLER: '2',
  });
  admin = await createKey(state.path, 'admin', 'admin');
  neighbour = await createKey(state.path, 'neighbour', 'run,read');
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  state.remove();
});

const SLEEPS = 'import time\nprint("on", flush=True)\ntime.sleep(60)';
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const ask = (path: string, key: string) => fetch(service.url + path, { headers: bearer(key) });
const post = (key: string, code: string, headers: Record<string, string> = {}) =>
  service.exec(code, { headers: { ...bearer(key), ...headers } });
const submit = async (key: string, code: string) => {
  const answer = await post(key, code, { prefer: 'respond-async' });
  expect(answer.status).toBe(202);
  return ((await answer.json()) as { execution_id: string }).execution_id;
};
const seenBy = async (key: string, id: string) =>
  (await (await ask(`/api/v1/executions/${id}`, key)).json()) as { status: string; outcome?: object; error?: string };
const isRunning = (key: string, id: string) =>
  expect.poll(async () => (await seenBy(key, id)).status, { timeout: NOTICED_MS }).toBe('running');

test('revoked: its runs end, those that wait too, whoever follows is told, and nobody but an admin reads them', async () => {
  const key = await createKey(state.path, 'leaked', 'run,read');
  const ended = ((await (await post(key, 'print(1)')).json()) as { execution_id: string }).execution_id;
  const running = await submit(key, SLEEPS);
  await isRunning(key, running);
  const stream = await ask(`/api/v1/executions/${running}/events`, key);
  const waitedFor = post(key, SLEEPS);
  await sleep(1_000);
  const queued = await submit(key, 'print("never")');
  expect((await seenBy(key, queued)).status).toBe('pending');
  const beside = await submit(neighbour, SLEEPS);
  await isRunning(neighbour, beside);

  await operatorCommand(state.path, ['keys', 'revoke', 'leaked']);
  const since = performance.now();
  const cancelled = { kind: 'cancelled', reason: 'key_revoked' };
  expect(await stream.text()).toContain('"reason":"key_revoked"');
  expect(await (await waitedFor).json()).toMatchObject({ status: 'killed', outcome: cancelled });
  for (const id of [running, queued]) {
    await expect.poll(async () => (await seenBy(admin, id)).outcome, { timeout: NOTICED_MS }).toEqual(cancelled);
  }
  expect(performance.now() - since).toBeLessThan(2 * NOTICED_MS);
  expect((await ask(`/api/v1/executions/${ended}`, key)).status).toBe(401);

  // A key of the same name is another caller.
  const successor = await createKey(state.path, 'leaked', 'run,read');
  for (const id of [ended, running, queued]) {
    expect((await ask(`/api/v1/executions/${id}`, successor)).status).toBe(404);
  }
  expect(await seenBy(admin, ended)).toMatchObject({ status: 'completed', stdout: '1\n' });
  expect(await seenBy(neighbour, beside)).toMatchObject({ status: 'running' });
  await fetch(`${service.url}/api/v1/executions/${beside}`, { method: 'DELETE', headers: bearer(neighbour) });
});

test('rotated without an overlap: its runs go on, what follows them too, and the new secret reads them', async () => {
  const old = await createKey(state.path, 'rotated', 'run,read');
  const id = await submit(old, 'import time\nprint("on", flush=True)\ntime.sleep(4)\nprint("end")');
  await isRunning(old, id);
  const stream = await ask(`/api/v1/executions/${id}/events`, old);
  const { stdout } = await operatorCommand(state.path, ['keys', 'rotate', 'rotated', '--overlap', '0s']);
  expect((await ask(`/api/v1/executions/${id}`, old)).status).toBe(401);
  expect(await stream.text()).toContain('"exit_code":0');
  expect(await seenBy(stdout.trim(), id)).toMatchObject({ status: 'completed', stdout: 'on\nend\n' });
});

test('expired: what was accepted before is run to its end', async () => {
  const key = await createKey(state.path, 'short', 'run,read', '--expires', '5s');
  const id = await submit(key, 'import time\ntime.sleep(6)\nprint("end")');
  await expect.poll(async () => (await seenBy(admin, id)).status, { timeout: 15_000, interval: 200 }).toBe('completed');
  expect((await ask(`/api/v1/executions/${id}`, key)).status).toBe(401);
});
