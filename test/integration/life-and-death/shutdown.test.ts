/** SIGTERM and what else ends, or must not end, the service (F25, F26, F31, F34). */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { containersOf, until, untilGone } from '../../support/docker-containers.ts';
import { SLIM } from '../../support/images.ts';
import { freePort, runService, ServiceProcess } from '../../support/service-process.ts';

const running = async (instance: string) =>
  (await containersOf(instance)).filter(({ State }) => State === 'running').length;

test('F25: SIGTERM lets runs finish within the grace, cancels the rest, refuses new work, leaves nothing, exits 0', async () => {
  const service = await ServiceProcess.start({ PYEXEC_SHUTDOWN_GRACE: '8', PYEXEC_MAX_CONCURRENT: '8' });
  const exec = async (code: string) => (await service.exec(code)).json() as Promise<Record<string, unknown>>;
  const long = Promise.all([1, 2, 3, 4].map(() => exec('import time; print("begun", flush=True); time.sleep(120)')));
  const short = Promise.all([1, 2, 3, 4].map(() => exec('import time; time.sleep(4); print("done")')));
  await until('all of them run', async () => (await running(service.instance)) === 8, 40_000);

  service.signal('SIGTERM');
  await until('new work is refused', async () => (await service.exec('print(1)')).status === 503);
  const refused = await service.exec('print(1)');
  expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
  expect(await refused.json()).toMatchObject({ code: 'shutting_down', retryable: true });
  expect((await service.get('/ready')).status).toBe(503);
  expect((await service.get('/health')).status).toBe(200);

  for (const execution of await short) expect(execution).toMatchObject({ status: 'completed', stdout: 'done\n' });
  for (const execution of await long) {
    expect(execution).toMatchObject({
      status: 'killed',
      stdout: 'begun\n',
      outcome: { kind: 'cancelled', reason: 'shutdown' },
    });
  }
  expect(await service.ended).toMatchObject({ code: 0, signal: null, stderr: '' });
  expect(await containersOf(service.instance)).toEqual([]);
}, 120_000);

describe('SIGTERM', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s while nothing runs ends it at once, its warm sandboxes with it',
    async (signal) => {
      const service = await ServiceProcess.start({ PYEXEC_POOL_SIZE: '2' });
      await until('the pool is full', async () => (await running(service.instance)) === 2);
      service.signal(signal);
      expect(await service.ended).toMatchObject({ code: 0, stderr: '' });
      expect(await containersOf(service.instance)).toEqual([]);
    },
  );

  test('while a request waits in the queue ends that too', async () => {
    const service = await ServiceProcess.start({ PYEXEC_SHUTDOWN_GRACE: '0', PYEXEC_MAX_CONCURRENT: '1' });
    const answers = [1, 2, 3].map(async () => (await service.exec('import time; time.sleep(60)')).json());
    await until('one runs', async () => (await running(service.instance)) === 1);
    await sleep(200);
    service.signal('SIGTERM');
    for (const answer of await Promise.all(answers)) expect(answer).toMatchObject({ status: 'killed' });
    expect(await service.ended).toMatchObject({ code: 0 });
    expect(await containersOf(service.instance)).toEqual([]);
  });
});

test('SIGTERM at any moment of the boot ends it, and what it had begun with it', async () => {
  const began = performance.now();
  const timed = await ServiceProcess.start({ PYEXEC_POOL_SIZE: '2' });
  const bootMs = performance.now() - began;
  await timed[Symbol.asyncDispose]();
  let seenThrough = 0;
  // Later and later, until a few came while there was something to be undone.
  for (let part = 0.4; seenThrough < 4; part += 0.1) {
    expect(part, 'it boots').toBeLessThan(10);
    const instance = `test-boot-${randomUUID()}`;
    const { code, signal, stderr } = await runService(
      {
        PYEXEC_INSTANCE: instance,
        PYEXEC_PORT: String(await freePort()),
        PYEXEC_POOL_SIZE: '2',
        PYEXEC_DEFAULT_IMAGE: SLIM,
      },
      [],
      { name: 'SIGTERM', afterMs: part * bootMs },
    );
    // Before a line of ours runs there is nobody who could handle it, and nothing to be left.
    expect([code, signal, stderr], `after ${String(Math.round(part * bootMs))} ms`).toEqual(
      code === 0 ? [0, null, ''] : [null, 'SIGTERM', ''],
    );
    if (code === 0) seenThrough += 1;
    expect(await containersOf(instance)).toEqual([]);
  }
}, 120_000);

test('F26: a second SIGTERM ends it now, and after the next start nothing is left', async () => {
  const service = await ServiceProcess.start();
  const lost = service.exec('import time; time.sleep(120)').catch(() => undefined);
  await until('it runs', async () => (await running(service.instance)) === 1);
  service.signal('SIGTERM');
  await until('it drains', async () => (await service.get('/ready')).status === 503);
  service.signal('SIGTERM');
  const ended = await Promise.race([service.ended, sleep(15_000, undefined)]);
  expect(ended, 'it has ended long before the grace is over').toBeDefined();
  await lost;
  await using _next = await ServiceProcess.start({ PYEXEC_INSTANCE: service.instance });
  await untilGone(service.instance);
});

test('F31: whoever reads the log goes away, and the service lives', async () => {
  await using service = await ServiceProcess.start({ PYEXEC_LOG_LEVEL: 'trace' });
  expect((await service.exec('print(1)')).status).toBe(200);
  service.closeStdout();
  for (let turn = 0; turn < 20; turn += 1) expect((await service.get('/health')).status).toBe(200);
  for (let turn = 0; turn < 3; turn += 1) {
    expect(await (await service.exec('print("alive")')).json()).toMatchObject({ stdout: 'alive\n' });
  }
});

describe('a client that goes away', () => {
  const PROGRAM = 'import time; print("begun", flush=True); time.sleep(3); print("done")';

  /** Starts a streamed run, reads until its first output, and leaves. */
  async function leave(service: ServiceProcess, detach: boolean): Promise<string> {
    const controller = new AbortController();
    const response = await service.exec(PROGRAM, {
      headers: { accept: 'application/x-ndjson' },
      signal: controller.signal,
      detach,
    });
    const id = response.headers.get('x-execution-id') ?? '';
    const decoder = new TextDecoder();
    let text = '';
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      if (text.includes('begun')) break;
    }
    controller.abort();
    return id;
  }

  test('cancels its run', async () => {
    await using service = await ServiceProcess.start();
    const id = await leave(service, false);
    await until('it is cancelled', async () => (await service.execution(id)).status === 'killed', 2_000);
    expect(await service.execution(id)).toMatchObject({
      outcome: { kind: 'cancelled', reason: 'client_disconnected' },
      stdout: 'begun\n',
    });
    await untilGone(service.instance);
  });

  test('that waits for the whole answer cancels its run, too', async () => {
    await using service = await ServiceProcess.start();
    const controller = new AbortController();
    const waiting = service.exec('import time; time.sleep(60)', { signal: controller.signal });
    await until('it runs', async () => (await running(service.instance)) === 1);
    controller.abort();
    await expect(waiting).rejects.toThrow();
    await untilGone(service.instance);
  });

  test('and detached its run finds it finished when it comes back', async () => {
    await using service = await ServiceProcess.start();
    const id = await leave(service, true);
    await until('it has finished', async () => (await service.execution(id)).status === 'completed');
    expect((await service.execution(id)).stdout).toBe('begun\ndone\n');
  });
});
