/** What will be run: limits, their minima, maxima and merging, and what is refused. */
import { describe, expect, test } from 'vitest';
import { ServiceError } from '../../../src/domain/errors.ts';
import type { LimitName, Limits } from '../../../src/domain/limits.ts';
import type { RunRequest } from '../../../src/domain/plan.ts';
import type { Project } from '../../../src/domain/project.ts';
import { threadCounts } from '../../../src/policy/thread-counts.ts';
import { decide, defaultShape, type OperatorPolicy } from '../../../src/policy/decide.ts';

const MIB = 2 ** 20;
const IMAGE = { reference: 'pyexec/slim:latest', id: 'sha256:aa' };

const POLICY: OperatorPolicy = {
  defaults: {
    wall_ms: 10_000,
    cpu_ms: 10_000,
    memory_bytes: 256 * MIB,
    pids: 64,
    disk_bytes: 64 * MIB,
    output_bytes: MIB,
    open_files: 256,
    cpus: 1,
  },
  maxima: {
    wall_ms: 60_000,
    cpu_ms: 120_000,
    memory_bytes: 1024 * MIB,
    pids: 128,
    disk_bytes: 1024 * MIB,
    output_bytes: 8 * MIB,
    open_files: 1024,
    cpus: 2,
  },
  runtime: 'runc',
  network: 'none',
  stdinBytesMax: 1000,
  inputs: { count: 3, wallMs: 60_000, outputBytes: 1 << 20 },
};

const PROJECT: Project = {
  entries: [{ path: 'main.py', kind: 'file', sizeBytes: 1, executable: false }],
  contentBytes: 1,
  tarBytes: 2048,
  sha256: '',
  read: () => {
    throw new Error('policy does not read projects');
  },
  readInto: () => Promise.reject(new Error('policy does not read projects')),
  dispose: () => Promise.resolve(),
};

const REQUEST: RunRequest = {
  args: [],
  stdin: new Uint8Array(),
  environment: {},
  limits: {},
  onOverflow: 'truncate',
  wantsNetwork: false,
  preCommands: [],
};

const plan = (request: Partial<RunRequest> = {}, policy: Partial<OperatorPolicy> = {}, project = PROJECT) =>
  decide({ ...REQUEST, ...request }, project, IMAGE, { ...POLICY, ...policy });

function refusalOf(action: () => unknown): ServiceError {
  try {
    action();
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

const NAMES = Object.keys(POLICY.maxima) as LimitName[];
/** The smallest value of each limit that is accepted. */
const SMALLEST: Limits = {
  wall_ms: 1,
  cpu_ms: 1,
  memory_bytes: 32 * MIB,
  pids: 8,
  disk_bytes: MIB,
  output_bytes: 1,
  open_files: 16,
  cpus: 0.05,
};

describe('environment', () => {
  test('libraries start as many threads as the run has processors, unless the caller says otherwise', () => {
    expect(plan({ limits: { cpus: 2 } }).environment).toEqual(threadCounts(2));
    expect(plan({ environment: { OMP_NUM_THREADS: '3', A: 'b' } }).environment).toEqual({
      ...threadCounts(POLICY.defaults.cpus),
      OMP_NUM_THREADS: '3',
      A: 'b',
    });
  });
});

describe('limits', () => {
  test('without a wish the operator’s defaults', () => {
    expect(plan().limits).toEqual(POLICY.defaults);
  });

  test.each(NAMES)('%s: the wish is what is applied, up to and including the maximum', (name) => {
    const asked = POLICY.maxima[name];
    // Enough memory that the disk is not cut to it.
    const limits = name === 'disk_bytes' ? { disk_bytes: 512 * MIB, memory_bytes: 1024 * MIB } : { [name]: asked };
    expect(plan({ limits }).limits[name]).toBe(name === 'disk_bytes' ? 512 * MIB : asked);
  });

  test.each(NAMES)('%s: above the maximum is refused, naming field and maximum', (name) => {
    const refusal = refusalOf(() => plan({ limits: { [name]: POLICY.maxima[name] + 1 } }));
    expect(refusal.code).toBe('limit_too_high');
    expect(refusal.members).toEqual({ field: `limits.${name}`, maximum: POLICY.maxima[name] });
  });

  test.each(NAMES)('%s: the minimum is accepted, below it is refused', (name) => {
    expect(plan({ limits: { [name]: SMALLEST[name] } }).limits[name]).toBe(SMALLEST[name]);
    const refusal = refusalOf(() => plan({ limits: { [name]: SMALLEST[name] - 0.01 } }));
    expect(refusal.code).toBe('invalid_request');
    expect(refusal.members).toEqual({ field: `limits.${name}`, minimum: SMALLEST[name] });
  });

  test.each([0, -1, Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY])('%d is never a limit', (value) => {
    for (const name of NAMES) expect(() => plan({ limits: { [name]: value } })).toThrow(ServiceError);
  });

  test('a wish of undefined is no wish', () => {
    expect(plan({ limits: { pids: undefined } as never }).limits.pids).toBe(POLICY.defaults.pids);
  });

  test('only what was asked for changes', () => {
    const { limits } = plan({ limits: { pids: 100 } });
    expect(limits).toEqual({ ...POLICY.defaults, pids: 100 });
  });

  test.each([
    [{ wall_ms: 20_000 }, 20_000],
    [{ cpus: 2 }, 20_000],
    [{ cpus: 0.5 }, 10_000],
    [{ wall_ms: 30_000, cpus: 1.5 }, 45_000],
    [{ wall_ms: 30_000, cpu_ms: 500 }, 500],
  ])('CPU time follows wall time and cores unless it was asked for: %j', (limits, expected) => {
    expect(plan({ limits }).limits.cpu_ms).toBe(expected);
  });

  test.each([
    ['the disk is cut to half of the memory', { memory_bytes: 64 * MIB }, 32 * MIB],
    ['also the disk that was asked for', { memory_bytes: 64 * MIB, disk_bytes: 60 * MIB }, 32 * MIB],
    ['memory that is large enough leaves it alone', { memory_bytes: 512 * MIB, disk_bytes: 256 * MIB }, 256 * MIB],
    ['more memory alone does not change it', { memory_bytes: 1024 * MIB }, 64 * MIB],
  ])('%s', (_, limits, expected) => {
    const decided = plan({ limits });
    expect(decided.limits.disk_bytes).toBe(expected);
    expect(decided.shape.workBytes).toBe(expected);
  });

  test('the operator’s default disk is cut to the default memory', () => {
    const defaults = { ...POLICY.defaults, disk_bytes: 2048 * MIB };
    expect(plan({}, { defaults }).limits.disk_bytes).toBe(128 * MIB);
  });

  test('neither the request nor the policy is changed', () => {
    const limits = Object.freeze({ pids: 9 });
    const policy = Object.freeze({ defaults: Object.freeze({ ...POLICY.defaults }) });
    expect(plan({ limits }, policy).limits.pids).toBe(9);
  });
});

describe('the shape', () => {
  test('a request without wishes has the shape that is kept warm', () => {
    expect(plan().shape).toEqual(defaultShape(IMAGE, POLICY));
  });

  test('limits that a live container can take leave the rest of the shape as it is', () => {
    const { workBytes, tmpBytes, ...rest } = defaultShape(IMAGE, POLICY);
    const raised = plan({ limits: { pids: 100, cpus: 2, wall_ms: 60_000 } }).shape;
    expect(raised).toEqual({ ...rest, workBytes, tmpBytes, pids: 100, cpus: 2 });
  });

  test('/tmp is a part of the memory, and capped', () => {
    expect(plan({ limits: { memory_bytes: 64 * MIB } }).shape.tmpBytes).toBe(8 * MIB);
    const maxima = { ...POLICY.maxima, memory_bytes: 8192 * MIB };
    expect(plan({ limits: { memory_bytes: 8192 * MIB } }, { maxima }).shape.tmpBytes).toBe(128 * MIB);
  });

  test('runs by content, not by name', () => {
    expect(plan().shape).toMatchObject({ imageId: IMAGE.id, image: IMAGE.reference, runtime: 'runc' });
  });
});

describe('network', () => {
  test('is refused where the operator has none', () => {
    expect(refusalOf(() => plan({ wantsNetwork: true })).code).toBe('network_not_allowed');
  });

  test('is the operator’s network where there is one, and none for those who did not ask', () => {
    expect(plan({ wantsNetwork: true }, { network: 'bridge' }).shape.network).toBe('bridge');
    expect(plan({}, { network: 'bridge' }).shape.network).toBe('none');
  });
});

describe('what goes in', () => {
  test('stdin up to the maximum', () => {
    expect(plan({ stdin: new Uint8Array(1000) }).stdin).toHaveLength(1000);
    expect(refusalOf(() => plan({ stdin: new Uint8Array(1001) }))).toMatchObject({
      code: 'body_too_large',
      members: { field: 'stdin', maximum: 1000 },
    });
  });

  test('a project that fits into its /work', () => {
    const limits = { disk_bytes: MIB };
    expect(plan({ limits }, {}, { ...PROJECT, contentBytes: MIB }).limits.disk_bytes).toBe(MIB);
    const refusal = refusalOf(() => plan({ limits }, {}, { ...PROJECT, contentBytes: MIB + 1 }));
    expect(refusal.code).toBe('project_too_large');
  });

  test('arguments pass as they are, whatever a shell would make of them', () => {
    const args = ['', '-c', '; rm -rf /', '$(id)', '\n', '"', 'ä', '--'];
    expect(plan({ args }).args).toEqual(args);
  });

  test('an argument with NUL is refused: the kernel would cut it', () => {
    expect(refusalOf(() => plan({ args: ['a\0b'] }))).toMatchObject({
      code: 'invalid_request',
      members: { field: 'args' },
    });
  });
});
