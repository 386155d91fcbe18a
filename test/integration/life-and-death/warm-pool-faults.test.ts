/**
 * A pool of two under load and under faults: every caller gets its own answer, or a failure that says it is ours; nothing
 * is left behind, and the pool has its size again.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ANONYMOUS } from '../../../src/domain/caller.ts';
import type { Execution } from '../../../src/domain/execution.ts';
import type { RunRequest } from '../../../src/domain/plan.ts';
import { containersOf, docker, until } from '../../support/docker-containers.ts';
import { DockerSocketProxy, type Fault, type ProxiedCall } from '../../support/docker-socket-proxy.ts';
import { projectOf, runRequest, startEngine, type TestEngine } from '../../support/engine.ts';
import { ServiceProcess } from '../../support/service-process.ts';

const INSTANCE = `test-pool-${randomUUID()}`;
const SIZE = 2;

let proxy: DockerSocketProxy;
let engine: TestEngine;
beforeAll(async () => {
  proxy = await DockerSocketProxy.start();
  engine = await startEngine({
    PYEXEC_DOCKER_SOCKET: proxy.socketPath,
    PYEXEC_INSTANCE: INSTANCE,
    PYEXEC_POOL_SIZE: String(SIZE),
    PYEXEC_MAX_CONCURRENT: '8',
    PYEXEC_MAX_QUEUE: '100',
    PYEXEC_REAP_INTERVAL: '1',
  });
  await isFull();
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  expect(await containersOf(INSTANCE)).toEqual([]);
  await proxy[Symbol.asyncDispose]();
});

/** The pool has its size, and there is no container but its members. */
async function isFull(): Promise<void> {
  await until(
    'the pool has its size and nothing else is there',
    async () => {
      const { body } = await engine.engine.metrics.render();
      return body.includes(`pyexec_pool_ready ${String(SIZE)}\n`) && (await containersOf(INSTANCE)).length === SIZE;
    },
    40_000,
  );
}

/** Says who it is by its argument, its stdin, its project and its limit; and whether anybody was here before. */
const WHO = `
import os, sys
open("/tmp/mark", "x"); open("/work/mark", "x")
for path in ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"):
    try: pids = open(path).read().strip(); break
    except FileNotFoundError: pass
print(sys.argv[1], sys.stdin.read(), open("name").read(), pids, flush=True)
`;

async function submit(n: number, program = WHO, more: Partial<RunRequest> = {}) {
  const name = String(n);
  const request = { args: [name], stdin: Buffer.from(name), ...more };
  const project = await projectOf(engine.engine, { 'main.py': program, name });
  return engine.engine.executions.submit(runRequest(request), project, ANONYMOUS);
}
async function answerOf(n: number, program?: string, more?: Partial<RunRequest>): Promise<Execution> {
  const submitted = await submit(n, program, more);
  await submitted.ended;
  return submitted.snapshot();
}

const own = (n: number, pids = 128) => `${String(n)} ${String(n)} ${String(n)} ${String(pids)}\n`;
/** Every third wants a limit of its own. */
const pidsOf = (n: number) => (n % 3 === 0 ? 100 + n : 128);
const numbered = (count: number) => Array.from({ length: count }, (_, n) => n);
const limitsOf = (n: number): Partial<RunRequest> => (n % 3 === 0 ? { limits: { pids: pidsOf(n) } } : {});

test('fifty at once: each gets its own answer', async () => {
  const all = await Promise.all(numbered(50).map((n) => answerOf(n, WHO, limitsOf(n))));
  expect(all.map(({ stdout, stderr }) => `${stdout ?? ''}${stderr ?? ''}`)).toEqual(
    numbered(50).map((n) => own(n, pidsOf(n))),
  );
  await isFull();
});

test('while members and runs are killed or removed, an answer is the right one or a failure of ours', async () => {
  let isOver = false;
  let hurtOnes = 0;
  const hurt = (async () => {
    for (let turn = 0; !isOver; turn += 1) {
      const all = await containersOf(INSTANCE);
      const container = docker.getContainer(all[turn % Math.max(1, all.length)]?.Id ?? '');
      await (turn % 2 === 0 ? container.kill() : container.remove({ force: true })).then(
        () => (hurtOnes += 1),
        () => undefined,
      );
      await sleep(20 + ((turn * 37) % 120));
    }
  })();
  const all = await Promise.all(numbered(60).map((n) => answerOf(n, WHO, limitsOf(n))));
  isOver = true;
  await hurt;
  expect(hurtOnes, 'the faults met something').toBeGreaterThan(5);
  for (const [n, { outcome, stdout, stderr }] of all.entries()) {
    if (outcome?.kind === 'exited') expect(`${stdout ?? ''}${stderr ?? ''}`).toBe(own(n, pidsOf(n)));
    else {
      expect(outcome).toMatchObject({ kind: 'infrastructure_error' });
      expect(['', own(n, pidsOf(n))]).toContain(stdout);
    }
  }
  await isFull();
  expect((await answerOf(7)).stdout).toBe(own(7));
}, 120_000);

test('callers who go at any moment: the others get theirs', async () => {
  const all = await Promise.all(
    numbered(60).map(async (n) => {
      const submitted = await submit(n, WHO, limitsOf(n));
      if (n % 2 === 1) {
        await sleep((n * 53) % 400);
        submitted.cancel('client_disconnected');
      }
      await submitted.ended;
      return submitted.snapshot();
    }),
  );
  expect(all.filter(({ outcome }) => outcome?.kind === 'cancelled').length).toBeGreaterThan(5);
  for (const [n, { outcome, stdout, stderr }] of all.entries()) {
    if (outcome?.kind === 'exited') expect(`${stdout ?? ''}${stderr ?? ''}`).toBe(own(n, pidsOf(n)));
    else expect([n % 2, outcome]).toMatchObject([1, { kind: 'cancelled', reason: 'client_disconnected' }]);
  }
  await isFull();
});

describe('a pool that cannot be refilled for a while', () => {
  const FAULTS: readonly (readonly [ProxiedCall, Fault])[] = [
    ['create', 500],
    ['create', 'lost'],
    ['create', 'shape'],
    ['attach', 'garbage'],
    ['attach', 'cut'],
    ['attach', 'truncated'],
    ['attach', 'lost'],
    ['start', 500],
    ['start', 'lost'],
    ['update', 'slow'],
    ['remove', 500],
  ];
  test.each(FAULTS)(
    '%s: %s',
    async (call, fault) => {
      proxy.fail(call, fault);
      const during = await Promise.all(numbered(6).map((n) => answerOf(n, WHO, limitsOf(n))));
      proxy.heal();
      for (const [n, { outcome, stdout }] of during.entries()) {
        if (outcome?.kind === 'exited') expect(stdout).toBe(own(n, pidsOf(n)));
        else expect(outcome).toMatchObject({ kind: 'infrastructure_error', code: 'sandbox_unavailable' });
      }
      // Two were ready.
      expect(during.filter(({ outcome }) => outcome?.kind === 'exited').length).toBeGreaterThan(0);
      expect((await answerOf(7)).stdout).toBe(own(7));
      await isFull();
    },
    90_000,
  );
});

test('SIGTERM while a refill hangs leaves nothing', async () => {
  await using hanging = await DockerSocketProxy.start();
  await using service = await ServiceProcess.start({ PYEXEC_DOCKER_SOCKET: hanging.socketPath, PYEXEC_POOL_SIZE: '1' });
  // Not only made: what is to hang is the start of the next one.
  await until('one is ready', async () => /^pyexec_pool_ready 1$/m.test(await (await service.get('/metrics')).text()));
  hanging.fail('start', 'hang', 1);
  const before = hanging.counts.get('start') ?? 0;
  expect((await service.exec('print(1)')).status).toBe(200);
  await until('the refill has begun', () => (hanging.counts.get('start') ?? 0) > before);
  service.signal('SIGTERM');
  expect(await service.ended).toMatchObject({ code: 0, stderr: '' });
  expect(await containersOf(service.instance)).toEqual([]);
}, 90_000);

test('at rest, after all that, nothing runs: neither in the members nor here', async () => {
  await isFull();
  const [used, calls] = [await memberTicks(), callCount()];
  expect(Math.max(...used), 'what they used to start is seen').toBeGreaterThan(0);
  await sleep(3_000);
  expect(await memberTicks()).toEqual(used);
  // Only the reaper asks, once a second here.
  expect(callCount() - calls).toBeLessThanOrEqual(4);
});

const callCount = () => [...proxy.counts.values()].reduce((sum, count) => sum + count, 0);

/** Processor time of every process of every member, in clock ticks. */
async function memberTicks(): Promise<number[]> {
  const members = await containersOf(INSTANCE);
  const pids = await Promise.all(
    members.map(async ({ Id }) => {
      const { Processes } = (await docker.getContainer(Id).top({ ps_args: '-eo pid' })) as { Processes: string[][] };
      return Processes.map(([pid]) => Number(pid));
    }),
  );
  expect(pids.flat()).toHaveLength(2 * SIZE);
  return pids
    .flat()
    .sort((a, b) => a - b)
    .map((pid) => {
      const fields =
        readFileSync(`/proc/${String(pid)}/stat`, 'utf8')
          .split(') ')[1]
          ?.split(' ') ?? [];
      return Number(fields[11]) + Number(fields[12]);
    });
}
