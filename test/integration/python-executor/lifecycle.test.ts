/**
 * Executions over time: asynchronous ones, kills, clients that leave, retention,
 * restarts. One run at a time, so that a second one is pending.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../support/examples-commands.ts';
import { Door } from '../../support/python-executor-requests.ts';
import { ServiceProcess } from '../../support/service-process.ts';
import { formOf, metadataPart, tarPart } from '../../support/python-executor-client.ts';
import { plainTar } from '../../support/python-executor-tars.ts';

const TTL_S = 3;
const SLOW = 'import time\nprint("begun", flush=True)\ntime.sleep(60)';

let door: Door;
beforeAll(async () => {
  door = await Door.open({
    PYEXEC_POOL_SIZE: '1',
    PYEXEC_MAX_CONCURRENT: '1',
    PYEXEC_MAX_QUEUE: '1',
    PYEXEC_CLEANUP_TTL: String(TTL_S),
    PYEXEC_MAX_UPLOAD_MB: '1',
  });
});
afterAll(() => door[Symbol.asyncDispose]());

const submit = async (code: string, metadata: object = {}) => {
  const { status, body } = await door.exec({ 'main.py': code }, { ...metadata }, { mode: 'async' });
  expect(status).toBe(202);
  return String(body['execution_id']);
};
const kill = (id: string) => door.request(`/api/v1/executions/${id}`, { method: 'DELETE' });
const begun = (id: string) => door.until(id, ({ stdout }) => stdout === 'begun\n');

it('difference: A run that goes on', async () => {
  const id = await submit(SLOW);
  const { body } = await begun(id);
  expect(body).toMatchObject({ status: 'running', exit_code: 0, stdout: 'begun\n' });
  for (const name of ['finished_at', 'duration_ms', 'stderr', 'error', 'outcome'])
    expect(body).not.toHaveProperty(name);
  await kill(id);
});

it('difference: `DELETE` on a running execution', async () => {
  const id = await submit(SLOW);
  await begun(id);
  const killed = await kill(id);
  expect(killed).toMatchObject({ status: 200, body: { status: 'killed' } });
  expect(Object.keys(killed.body)).toEqual(['status']);
  const after = await door.fetched(id);
  expect(after.body).toMatchObject({ status: 'killed', stdout: 'begun\n', outcome: { kind: 'cancelled' } });
  // The place it had is free again: nothing of it runs on.
  expect((await door.run('print(1)')).body['stdout']).toBe('1\n');
  expect((await door.fetched(id)).body).toEqual(after.body);
  expect((await kill(id)).body).toEqual({ status: 'killed' });
});

it('difference: `DELETE` on a pending execution', async () => {
  const first = await submit(SLOW);
  await begun(first);
  const second = await submit('print("never")');
  const pending = await door.fetched(second);
  expect(pending.body).toMatchObject({ status: 'pending', exit_code: 0 });
  expect(pending.body).not.toHaveProperty('started_at');
  expect((await kill(second)).body).toEqual({ status: 'killed' });
  await kill(first);
  const after = await door.fetched(second);
  expect(after.body).toMatchObject({ status: 'killed' });
  expect(after.body).not.toHaveProperty('stdout');
  expect(after.body).not.toHaveProperty('started_at');
});

it('what has ended stays as it ended', async () => {
  const { body } = await door.run('print(1)');
  expect((await kill(String(body['execution_id']))).body).toEqual({ status: 'completed' });
  const failed = await door.run('import time\ntime.sleep(9)', { config: { timeout_seconds: 1 } });
  expect((await kill(String(failed.body['execution_id']))).body).toEqual({ status: 'failed' });
});

it('difference: Too many runs', async () => {
  const first = await submit(SLOW);
  await begun(first);
  const second = await submit(SLOW);
  const refused = await door.run('pass');
  expect(refused.status).toBe(429);
  expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
  expect(Object.keys(refused.body)).toEqual(['error']);
  await kill(second);
  await kill(first);
});

describe('difference: A client that disconnects from `sync` or `eval`', () => {
  /** The execution of the request that its client did not wait for, from the service's log. */
  const abandoned = async (route: string): Promise<string> => {
    for (const deadline = performance.now() + 10_000; ; await sleep(25)) {
      const lines = door.service.log().split('\n').filter(Boolean);
      const requests = lines.map(
        (line) => JSON.parse(line) as { route?: string; status?: number; execution_id?: string },
      );
      const found = requests.find((request) => request.route === route && request.status === 499);
      if (found?.execution_id !== undefined) return found.execution_id;
      if (performance.now() > deadline) throw new Error(`no abandoned request:\n${door.service.log()}`);
    }
  };

  it.each(['/api/v1/exec/sync', '/api/v1/eval'])('%s', async (route) => {
    const leaving = new AbortController();
    const answer = route.endsWith('sync')
      ? door.exec({ 'main.py': SLOW }, {}, { signal: leaving.signal })
      : door.eval({ code: SLOW }, { signal: leaving.signal });
    setTimeout(() => {
      leaving.abort();
    }, 1_000);
    await expect(answer).rejects.toThrow(/abort/i);
    const id = await abandoned(route);
    const { body } = await door.until(id, ({ status }) => status !== 'pending' && status !== 'running');
    expect(body).toMatchObject({ status: 'killed', outcome: { kind: 'cancelled', reason: 'client_disconnected' } });
    // The place is free at once, not after a minute.
    expect((await door.run('print(1)')).body['stdout']).toBe('1\n');
  });
});

it('difference: Finished executions', async () => {
  // It runs longer than records are kept, and is there when it has ended all the same.
  const { body } = await door.run(`import time\ntime.sleep(${String(TTL_S + 0.5)})\nprint("ended")`);
  expect((await door.fetched(body['execution_id'])).body).toMatchObject({ status: 'completed', stdout: 'ended\n' });
  await sleep(TTL_S * 1000 + 300);
  expect(await door.fetched(body['execution_id'])).toMatchObject({
    status: 404,
    body: { error: 'execution not found' },
  });
});

it('difference: Bodies above 100 MB', async () => {
  // The limit of this service is 1 MB.
  const answer = await door.exec(plainTar({ 'main.py': `#${'x'.repeat(3 << 20)}` }));
  expect(answer.status).toBe(413);
  expect(Object.keys(answer.body)).toEqual(['error']);
});

const containersOf = async (instance: string) => {
  const { stdout } = await run('docker', ['ps', '-aq', '--filter', `label=pyexec.instance=${instance}`]);
  return stdout.toString().split('\n').filter(Boolean);
};

/** Starts a run on a service that does nothing else, and waits until its container is there. */
async function startSlowRun(service: ServiceProcess): Promise<void> {
  const { contentType, body } = formOf(tarPart(plainTar({ 'main.py': SLOW })), metadataPart({ entrypoint: 'main.py' }));
  const init = { method: 'POST', headers: { 'content-type': contentType }, body };
  expect((await fetch(`${service.url}/api/v1/exec/async`, init)).status).toBe(202);
  const deadline = performance.now() + 10_000;
  while ((await containersOf(service.instance)).length === 0) {
    if (performance.now() > deadline) throw new Error('no container was started');
    await sleep(50);
  }
}

it('difference: Containers after a crash', async () => {
  const PYEXEC_INSTANCE = `test-${randomUUID()}`;
  await using crashed = await ServiceProcess.start({ PYEXEC_INSTANCE });
  await startSlowRun(crashed);
  crashed.signal('SIGKILL');
  await crashed.ended;
  expect(await containersOf(PYEXEC_INSTANCE)).toHaveLength(1);
  await using _next = await ServiceProcess.start({ PYEXEC_INSTANCE });
  expect(await containersOf(PYEXEC_INSTANCE)).toEqual([]);
});

it('difference: Shutdown', async () => {
  await using service = await ServiceProcess.start({ PYEXEC_SHUTDOWN_GRACE: '0' });
  await startSlowRun(service);
  service.signal('SIGTERM');
  expect(await service.ended).toMatchObject({ signal: null });
  expect(await containersOf(service.instance)).toEqual([]);
});
