/** A stopped or hung Docker daemon: refusal in time, health that tells the truth, recovery by itself (F09, F10). */
import { ANONYMOUS } from '../../../src/domain/caller.ts';
import { describe, expect, test } from 'vitest';
import { containersOf, until, untilGone } from '../../support/docker-containers.ts';
import { DockerSocketProxy } from '../../support/docker-socket-proxy.ts';
import { projectOf, runRequest, startEngine } from '../../support/engine.ts';
import { freePort, runService, ServiceProcess } from '../../support/service-process.ts';

async function refusal(response: Response) {
  const { code, retryable } = (await response.json()) as { code: string; retryable: boolean };
  return { status: response.status, code, retryable, retryAfter: Number(response.headers.get('retry-after')) };
}

const UNAVAILABLE = {
  status: 503,
  code: 'sandbox_unavailable',
  retryable: true,
  retryAfter: expect.any(Number) as number,
};
const statusOf = async (service: ServiceProcess, path: string) => (await service.get(path)).status;
const becomes = (service: ServiceProcess, path: string, status: number) =>
  until(`${path} is ${String(status)}`, async () => (await statusOf(service, path)) === status, 30_000);

test('F09: a stopped daemon is 503 with Retry-After, /ready is red, /health is green, and all is well when it is back', async () => {
  await using proxy = await DockerSocketProxy.start();
  await using service = await ServiceProcess.start({ PYEXEC_DOCKER_SOCKET: proxy.socketPath });
  expect((await service.exec('print(1)')).status).toBe(200);
  expect(await statusOf(service, '/ready')).toBe(200);

  const running = service.exec('import time; print("half", flush=True); time.sleep(60)');
  await until('it runs', async () => (await containersOf(service.instance)).some(({ State }) => State === 'running'));
  proxy.stop();
  await becomes(service, '/ready', 503);
  expect(await statusOf(service, '/health')).toBe(200);
  const answers = await Promise.all([1, 2, 3].map(async () => refusal(await service.exec('print(1)'))));
  for (const answer of answers) {
    expect(answer).toEqual(UNAVAILABLE);
    expect(answer.retryAfter).toBeGreaterThan(0);
  }
  // What ran when the daemon went is not known to have ended: it is never reported as success.
  expect((await refusal(await running)).status).toBe(503);

  await proxy.resume();
  await becomes(service, '/ready', 200);
  expect(await (await service.exec('print("back")')).json()).toMatchObject({ exit_code: 0, stdout: 'back\n' });
  await untilGone(service.instance, 40_000);
}, 120_000);

describe.concurrent('F10: a daemon that hangs', () => {
  test('holds no request beyond the deadline of its calls, and is survived', async () => {
    await using proxy = await DockerSocketProxy.start();
    await using service = await ServiceProcess.start({ PYEXEC_DOCKER_SOCKET: proxy.socketPath });
    const running = service.exec('import time; print("half", flush=True); time.sleep(60)', {
      headers: { accept: 'application/json' },
    });
    await until('it runs', async () => (await containersOf(service.instance)).some(({ State }) => State === 'running'));
    proxy.hang();
    await becomes(service, '/ready', 503);
    expect(await statusOf(service, '/health')).toBe(200);
    const started = performance.now();
    expect(await refusal(await service.exec('print(1)'))).toEqual(UNAVAILABLE);
    // Creating a container may take 20 s; nothing comes on top of that but a busy machine.
    expect(performance.now() - started).toBeLessThan(40_000);

    await proxy.resume();
    expect((await running).status).toBe(503);
    await becomes(service, '/ready', 200);
    expect((await service.exec('print(1)')).status).toBe(200);
    await untilGone(service.instance, 40_000);
  }, 120_000);

  test('does not keep a run from its deadline', async () => {
    await using proxy = await DockerSocketProxy.start();
    await using engine = await startEngine({ PYEXEC_DOCKER_SOCKET: proxy.socketPath });
    const submitted = await engine.engine.executions.submit(
      runRequest({ limits: { wall_ms: 1500 } }),
      await projectOf(engine.engine, 'import time; print("half", flush=True); time.sleep(60)'),
      ANONYMOUS,
    );
    await until('it prints', async () => (await submitted.snapshot()).stdout !== '');
    proxy.hang();
    await until('the host ends it', () => submitted.result().outcome !== undefined, 30_000);
    expect(await submitted.snapshot()).toMatchObject({
      outcome: { kind: 'timed_out', limit: 'wall_ms' },
      exit_code: 124,
      stdout: 'half\n',
    });
    await proxy.resume();
  }, 90_000);

  test('keeps the service from starting, and it says so in time', async () => {
    await using proxy = await DockerSocketProxy.start();
    proxy.hang();
    const { code, stderr } = await runService({
      PYEXEC_DOCKER_SOCKET: proxy.socketPath,
      PYEXEC_PORT: String(await freePort()),
    });
    expect(stderr).toMatch(/^pyexec does not start: no Docker daemon answers at [^\n]+\n$/);
    expect(code).toBeGreaterThan(0);
  });

  test.each([
    ['create', 'infrastructure_error'],
    ['attach', 'infrastructure_error'],
    ['start', 'infrastructure_error'],
    ['remove', 'exited'],
  ] as const)(
    'F13: %s that never answers',
    async (call, kind) => {
      await using proxy = await DockerSocketProxy.start();
      const instance = `test-hang-${call}-${String(process.pid)}`;
      {
        await using engine = await startEngine({ PYEXEC_DOCKER_SOCKET: proxy.socketPath, PYEXEC_INSTANCE: instance });
        proxy.fail(call, 'hang', 1);
        const started = performance.now();
        expect((await engine.run('print(1)')).outcome).toMatchObject({ kind });
        // The longest deadline is 30 s.
        expect(performance.now() - started).toBeLessThan(60_000);
        expect((await engine.run('print(2)')).stdout).toBe('2\n');
      }
      expect(await containersOf(instance)).toEqual([]);
    },
    120_000,
  );
});
