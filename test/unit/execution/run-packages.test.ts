/** What a request asks for, and what is guessed: read before anything is built. */
import { describe, expect, it } from 'vitest';
import { LayerStore } from '../../../src/dependencies/layer-store.ts';
import { packagePolicy } from '../../../src/dependencies/package-policy.ts';
import { RunPackages } from '../../../src/execution/run-packages.ts';
import { runRequest } from '../../support/engine.ts';

const never = () => {
  throw new Error('nothing is built here');
};
const packages = (mode: 'off' | 'allow-list' | 'any' = 'any', allowed: readonly string[] = [], waitingMax = 1) =>
  new RunPackages({
    layers: new LayerStore({
      images: { seal: never, list: never, remove: never, sweep: never },
      policy: packagePolicy(mode, allowed),
      constraints: [],
      indexUrl: 'https://index.example/simple',
      indexHosts: [],
      packagesMax: 1,
      filesMax: 1,
      layerBytesMax: 1,
      totalBytesMax: 1,
      buildMsMax: 1,
      lockMsMax: 1,
      places: { reserve: never },
      startBuilder: never,
      openEgress: never,
      indexAnswers: never,
      readTree: never,
      letGo: never,
      observe: never,
    }),
    limits: { count: 3, bytes: 1000 },
    waitingMax,
  });
const namesOf = (asked: ReturnType<RunPackages['read']>) =>
  asked && { required: asked.required.map(({ line }) => line), suggested: asked.suggested.map(({ line }) => line) };

describe('what a run asks for', () => {
  it('is nothing, without requirements and guesses', () => {
    expect(packages().read(runRequest())).toBeUndefined();
    expect(packages().read(runRequest({ requirements: '# none\n', suggestedPackages: [] }))).toBeUndefined();
  });

  it('is what was named, and what was guessed beside it', () => {
    const request = runRequest({ requirements: 'Foo>=1', suggestedPackages: ['foo', 'Bar', 'bar'] });
    expect(namesOf(packages().read(request))).toEqual({ required: ['foo>=1'], suggested: ['bar'] });
  });

  it('leaves out guesses that the image has, and nothing else', () => {
    const labels = { 'pyexec.packages': '{"NumPy":"2.0","scikit_learn":"1.5"}' };
    const request = runRequest({ requirements: 'numpy==1.26', suggestedPackages: ['numpy', 'scikit-learn', 'tqdm'] });
    expect(namesOf(packages().read(request, labels))).toEqual({ required: ['numpy==1.26'], suggested: ['tqdm'] });
    expect(packages().read(request, labels)?.present).toEqual({ numpy: '2.0', 'scikit-learn': '1.5' });
    const hostile = { 'pyexec.packages': '{"../x":"1","a/b":"1","fine":7}' };
    expect(packages().read(request, hostile)?.present).toEqual({ fine: '7' });
    for (const odd of ['', 'null', '[]', '7', '{']) {
      expect(
        namesOf(packages().read(runRequest({ suggestedPackages: ['numpy'] }), { 'pyexec.packages': odd })),
      ).toEqual({
        required: [],
        suggested: ['numpy'],
      });
    }
  });

  it('leaves out guesses the operator does not allow, and those beyond the number of requirements', () => {
    const request = runRequest({ suggestedPackages: ['a', 'b', 'c', 'd'] });
    expect(packages('off').read(request)).toBeUndefined();
    expect(namesOf(packages('allow-list', ['b']).read(request))).toEqual({ required: [], suggested: ['b'] });
    expect(namesOf(packages().read(request))?.suggested).toEqual(['a', 'b', 'c']);
  });

  it('is refused while too many wait', () => {
    expect(() => packages('any', [], 0).read(runRequest({ requirements: 'a' }))).toThrow(
      expect.objectContaining({ code: 'queue_full' }) as Error,
    );
    expect(packages('any', [], 0).read(runRequest({ suggestedPackages: ['a'] }))).toBeUndefined();
  });
});
