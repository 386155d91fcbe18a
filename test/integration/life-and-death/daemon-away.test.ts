/** A stopped or hung Docker daemon: refusal in time, health that tells the truth, recovery by itself (F09, F10). */
import { ANONYMOUS } from '../../../src/domain/caller.ts';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { RunRequest } from '../../../src/domain/plan.ts';
import { containersOf, docker, until, untilGone } from '../../support/docker-containers.ts';
import { DockerSocketProxy, type Fault, type ProxiedCall } from '../../support/docker-socket-proxy.ts';
import { projectOf, runRequest, startEngine, type TestEngine } from '../../support/engine.ts';
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

interface Fallible {
  readonly proxy: DockerSocketProxy;
  readonly instance: string;
  readonly start: (settings?: Readonly<Record<string, string>>) => Promise<TestEngine>;
}

/** An engine, a proxy and a name of its own; what is left of them afterwards is nothing. */
async function endOf(end: (fallible: Fallible) => Promise<void>): Promise<string> {
  await using proxy = await DockerSocketProxy.start();
  const instance = `test-deadline-${randomUUID()}`;
  const started: TestEngine[] = [];
  const start = async (settings: Readonly<Record<string, string>> = {}) => {
    const engine = await startEngine({
      PYEXEC_DOCKER_SOCKET: proxy.socketPath,
      PYEXEC_INSTANCE: instance,
      PYEXEC_REAP_INTERVAL: '1',
      ...settings,
    });
    started.push(engine);
    return engine;
  };
  try {
    await end({ proxy, instance, start });
    for (const engine of started) expect((await engine.run('print(2)')).stdout).toBe('2\n');
    for (const engine of started) await engine[Symbol.asyncDispose]();
    expect(await containersOf(instance)).toEqual([]);
    return 'as told';
  } catch (error) {
    for (const engine of started) await Promise.allSettled([engine[Symbol.asyncDispose]()]);
    return String(error);
  }
}

/** The longest deadline is 30 s; a busy machine comes on top. */
async function endsIn(kind: string, { start, proxy }: Fallible, call: ProxiedCall, fault: Fault): Promise<void> {
  const engine = await start();
  proxy.fail(call, fault, 1);
  const began = performance.now();
  expect((await engine.run('print(1)')).outcome).toMatchObject({ kind });
  expect(performance.now() - began).toBeLessThan(60_000);
}

/** Two are made at a time, and one takes 20 s to fail: the others do not have to see it themselves. */
async function manyEnd({ start, proxy }: Fallible, poolSize: string): Promise<void> {
  const engine = await start({ PYEXEC_MAX_CONCURRENT: '8', PYEXEC_POOL_SIZE: poolSize });
  proxy.fail('create', 'hang');
  const began = performance.now();
  const all = await Promise.all(Array.from({ length: 8 }, () => engine.run('print(1)')));
  proxy.heal();
  for (const { outcome } of all)
    expect(outcome).toMatchObject({ kind: 'infrastructure_error', code: 'sandbox_unavailable' });
  expect(performance.now() - began).toBeLessThan(60_000);
}

/** A run that has printed, and its container. */
async function printed({ start, instance }: Fallible, request: Partial<RunRequest> = {}) {
  const { engine } = await start();
  const program = 'import time; print("half", flush=True); time.sleep(100)';
  const submitted = await engine.executions.submit(runRequest(request), await projectOf(engine, program), ANONYMOUS);
  await until('it prints', async () => (await submitted.snapshot()).stdout === 'half\n');
  const [container] = await containersOf(instance);
  return { submitted, container: docker.getContainer(container?.Id ?? '') };
}

const oneReady = ({ engine }: TestEngine) =>
  until('one is ready', async () => (await engine.metrics.render()).body.includes('pyexec_pool_ready 1'));

const CASES: Readonly<Record<string, (fallible: Fallible) => Promise<void>>> = {
  'create hangs': (it) => endsIn('infrastructure_error', it, 'create', 'hang'),
  'create hangs, for many at once': (it) => manyEnd(it, '0'),
  'create hangs, for many who wait for a warm sandbox': (it) => manyEnd(it, '0-1'),
  'attach hangs': (it) => endsIn('infrastructure_error', it, 'attach', 'hang'),
  'start hangs': (it) => endsIn('infrastructure_error', it, 'start', 'hang'),
  'start says it was done': (it) => endsIn('infrastructure_error', it, 'start', 'garbage'),
  'start says something else': (it) => endsIn('infrastructure_error', it, 'start', 'shape'),
  'remove hangs': (it) => endsIn('exited', it, 'remove', 'hang'),
  // The reaper finds it after a minute.
  'remove says it was done': async (it) => {
    await endsIn('exited', it, 'remove', 'garbage');
    await untilGone(it.instance, 90_000);
  },
  'remove says it was gone': async (it) => {
    await endsIn('exited', it, 'remove', 404);
    await untilGone(it.instance, 90_000);
  },
  'update hangs': async ({ proxy, start }) => {
    const engine = await start({ PYEXEC_POOL_SIZE: '1' });
    await oneReady(engine);
    proxy.fail('update', 'hang');
    expect((await engine.run('print(1)', { limits: { pids: 77 } })).stdout).toBe('1\n');
  },
  'inspect hangs': async (it) => {
    const { submitted, container } = await printed(it);
    it.proxy.fail('inspect', 'hang');
    await container.kill();
    await submitted.ended;
    expect(submitted.result().outcome).toMatchObject({ kind: 'infrastructure_error', code: 'sandbox_failed' });
  },
  'list_images hangs': async ({ proxy, start }) => {
    const { engine } = await start();
    proxy.fail('list_images', 'hang', 1);
    await expect(engine.images()).rejects.toMatchObject({ code: 'sandbox_unavailable' });
  },
  'inspect_image hangs': async ({ proxy, start }) => {
    const { run } = await start();
    proxy.fail('inspect_image', 'hang', 1);
    await expect(run('print(1)', { image: 'pyexec/slim' })).rejects.toMatchObject({ code: 'sandbox_unavailable' });
  },
  'ping hangs': async ({ proxy, start }) => {
    const { engine } = await start();
    proxy.fail('ping', 'hang', 1);
    expect((await engine.readiness()).checks['docker']?.ok).toBe(false);
  },
  'all of it hangs, for as long as the pool asks its members': async ({ proxy, instance, start }) => {
    const engine = await start({ PYEXEC_POOL_SIZE: '1' });
    await oneReady(engine);
    const members = (await containersOf(instance)).map(({ Id }) => Id);
    const letGo = proxy.holdAttached();
    proxy.fail('ping', 'hang');
    const pings = () => proxy.counts.get('ping') ?? 0;
    const before = pings();
    await until('the member did not answer', () => pings() > before, 30_000);
    // As long as the daemon may take to answer that it is there.
    await sleep(4_000);
    proxy.heal();
    letGo();
    // An answer that comes late is not taken for one of the run's.
    expect((await containersOf(instance)).map(({ Id }) => Id)).toEqual(members);
    expect((await engine.run('print(1)')).stdout).toBe('1\n');
  },
  'a warm sandbox is stopped by a signal just before its run': async ({ instance, start }) => {
    const engine = await start({ PYEXEC_POOL_SIZE: '1' });
    await oneReady(engine);
    const [member] = await containersOf(instance);
    await docker.getContainer(member?.Id ?? '').kill({ signal: 'SIGSTOP' });
    expect((await engine.run('print(1)')).outcome).toMatchObject({
      kind: 'infrastructure_error',
      code: 'sandbox_failed',
    });
  },
  'a program is paused from outside': async (it) => {
    const { submitted, container } = await printed(it, { limits: { wall_ms: 1_500 } });
    await container.pause();
    await submitted.ended;
    expect(submitted.result().outcome).toMatchObject({ kind: 'timed_out', limit: 'wall_ms' });
  },
  'a program is removed from outside': async (it) => {
    const { submitted, container } = await printed(it);
    await container.remove({ force: true });
    await submitted.ended;
    expect(submitted.result().outcome).toMatchObject({ kind: 'infrastructure_error', code: 'sandbox_failed' });
    expect((await submitted.snapshot()).stdout).toBe('half\n');
  },
};

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

  test('F13: what only a deadline ends: no call that never answers, or answers and does nothing, is waited for', async () => {
    const ends = await Promise.all(Object.entries(CASES).map(async ([name, end]) => [name, await endOf(end)] as const));
    expect(Object.fromEntries(ends)).toEqual(Object.fromEntries(Object.keys(CASES).map((name) => [name, 'as told'])));
  }, 150_000);
});
