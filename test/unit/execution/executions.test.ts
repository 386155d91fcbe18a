/** The story of an execution with a sandbox that does what the test says: everything is given back, the end comes once. */
import { tmpdir } from 'node:os';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { ANONYMOUS } from '../../../src/domain/caller.ts';
import { RunSlots } from '../../../src/admission/run-slots.ts';
import { DEFAULT_ARCHIVE_LIMITS } from '../../../src/archive/archive-limits.ts';
import { ServiceError } from '../../../src/domain/errors.ts';
import type { RunRequest, SandboxShape } from '../../../src/domain/plan.ts';
import type { Project } from '../../../src/domain/project.ts';
import { Executions, type ExecutionsOptions, type SubmitOptions } from '../../../src/execution/executions.ts';
import type { ExecutionMilestone } from '../../../src/domain/milestones.ts';
import type { Lease } from '../../../src/sandbox/cold-start.ts';
import type { RunSink } from '../../../src/sandbox/run-frames.ts';
import { SandboxBroken, type Ending } from '../../../src/sandbox/sandbox.ts';
import { temporaryStore } from '../../support/state-directory.ts';
import { PLAN, reported } from './plan-and-report.ts';

const REQUEST: RunRequest = {
  args: [],
  stdin: new Uint8Array(),
  environment: {},
  limits: {},
  onOverflow: 'truncate',
  wantsNetwork: false,
  preCommands: [],
};

type Run = (sink: RunSink, signal: AbortSignal) => Promise<Ending>;

function setup(run: Run, change: Partial<ExecutionsOptions> = {}, queueMax = 2) {
  const slots = new RunSlots({ concurrent: 1, queueMax });
  const state = temporaryStore();
  onTestFinished(state.remove);
  const { store, storage } = state;
  const milestones: ExecutionMilestone[] = [];
  const counts = { released: 0, disposed: 0 };
  const executions = new Executions({
    policy: {
      defaults: { ...PLAN.limits, disk_bytes: 1 << 20, memory_bytes: 1 << 28 },
      maxima: { ...PLAN.limits, disk_bytes: 1 << 20, memory_bytes: 1 << 28 },
      runtime: 'runc',
      network: 'none',
      stdinBytesMax: 10,
      inputs: { count: 3, wallMs: 60_000, outputBytes: 1 << 20 },
    },
    slots,
    store,
    storage,
    projects: { limits: DEFAULT_ARCHIVE_LIMITS, spoolDirectory: tmpdir() },
    resolveImage: () => Promise.resolve({ reference: 'a', id: 'sha256:a' }),
    preimportsOffered: () => [],
    startSandbox: () =>
      Promise.resolve({
        sandbox: {
          containerId: 'container',
          run: (_plan, _project, sink, signal) => run(sink, signal),
        } as Lease['sandbox'],
        release: () => {
          counts.released += 1;
          return Promise.resolve();
        },
      }),
    observe: (milestone) => milestones.push(milestone),
    ...change,
  });
  const project = (): Project => ({
    entries: [{ path: 'main.py', kind: 'file', sizeBytes: 1, executable: false }],
    contentBytes: 1,
    tarBytes: 1,
    sha256: '',
    read: () => {
      throw new Error('not read here');
    },
    readInto: () => Promise.reject(new Error('not read here')),
    dispose: () => {
      counts.disposed += 1;
      return Promise.resolve();
    },
  });
  const submit = (request: Partial<RunRequest> = {}, options: SubmitOptions = {}) =>
    executions.submit({ ...REQUEST, ...request }, project(), ANONYMOUS, options);
  return { executions, slots, store, milestones, counts, submit };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const untilAborted: Run = (_sink, signal) =>
  new Promise((resolve) => {
    const end = () => {
      resolve(reported({ exitCode: null, signal: 9, cause: 'cancelled' }));
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });

describe('what nobody is told of before its end', () => {
  test('is on the disk before somebody who knows its id is answered', async () => {
    const { executions, store, submit } = setup(untilAborted);
    const accept = vi.spyOn(store, 'accept');
    const sync = vi.spyOn(store, 'sync');
    const { id } = await submit({}, { isToldAtEnd: true });
    expect(accept.mock.lastCall?.[1]).toMatchObject({ isToldAtEnd: true });
    expect(sync).not.toHaveBeenCalled();
    executions.get(id, ANONYMOUS).cancel('requested');
    expect(sync).toHaveBeenCalledOnce();
    await executions.drain(0);
  });

  test('is on the disk within a second or so', async () => {
    const { executions, store, submit } = setup(untilAborted);
    const sync = vi.spyOn(store, 'sync');
    await submit({}, { isToldAtEnd: true });
    await vi.waitFor(() => {
      expect(sync).toHaveBeenCalled();
    }, 5000);
    await executions.drain(0);
  });
});

describe('however a run ends', () => {
  test.each<[string, Run, object]>([
    ['a report', () => Promise.resolve(reported({ exitCode: 4 })), { kind: 'exited', exit_code: 4 }],
    [
      'a broken sandbox',
      () => Promise.reject(new SandboxBroken('x')),
      { kind: 'infrastructure_error', code: 'sandbox_failed' },
    ],
    [
      'a refusal of ours',
      () => Promise.reject(new ServiceError('sandbox_unavailable', 'x')),
      { kind: 'infrastructure_error', code: 'sandbox_unavailable' },
    ],
    [
      'a fault of ours',
      () => Promise.reject(new Error('/host/path')),
      { kind: 'infrastructure_error', code: 'internal' },
    ],
  ])('%s: one end, and container, project and place are given back', async (_, run, outcome) => {
    const { submit, counts, slots, milestones, executions } = setup(run);
    const submitted = await submit();
    await submitted.ended;
    await turn();
    expect(submitted.result().outcome).toMatchObject(outcome);
    expect(JSON.stringify(await submitted.snapshot())).not.toContain('/host/path');
    expect(counts).toEqual({ released: 1, disposed: 1 });
    expect([slots.running, executions.activeCount]).toEqual([0, 0]);
    expect(milestones.map(({ kind }) => kind)).toEqual(['accepted', 'acquired', 'ended']);
  });

  test('a sandbox that cannot be started', async () => {
    const { submit, counts, slots } = setup(untilAborted, {
      startSandbox: () => Promise.reject(new ServiceError('sandbox_unavailable', 'No.')),
    });
    const submitted = await submit();
    await submitted.ended;
    await turn();
    expect(await submitted.snapshot()).toMatchObject({ status: 'failed', exit_code: -1 });
    expect([counts.disposed, slots.running]).toEqual([1, 0]);
  });

  test('the place is free only when the container is gone', async () => {
    let gone: () => void = () => undefined;
    const { submit, slots } = setup(() => Promise.resolve(reported()), {
      startSandbox: () =>
        Promise.resolve({
          sandbox: { containerId: 'a', run: () => Promise.resolve(reported()) } as unknown as Lease['sandbox'],
          release: () => new Promise<void>((resolve) => (gone = resolve)),
        }),
    });
    const submitted = await submit();
    await submitted.ended;
    await turn();
    expect(slots.running).toBe(1);
    gone();
    await turn();
    expect(slots.running).toBe(0);
  });
});

describe('a sandbox that is ready', () => {
  function ready(told: string[], stateOf: () => string | undefined) {
    const sandbox = {
      containerId: 'a',
      load: () => Promise.resolve(void told.push(`load ${stateOf() ?? 'unknown'}`)),
      release: () => void told.push(`begin ${stateOf() ?? 'unknown'}`),
      run: () => {
        told.push(`run ${stateOf() ?? 'unknown'}`);
        return Promise.resolve(reported());
      },
      abandon: () => Promise.resolve(void told.push('abandon')),
    } as unknown as Lease['sandbox'];
    return { sandbox, release: () => Promise.resolve(void told.push('release')) };
  }

  test('is loaded before the run is recorded and runs it afterwards', async () => {
    const told: string[] = [];
    const { submit, store, counts } = setup(untilAborted, {
      takeReady: () => ready(told, () => store.unfinished(1)[0]?.state),
      startSandbox: () => Promise.reject(new Error('not needed')),
    });
    const submitted = await submit();
    await submitted.ended;
    await turn();
    expect(told).toEqual(['load unknown', 'begin starting', 'run starting', 'release']);
    expect(counts.disposed).toBe(1);
  });

  /** Packages that can be attached at once, or have to be built. */
  function packaged(told: string[], isReady: boolean) {
    const layer = { key: 'k', imageId: 'sha256:layer', packages: ['a==1'], lost: () => undefined };
    const attached = () => ({ layer: { ...layer, release: () => told.push('release layer') } });
    const packages: unknown = {
      read: () => ({ required: [], suggested: [], present: {} }),
      ready: () => (isReady ? attached() : undefined),
      attach: () => Promise.resolve(told.push('attach')).then(attached),
    };
    return packages as NonNullable<ExecutionsOptions['packages']>;
  }

  test.each([
    ['is loaded for packages that are there, on their layer', true],
    ['is not taken for packages that have to be had first', false],
  ])('%s', async (_name, isReady) => {
    const told: string[] = [];
    const images: string[] = [];
    const taken = (shape: SandboxShape) => {
      images.push(shape.imageId);
      return ready(told, () => store.unfinished(1)[0]?.state);
    };
    const { submit, store } = setup(untilAborted, {
      packages: packaged(told, isReady),
      takeReady: taken,
      startSandbox: (shape) => Promise.resolve(taken(shape)),
    });
    const submitted = await submit();
    expect(submitted.result().packages).toEqual(isReady ? ['a==1'] : undefined);
    await submitted.ended;
    await turn();
    const early = ['load unknown', 'begin starting', 'run starting', 'release', 'release layer'];
    expect(told).toEqual(isReady ? early : ['attach', 'run starting', 'release', 'release layer']);
    expect(images).toEqual(['sha256:layer']);
    expect(submitted.result().packages).toEqual(['a==1']);
  });

  test('and the layer of its packages are given up when the run is not accepted', async () => {
    const told: string[] = [];
    const { submit } = setup(untilAborted, {
      packages: packaged(told, true),
      takeReady: () => ready(told, () => undefined),
      witness: {
        accepting: () => Promise.reject(new ServiceError('audit_unavailable', 'No.')),
        withdrawn: () => undefined,
      },
    });
    await expect(submit()).rejects.toMatchObject({ code: 'audit_unavailable' });
    expect(told).toEqual(['load unknown', 'abandon', 'release', 'release layer']);
  });

  test('is given up when the run is not accepted', async () => {
    const told: string[] = [];
    const { submit, slots, store, counts } = setup(untilAborted, {
      takeReady: () => ready(told, () => undefined),
      witness: {
        accepting: () => Promise.reject(new ServiceError('audit_unavailable', 'No.')),
        withdrawn: () => undefined,
      },
    });
    await expect(submit()).rejects.toMatchObject({ code: 'audit_unavailable' });
    expect(told).toEqual(['load unknown', 'abandon', 'release']);
    expect([counts.disposed, slots.running, store.unfinished(1).length]).toEqual([1, 0, 0]);
  });

  test('is not taken by a run that has to wait', async () => {
    const told: string[] = [];
    const { submit } = setup(untilAborted);
    const running = await submit();
    const other = setup(untilAborted, { takeReady: () => ready(told, () => undefined) });
    other.slots.reserve(new AbortController().signal);
    const waiting = await other.submit();
    expect(told).toEqual([]);
    for (const each of [running, waiting]) each.cancel('requested');
    await Promise.all([running.ended, waiting.ended]);
  });
});

describe('a refusal', () => {
  test.each<[string, Partial<RunRequest>, string]>([
    ['of a limit', { limits: { pids: 10_000 } }, 'limit_too_high'],
    ['of the network', { wantsNetwork: true }, 'network_not_allowed'],
    ['of the entry point', { entryPoint: { kind: 'script', path: '-c' } }, 'invalid_entrypoint'],
  ])('%s takes no place, stores nothing and frees the project', async (_, request, code) => {
    const { submit, counts, slots, store } = setup(untilAborted);
    await expect(submit(request)).rejects.toMatchObject({ code });
    expect([counts.disposed, slots.running, store.size]).toEqual([1, 0, 0]);
  });

  test('for want of room stores nothing and frees the project', async () => {
    const { submit, counts, store } = setup(untilAborted, {}, 0);
    const running = await submit();
    await expect(submit()).rejects.toMatchObject({ code: 'queue_full' });
    expect([counts.disposed, store.unfinished(9).length]).toEqual([1, 1]);
    running.cancel('requested');
    await running.ended;
  });
});

describe('cancelling', () => {
  test('a run that waits ends it without a container', async () => {
    const { submit, counts } = setup(untilAborted);
    const running = await submit();
    const waiting = await submit();
    waiting.cancel('requested');
    await waiting.ended;
    expect(await waiting.snapshot()).toMatchObject({
      status: 'killed',
      outcome: { kind: 'cancelled', reason: 'requested' },
    });
    expect(counts.released).toBe(0);
    running.cancel('client_disconnected');
    await running.ended;
    expect(running.result().outcome).toEqual({ kind: 'cancelled', reason: 'client_disconnected' });
  });

  test('one that broke because it was cancelled is cancelled, not broken', async () => {
    const { submit } = setup(
      (_sink, signal) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            reject(new SandboxBroken('gone'));
          });
        }),
    );
    const running = await submit();
    await turn();
    running.cancel('requested');
    await running.ended;
    expect(running.result().outcome).toEqual({ kind: 'cancelled', reason: 'requested' });
  });
});

describe('draining', () => {
  test('refuses new work, lets runs finish, then cancels the rest', async () => {
    const { executions, submit } = setup(untilAborted);
    const [running, waiting] = [await submit(), await submit()];
    const drained = executions.drain(20);
    await expect(submit()).rejects.toMatchObject({ code: 'shutting_down', retryAfterSeconds: 5 });
    await drained;
    for (const each of [running, waiting]) {
      expect(each.result().outcome).toEqual({ kind: 'cancelled', reason: 'shutdown' });
    }
    expect(executions.activeCount).toBe(0);
  });

  test('does not miss a run whose image was being looked up when it began', async () => {
    let resolve: (image: { reference: string; id: string }) => void = () => undefined;
    const { executions, submit, counts } = setup(untilAborted, {
      resolveImage: () => new Promise((found) => (resolve = found)),
    });
    const submitted = submit();
    submitted.catch(() => undefined);
    await executions.drain(0);
    resolve({ reference: 'a', id: 'sha256:a' });
    await expect(submitted).rejects.toMatchObject({ code: 'shutting_down' });
    expect([executions.activeCount, counts.disposed]).toEqual([0, 1]);
  });
});

test('an id that is not there is not found', () => {
  const { executions } = setup(untilAborted);
  expect(() => executions.get('exe_nobody', ANONYMOUS)).toThrow(expect.objectContaining({ code: 'not_found' }));
});
