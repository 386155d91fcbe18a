/** Which layers are kept warm: those used lately, no more than wanted, only where the image is kept warm. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { WarmLayers } from '../../../src/composition/warm-layers.ts';
import type { SandboxShape } from '../../../src/domain/plan.ts';

const PLAIN: SandboxShape = {
  image: 'warm',
  imageId: 'sha256:base',
  runtime: 'runc',
  network: 'none',
  memoryBytes: 100,
  pids: 10,
  cpus: 1,
  workBytes: 10,
  tmpBytes: 10,
  preimports: [],
};
const onLayer = (layer: string, image = 'warm') => ({ ...PLAIN, image, imageId: `sha256:${layer}`, layer });

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

function kept(max: number) {
  let changes = 0;
  const layers = new WarmLayers({
    max,
    idleMsMax: 1000,
    sizeOfImage: (image) => ({ warm: { min: 1, max: 5 }, single: { min: 1, max: 1 }, cold: { min: 0, max: 0 } })[image],
    onChange: () => {
      changes += 1;
      return Promise.resolve();
    },
  });
  return {
    layers,
    names: () => layers.targets().map(({ shape }) => shape.layer),
    changes: () => changes,
  };
}

test('a layer that was used is kept, and told once', () => {
  const { layers, names, changes } = kept(2);
  layers.used(onLayer('a'));
  layers.used(onLayer('a'));
  expect(names()).toEqual(['a']);
  expect(changes()).toBe(1);
  expect(layers.targets()).toEqual([{ shape: onLayer('a'), min: 2, max: 5 }]);
});

test('the one used longest ago goes first', () => {
  const { layers, names } = kept(2);
  for (const layer of ['a', 'b', 'a', 'c']) layers.used(onLayer(layer));
  expect(names()).toEqual(['a', 'c']);
});

test('what nobody used for a while is let go', () => {
  const { layers, names } = kept(4);
  layers.used(onLayer('a'));
  vi.advanceTimersByTime(800);
  layers.used(onLayer('b'));
  vi.advanceTimersByTime(800);
  expect(names()).toEqual(['b']);
});

test('none is kept of an image that is started cold, one at most where the image has one, none without a layer', () => {
  const { layers, changes } = kept(4);
  layers.used(PLAIN);
  layers.used(onLayer('a', 'cold'));
  layers.used(onLayer('a', 'unknown'));
  expect(changes()).toBe(0);
  layers.used(onLayer('a', 'single'));
  expect(layers.targets()).toMatchObject([{ min: 1, max: 1 }]);
  const { layers: none, changes: noChanges } = kept(0);
  none.used(onLayer('a'));
  expect(noChanges()).toBe(0);
});

test('a layer that goes is forgotten, whatever the sizes it was used with', async () => {
  const { layers, names } = kept(4);
  layers.used(onLayer('a'));
  layers.used({ ...onLayer('a'), workBytes: 20 });
  layers.used(onLayer('b'));
  expect(names()).toEqual(['a', 'a', 'b']);
  await layers.forget('a');
  expect(names()).toEqual(['b']);
});
