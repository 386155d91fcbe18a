/** What was answered is there after a restart, however the server ended. */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { containersOf, until, untilGone } from '../../support/docker-containers.ts';
import { ServiceProcess } from '../../support/service-process.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

let state: ReturnType<typeof temporaryStateDirectory>;
let settings: Record<string, string>;
beforeEach(() => {
  state = temporaryStateDirectory();
  settings = { PYEXEC_STATE_DIR: state.path, PYEXEC_INSTANCE: `test-${randomUUID()}`, PYEXEC_SHUTDOWN_GRACE: '0' };
});
afterEach(() => {
  state.remove();
});

const events = async (service: ServiceProcess, id: string, after = 0) => {
  const response = await service.get(`/api/v1/executions/${id}/events?after=${String(after)}`);
  const text = await response.text();
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { seq: number; type: string; data?: string })
    .filter(({ type }) => type !== 'heartbeat');
};

/** Ends the server and starts the next on what it left. */
async function restart(service: ServiceProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<ServiceProcess> {
  service.signal(signal);
  await service.ended;
  return ServiceProcess.start(settings);
}

describe('after SIGTERM', () => {
  test('finished executions are fetched as before: small and large, their events, in the form of their door', async () => {
    let service = await ServiceProcess.start(settings);
    const small = await service.submit('import sys; print("é\\x00"); print("err", file=sys.stderr); sys.exit(3)');
    const large = await service.submit('for n in range(20000): print(n, "x" * 30)');
    const evaluated = (await (
      await fetch(`${service.url}/api/v1/eval`, {
        method: 'POST',
        body: JSON.stringify({ code: 'import numpy_is_not_here', timeout_seconds: 20 }),
      })
    ).json()) as { execution_id: string };
    for (const id of [small, large]) {
      await until('it has ended', async () => !['pending', 'running'].includes((await service.execution(id)).status));
    }
    const ids = [small, large, evaluated.execution_id];
    const before = await Promise.all(ids.map(async (id) => [await service.execution(id), await events(service, id)]));
    service = await restart(service, 'SIGTERM');
    await using _ = service;
    const after = await Promise.all(ids.map(async (id) => [await service.execution(id), await events(service, id)]));
    expect(after).toEqual(before);
    expect(before[1]?.[0]).toMatchObject({ stdout: expect.stringMatching(/^0 x+\n1 x[^]*\n19999 x+\n$/) as string });
    // Resumed anywhere: what comes after, once.
    const all = before[1]?.[1] as { seq: number }[];
    const middle = Math.floor(all.length / 2);
    expect(await events(service, large, middle)).toEqual(all.slice(middle));
    const answered = await service.get(`/api/v1/executions/${large}/events?after=${String(all.length)}`);
    expect(await answered.text()).toBe('');
    const ended = await fetch(`${service.url}/api/v1/executions/${large}/events`, {
      headers: { accept: 'text/event-stream', 'last-event-id': String(all.length) },
    });
    expect(ended.status).toBe(204);
  });

  test('what was cut short says so', async () => {
    let service = await ServiceProcess.start(settings);
    const id = await service.submit('import time; print("begun", flush=True); time.sleep(60)');
    await until('it has begun', async () => (await service.execution(id)).stdout === 'begun\n');
    service = await restart(service, 'SIGTERM');
    await using _ = service;
    expect(await service.execution(id)).toMatchObject({
      status: 'killed',
      stdout: 'begun\n',
      outcome: { kind: 'cancelled', reason: 'shutdown' },
    });
  });
});

describe('F02, F03: after kill -9', () => {
  test('an analysis that was under way is interrupted, and one that was over is as it was', async () => {
    let service = await ServiceProcess.start(settings);
    const submitted = async (files: Readonly<Record<string, string>>) => {
      const response = await fetch(`${service.url}/api/v1/exec`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', prefer: 'respond-async' },
        body: JSON.stringify({ files, analyze: true }),
      });
      return ((await response.json()) as { execution_id: string }).execution_id;
    };
    const analysisOf = async (id: string) =>
      (await (await service.get(`/api/v1/executions/${id}`)).json()) as {
        stdout: string;
        status: string;
        analysis?: { status: string };
      };
    const whole = await submitted({ 'main.py': 'eval("1")\n' });
    await until('it has ended', async () => (await analysisOf(whole)).status === 'completed');
    const before = await analysisOf(whole);
    expect(before.analysis).toMatchObject({ status: 'complete', counts: { medium: 1 } });
    // More than can be read before the program says that it has begun.
    const many = Object.fromEntries(
      Array.from({ length: 40 }, (_, at) => [`${String(at)}.py`, 'eval(x)\n'.repeat(9_000)]),
    );
    const half = await submitted({ 'main.py': 'print("begun", flush=True); import time; time.sleep(60)', ...many });
    await until('it has begun', async () => (await analysisOf(half)).stdout === 'begun\n');
    expect((await analysisOf(half)).analysis).toEqual({ status: 'pending' });
    service = await restart(service, 'SIGKILL');
    await using _ = service;
    const after = await analysisOf(half);
    expect(after).toMatchObject({ status: 'failed', outcome: { kind: 'interrupted' } });
    expect(after.analysis).toEqual({ status: 'interrupted' });
    // The last event says so as well.
    const [terminal] = (await events(service, half)).slice(-1);
    expect(terminal).toMatchObject({ type: 'error', code: 'interrupted', analysis: { status: 'interrupted' } });
    expect(await analysisOf(whole)).toEqual(before);
    await untilGone(settings['PYEXEC_INSTANCE'] ?? '');
  });

  test('what ran is interrupted, with the output that was saved, and its reader learns it once', async () => {
    let service = await ServiceProcess.start({ ...settings, PYEXEC_MAX_CONCURRENT: '1' });
    const running = await service.submit('import time; print("begun", flush=True); time.sleep(60)');
    await until('it has begun', async () => (await service.execution(running)).stdout === 'begun\n');
    const waiting = await service.submit('print(1)');
    const saved = join(state.path, 'executions', running, 'events.ndjson');
    await until('it is saved', () => existsSync(saved) && readFileSync(saved, 'utf8').includes('begun'), 5000);
    // A reader that has seen what was never saved.
    const reading = await fetch(`${service.url}/api/v1/executions/${running}/events`);
    const reader = reading.body?.getReader();
    await reader?.read();
    const lost = reader?.read().catch(() => undefined);
    service = await restart(service, 'SIGKILL');
    await using _ = service;
    await reader?.cancel().catch(() => undefined);
    await lost;
    expect(await service.execution(running)).toMatchObject({
      execution_id: running,
      status: 'failed',
      exit_code: -1,
      stdout: 'begun\n',
      outcome: { kind: 'interrupted', reason: 'the service ended while the program ran' },
      error: 'interrupted: the service ended while the program ran',
    });
    expect(await service.execution(waiting)).toMatchObject({
      outcome: { kind: 'interrupted', reason: 'the service ended before the program was started' },
    });
    const seen = await events(service, running);
    expect(seen.map(({ type }) => type)).toEqual(['status', 'status', 'stdout', 'error']);
    const terminal = seen.at(-1);
    // Above everything its reader may have seen; after it there is nothing.
    expect(terminal?.seq).toBeGreaterThan(3);
    expect((await events(service, running, 3)).map(({ seq }) => seq)).toEqual([terminal?.seq]);
    expect(await events(service, running, terminal?.seq)).toEqual([]);
    await untilGone(settings['PYEXEC_INSTANCE'] ?? '');
    expect(await containersOf(settings['PYEXEC_INSTANCE'] ?? '')).toEqual([]);
    // Ended once: another restart changes nothing.
    const before = await service.execution(running);
    const again = await restart(service, 'SIGKILL');
    await using _again = again;
    expect(await again.execution(running)).toEqual(before);
  });
});

test('F05: a key is known after a restart, and runs again only what was interrupted', async () => {
  const post = async (service: ServiceProcess, key: string, code: string) => {
    const response = await service.exec(code, { headers: { 'idempotency-key': key, prefer: 'respond-async' } });
    return (await response.json()) as { execution_id: string };
  };
  let service = await ServiceProcess.start(settings);
  const done = await post(service, 'done', 'import uuid; print(uuid.uuid4())');
  await until('it is done', async () => (await service.execution(done.execution_id)).status === 'completed');
  const before = await service.execution(done.execution_id);
  const SLOW = 'import time; time.sleep(60)';
  const running = await post(service, 'running', SLOW);
  await until('it runs', async () => (await service.execution(running.execution_id)).status === 'running');
  service = await restart(service, 'SIGKILL');
  await using _ = service;
  expect((await post(service, 'done', 'import uuid; print(uuid.uuid4())')).execution_id).toBe(done.execution_id);
  expect(await service.execution(done.execution_id)).toEqual(before);
  const again = await post(service, 'running', SLOW);
  expect(again.execution_id).not.toBe(running.execution_id);
  expect((await post(service, 'running', SLOW)).execution_id).toBe(again.execution_id);
  expect((await service.execution(running.execution_id)).outcome?.kind).toBe('interrupted');
});

test('a key whose run still waited at a shutdown runs it; what ran, or its caller ended, stays ended', async () => {
  settings = { ...settings, PYEXEC_MAX_CONCURRENT: '1' };
  const SLOW = 'import time; time.sleep(60)';
  const post = async (service: ServiceProcess, key: string, code: string) => {
    const response = await service.exec(code, { headers: { 'idempotency-key': key, prefer: 'respond-async' } });
    return (await response.json()) as { execution_id: string };
  };
  let service = await ServiceProcess.start(settings);
  const ran = await post(service, 'ran', SLOW);
  await until('it runs', async () => (await service.execution(ran.execution_id)).status === 'running');
  const unwanted = await post(service, 'unwanted', 'print(1)');
  await fetch(`${service.url}/api/v1/executions/${unwanted.execution_id}`, { method: 'DELETE' });
  const waited = await post(service, 'waited', 'print(2)');
  service = await restart(service, 'SIGTERM');
  await using _ = service;
  expect((await post(service, 'ran', SLOW)).execution_id).toBe(ran.execution_id);
  expect((await post(service, 'unwanted', 'print(1)')).execution_id).toBe(unwanted.execution_id);
  expect((await service.execution(waited.execution_id)).outcome).toEqual({ kind: 'cancelled', reason: 'shutdown' });
  const again = await post(service, 'waited', 'print(2)');
  expect(again.execution_id).not.toBe(waited.execution_id);
  await until('it is done', async () => (await service.execution(again.execution_id)).status === 'completed');
});
