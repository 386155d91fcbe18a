/**
 * Layers used lately have warm sandboxes: the second run with the same requirements
 * starts nothing. They go when nobody uses them, and never keep a layer from going.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { containersOf, until } from '../../support/docker-containers.ts';
import { layersOf, startLayerEngine, type LayerEngine } from '../../support/layers.ts';
import { PackageIndex } from '../../support/package-index.ts';
import { wheel } from '../../support/wheels.ts';

const MIB = 1 << 20;
const NAMES = ['one', 'two', 'three'];
let index: PackageIndex;
beforeAll(async () => {
  index = await PackageIndex.open(
    ...NAMES.map((name) =>
      wheel({ name, files: { [`${name}.py`]: `VERSION = "${name}"\n`, [`${name}.bin`]: Buffer.alloc(3 * MIB) } }),
    ),
  );
});
afterAll(async () => {
  await index[Symbol.asyncDispose]();
});

const program = (name: string) => `import ${name}, os; print(${name}.VERSION, os.listdir("/work"), os.listdir("/tmp"))`;
const use = async (engine: LayerEngine, name: string) => {
  const { stdout } = await engine.run(program(name), { requirements: name });
  expect(stdout).toBe(`${name} ['main.py'] []\n`);
};
/** Containers on the image of this package's layer. */
const warmOn = async (instance: string, name: string) => {
  const layer = (await layersOf(instance)).find(({ Labels }) => Labels['pyexec.layer.packages'] === `${name}==1.0`);
  return (await containersOf(instance)).filter(({ ImageID }) => ImageID === layer?.Id);
};
const MISSES = 'pyexec_pool_takes_total{result="miss"';
/** The sum of the series whose line begins like this. */
const metric = async ({ engine }: LayerEngine, start: string) =>
  (await engine.metrics.render()).body
    .split('\n')
    .filter((line) => line.startsWith(start))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
const warm = (instance: string, name: string, count: number) =>
  until(
    `${name} has ${String(count)} warm sandboxes`,
    async () => (await warmOn(instance, name)).length === count,
    50_000,
  );

const ready = (engine: LayerEngine, count: number) =>
  until(`${String(count)} are ready`, async () => (await metric(engine, 'pyexec_pool_ready')) === count, 50_000);

it('the second run finds a sandbox ready, used once; nobody without the packages gets one', async () => {
  const instance = `test-${randomUUID()}`;
  await using engine = await startLayerEngine(index, { PYEXEC_INSTANCE: instance, PYEXEC_POOL_SIZE: '2' });
  await use(engine, 'one');
  await ready(engine, 4);
  const misses = await metric(engine, MISSES);
  const seen = new Set((await warmOn(instance, 'one')).map(({ Id }) => Id));
  for (let turn = 0; turn < 3; turn += 1) {
    await use(engine, 'one');
    await ready(engine, 4);
    for (const { Id } of await warmOn(instance, 'one')) seen.add(Id);
  }
  expect(await metric(engine, MISSES)).toBe(misses);
  expect(seen.size).toBeGreaterThanOrEqual(5);
  expect((await engine.run('import one')).stderr).toContain("No module named 'one'");
});

it('as many layers as wanted are warm, and those nobody uses any more are let go', async () => {
  const instance = `test-${randomUUID()}`;
  await using engine = await startLayerEngine(index, {
    PYEXEC_INSTANCE: instance,
    PYEXEC_POOL_SIZE: '1',
    PYEXEC_POOL_LAYERS: '2',
    PYEXEC_POOL_LAYER_IDLE: '3',
  });
  await use(engine, 'one');
  await warm(instance, 'one', 1);
  for (const name of ['two', 'three']) await use(engine, name);
  await warm(instance, 'one', 0);
  // Looked for every 15 s.
  for (const name of ['two', 'three']) await warm(instance, name, 0);
  await use(engine, 'two');
}, 90_000);

it('where every run starts cold, nothing waits on a layer', async () => {
  const instance = `test-${randomUUID()}`;
  await using engine = await startLayerEngine(index, { PYEXEC_INSTANCE: instance });
  await use(engine, 'one');
  await until('nothing is left', async () => (await containersOf(instance)).length === 0);
});

it('a warm sandbox keeps no layer from making room', async () => {
  const instance = `test-${randomUUID()}`;
  await using engine = await startLayerEngine(index, {
    PYEXEC_INSTANCE: instance,
    PYEXEC_POOL_SIZE: '1',
    PYEXEC_LAYERS_MAX_MB: '7',
  });
  await use(engine, 'one');
  await use(engine, 'two');
  for (const name of ['one', 'two']) await warm(instance, name, 1);
  await use(engine, 'three');
  const kept = (await layersOf(instance)).map(({ Labels }) => Labels['pyexec.layer.packages']);
  expect(kept.sort()).toEqual(['three==1.0', 'two==1.0']);
}, 90_000);
