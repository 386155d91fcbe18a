/**
 * Each call to the daemon failing in each way (F12, F13, F14, F16): an honest
 * outcome, one terminal event, and no container left once the daemon is well.
 */
import { ANONYMOUS } from '../../../src/domain/caller.ts';
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { isTerminal, type ExecutionEvent } from '../../../src/domain/events.ts';
import type { Execution } from '../../../src/domain/execution.ts';
import { containersOf, docker, placeContainer, until, untilGone } from '../../support/docker-containers.ts';
import { DockerSocketProxy, type Fault, type ProxiedCall } from '../../support/docker-socket-proxy.ts';
import { projectOf, runRequest, startEngine, type TestEngine } from '../../support/engine.ts';
import { LABEL } from '../../../src/sandbox/container-labels.ts';
import { eventsOf } from '../../support/events.ts';

const INSTANCE = `test-faults-${randomUUID()}`;
const never = new AbortController().signal;

let proxy: DockerSocketProxy;
let engine: TestEngine;

beforeAll(async () => {
  proxy = await DockerSocketProxy.start();
  engine = await startEngine({
    PYEXEC_DOCKER_SOCKET: proxy.socketPath,
    PYEXEC_INSTANCE: INSTANCE,
    PYEXEC_ALLOWED_IMAGES: 'pyexec/*',
    PYEXEC_REAP_INTERVAL: '1',
  });
});
afterEach(async () => {
  proxy.heal();
  await untilGone(INSTANCE, 60_000);
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
});

async function submit(program: string) {
  const { executions } = engine.engine;
  return executions.submit(runRequest(), await projectOf(engine.engine, program), ANONYMOUS);
}

/** Runs the program and checks what is true of every execution, whatever failed. */
async function run(program: string): Promise<Execution> {
  const submitted = await submit(program);
  const events: ExecutionEvent[] = [];
  for await (const event of eventsOf(submitted.follow(0, never))) events.push(event);
  expect(events.filter(isTerminal)).toEqual([events.at(-1)]);
  const execution = await submitted.snapshot();
  const { outcome } = execution;
  expect(execution.exit_code === 0).toBe(outcome?.kind === 'exited' && outcome.exit_code === 0);
  return execution;
}

const unavailable = { kind: 'infrastructure_error', code: 'sandbox_unavailable' };
const imageGone = { kind: 'infrastructure_error', code: 'image_unavailable' };
const fine = { kind: 'exited', exit_code: 0 };
/** Those that hang, and those that are believed until a deadline, are in daemon-away. */
const FAULTS: readonly Fault[] = [404, 409, 500, 'garbage', 'shape', 'eof', 'lost', 'cut', 'truncated', 'slow'];

const READS_ITS_LIMIT = `
for path in ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"):
    try: print(open(path).read().strip()); break
    except FileNotFoundError: pass
`;

/** What a run ends in when the call fails once; the daemon's own words never reach the caller. */
const TABLE: readonly (readonly [ProxiedCall, Fault, object])[] = [
  ...FAULTS.map(
    (fault) => ['create', fault, fault === 404 ? imageGone : fault === 'slow' ? fine : unavailable] as const,
  ),
  ...FAULTS.map((fault) => ['attach', fault, fault === 'slow' ? fine : unavailable] as const),
  // Nothing is read from the answer to a start: one that looks like success is believed, and the silence after it is not.
  ...FAULTS.filter((fault) => !isBelieved(fault)).map(
    (fault) => ['start', fault, fault === 'slow' || fault === 'truncated' ? fine : unavailable] as const,
  ),
  // A removal that the daemon calls done or gone is done; the reaper finds what it was wrong about.
  ...FAULTS.filter((fault) => fault !== 404 && !isBelieved(fault)).map((fault) => ['remove', fault, fine] as const),
  ...FAULTS.map((fault) => ['list', fault, fine] as const),
];

function isBelieved(fault: Fault): boolean {
  return fault === 'garbage' || fault === 'shape';
}

describe('F13: a call that fails once', () => {
  test.each(TABLE)('%s: %s', async (call, fault, outcome) => {
    const before = proxy.counts.get(call) ?? 0;
    proxy.fail(call, fault, 1);
    const execution = await run('print("ok")');
    expect(execution.outcome).toMatchObject(outcome);
    if (outcome === fine) expect(execution.stdout).toBe('ok\n');
    expect(JSON.stringify(execution)).not.toMatch(/injected|ECONN|socket|garbage/i);
    await until(`${call} was called`, () => (proxy.counts.get(call) ?? 0) > before);
  });
});

describe('F13: limits that are changed in a warm sandbox', () => {
  test.each(FAULTS)('update: %s', async (fault) => {
    const instance = `${INSTANCE}-${String(fault)}`;
    const warm = await startEngine({
      PYEXEC_DOCKER_SOCKET: proxy.socketPath,
      PYEXEC_INSTANCE: instance,
      PYEXEC_POOL_SIZE: '1',
    });
    try {
      await until('one is ready', async () =>
        (await warm.engine.metrics.render()).body.includes('pyexec_pool_ready 1'),
      );
      const before = proxy.counts.get('update') ?? 0;
      proxy.fail('update', fault);
      const execution = await warm.run(READS_ITS_LIMIT, { limits: { pids: 77 } });
      // Never a program on limits it may not have: it gets a sandbox that was made with them.
      expect(execution).toMatchObject({ outcome: fine, stdout: '77\n' });
      expect((proxy.counts.get('update') ?? 0) - before).toBe(1);
    } finally {
      await warm[Symbol.asyncDispose]();
    }
    await untilGone(instance);
  });
});

test('F12: a removal that is refused again and again is tried again, and the next run does not wait for it', async () => {
  proxy.fail('remove', 500, 3);
  expect((await run('print(1)')).outcome).toEqual(fine);
  expect((await run('print(2)')).stdout).toBe('2\n');
  await untilGone(INSTANCE, 30_000);
});

describe('a sandbox that is ended from outside', () => {
  test.each<Fault | 'no fault'>(['no fault', ...FAULTS])('inspect: %s', async (fault) => {
    const submitted = await submit('import time; print("half", flush=True); time.sleep(60)');
    await until('it prints', async () => (await submitted.snapshot()).stdout === 'half\n');
    if (fault !== 'no fault') proxy.fail('inspect', fault);
    const [container] = await containersOf(INSTANCE);
    await docker.getContainer(container?.Id ?? '').kill();
    await submitted.ended;
    expect(await submitted.snapshot()).toMatchObject({
      status: 'failed',
      exit_code: -1,
      stdout: 'half\n',
      outcome: { kind: 'infrastructure_error', code: 'sandbox_failed' },
    });
  });
});

describe('a sandbox that does not react to being cancelled', () => {
  test.each<Fault | 'no fault'>(['no fault', ...FAULTS, 'hang'])('kill: %s', async (fault) => {
    const submitted = await submit('import time; print("half", flush=True); time.sleep(60)');
    await until('it prints', async () => (await submitted.snapshot()).stdout === 'half\n');
    const [container] = await containersOf(INSTANCE);
    await docker.getContainer(container?.Id ?? '').pause();
    if (fault !== 'no fault') proxy.fail('kill', fault);
    submitted.cancel('requested');
    await until('it has ended', () => submitted.result().outcome !== undefined);
    expect(await submitted.snapshot()).toMatchObject({
      status: 'killed',
      stdout: 'half\n',
      outcome: { kind: 'cancelled', reason: 'requested' },
    });
  });
});

test('F14: a stream that breaks while the program runs is a failure of ours, never exit 0', async () => {
  const submitted = await submit('import time; print("half", flush=True); time.sleep(3); print("whole")');
  await until('it prints', async () => (await submitted.snapshot()).stdout === 'half\n');
  proxy.dropAttached();
  await submitted.ended;
  expect(await submitted.snapshot()).toMatchObject({
    status: 'failed',
    exit_code: -1,
    stdout: 'half\n',
    outcome: { kind: 'infrastructure_error', code: 'sandbox_failed' },
  });
});

describe('F16: an image', () => {
  const withImage = async (image: string) =>
    engine.engine.executions.submit(runRequest({ image }), await projectOf(engine.engine, 'print(1)'), ANONYMOUS);

  test('that is not on the machine is a 503, and not the caller’s fault', async () => {
    await expect(withImage('pyexec/there-is-no-such-image')).rejects.toMatchObject({
      code: 'image_unavailable',
      status: 503,
    });
  });

  test('that may not be run is a 403, whether it is there or not', async () => {
    await expect(withImage('debian')).rejects.toMatchObject({ code: 'image_not_allowed', status: 403 });
  });

  test.each(FAULTS.filter((fault) => fault !== 'slow'))('that the daemon answers %s for', async (fault) => {
    proxy.fail('inspect_image', fault);
    const code = fault === 404 ? 'image_unavailable' : 'sandbox_unavailable';
    await expect(withImage('pyexec/slim')).rejects.toMatchObject({ code, status: 503 });
  });

  test.each(FAULTS.filter((fault) => fault !== 'slow'))('the list of images is a 503 while it is %s', async (fault) => {
    proxy.fail('list_images', fault);
    await expect(engine.engine.images()).rejects.toMatchObject({ code: 'sandbox_unavailable', status: 503 });
    proxy.heal();
    expect((await engine.engine.images()).length).toBeGreaterThan(0);
  });
});

test.each<Fault>([404, 409, 500, 'eof', 'lost', 'cut'])(
  'readiness is red while ping is %s, and green again after it',
  async (fault) => {
    const { readiness } = engine.engine;
    proxy.fail('ping', fault);
    await until('it is red', async () => !(await readiness()).ready);
    expect((await readiness()).checks['docker']?.ok).toBe(false);
    proxy.heal();
    await until('it is green', async () => (await readiness()).ready);
  },
);

test.each<Fault>([500, 'garbage', 'shape', 'cut', 'truncated', 'eof'])(
  'the reaper goes on after list was %s',
  async (fault) => {
    proxy.fail('list', fault, 2);
    const labels = { [LABEL.instance]: INSTANCE, [LABEL.boot]: 'before', [LABEL.expires]: '9999999999' };
    await using orphan = await placeContainer('pyexec/slim:latest', labels);
    await until('the orphan is gone', async () => !(await orphan.exists()));
  },
);
