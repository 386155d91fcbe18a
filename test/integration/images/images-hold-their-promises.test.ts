/**
 * The images the set-up builds, in real sandboxes: what they promise can be imported,
 * draws and computes, leaves nothing behind, and starts as many threads as it should.
 * `npm run images -- verify --runs 1000` is the same at length.
 */
import { describe, expect, it } from 'vitest';
import { complaints, CONTENTS, labelComplaints, MIXED, promisedBy } from '../../../images/verify/judge.ts';
import { startEngine, type TestEngine } from '../../support/engine.ts';

const MIXED_RUNS = 36;
const CONCURRENT = 8;

const start = (): Promise<TestEngine> =>
  startEngine({ PYEXEC_DEFAULT_IMAGE: 'pyexec/data:latest', PYEXEC_MAX_CONCURRENT: String(CONCURRENT) });

describe('images', { timeout: 240_000 }, () => {
  it.each([
    ['slim', 1],
    ['data', 1],
    ['data', 2],
  ])('%s holds what it promises, with %d processors', async (name, cpus) => {
    await using engine = await start();
    const promised = promisedBy(name);
    const run = await engine.run(CONTENTS, {
      image: `pyexec/${name}:latest`,
      args: [JSON.stringify(promised)],
      limits: { cpus, wall_ms: 120_000 },
    });
    expect(run).toMatchObject({ outcome: { kind: 'exited', exit_code: 0 }, stderr: '' });
    expect(complaints(run.stdout ?? '', promised, cpus)).toEqual([]);
  });

  it('a promise that is not held is noticed', async () => {
    await using engine = await start();
    const run = await engine.run(CONTENTS, { args: ['["numpy"]'], environment: { OMP_NUM_THREADS: '2', LC_ALL: 'C' } });
    const wrong = complaints(run.stdout ?? '', ['numpy', 'pandas'], 1).join('\n');
    expect(wrong).toMatch(/^threads is \{.*"omp_num_threads":"2"/m);
    expect(wrong).toContain('pandas was not imported');
  });

  it('say what is in them', async () => {
    await using engine = await start();
    const images = await engine.engine.images();
    const data = images.find(({ reference }) => reference === 'pyexec/data:latest');
    const packages = JSON.parse(data?.labels['pyexec.packages'] ?? '{}') as Record<string, string>;
    const run = await engine.run(
      'import importlib.metadata, json\nprint(json.dumps({d.name.lower(): d.version for d in importlib.metadata.distributions()}))',
    );
    const found = JSON.parse(run.stdout ?? '{}') as Record<string, string>;
    expect(labelComplaints(data?.labels ?? {}, 'data', promisedBy('data'))).toEqual([]);
    for (const name of promisedBy('data')) expect([name, packages[name]]).toEqual([name, found[name]]);
    expect(data).toMatchObject({ isDefault: true });
    expect(images.filter(({ isDefault }) => isDefault)).toHaveLength(1);
  });

  it('labels that say nothing, or nonsense, are noticed', () => {
    const right = { 'pyexec.image': 'data', 'pyexec.python': '3.13.5', 'pyexec.packages': '{"numpy":"2.0"}' };
    expect(labelComplaints(right, 'data', ['numpy'])).toEqual([]);
    expect(labelComplaints(right, 'data', ['numpy', 'scipy'])).toEqual(['label pyexec.packages has no scipy']);
    expect(labelComplaints({}, 'data', ['numpy'])).toEqual([
      'label pyexec.image is (absent)',
      'label pyexec.python is (absent)',
      'label pyexec.packages is (absent)',
    ]);
    for (const odd of ['{broken', 'null', '[1]', '"numpy"', '']) {
      expect(labelComplaints({ ...right, 'pyexec.packages': odd }, 'data', ['numpy'])).toEqual([
        `label pyexec.packages is ${odd}`,
      ]);
    }
  });

  it('programs of every kind work, eight runs at a time', async () => {
    await using engine = await start();
    const seeds = Array.from({ length: MIXED_RUNS }, (_, seed) => seed);
    const failures = await Promise.all(
      seeds.map(async (seed) => {
        const run = await engine.run(MIXED, { args: [String(seed)], limits: { wall_ms: 120_000 } });
        return run.outcome?.kind === 'exited' && run.outcome.exit_code === 0 && run.stderr === '' ? [] : [run];
      }),
    );
    expect(failures.flat()).toEqual([]);
  });
});
