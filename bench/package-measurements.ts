/**
 * What packages cost: the first run that asks for some, the next ones, and beside
 * them runs that ask for none and import a module of the image, of one service with an
 * index on loopback; and then the same of a service that compares packages with a source
 * of advisories, which has one to tell of.
 */
import Docker from 'dockerode';
import { advisory, AdvisorySource } from '../test/support/advisory-source.ts';
import { PackageIndex } from '../test/support/package-index.ts';
import { wheel } from '../test/support/wheels.ts';
import { Service } from './service.ts';

/** Milliseconds over HTTP, each. */
interface Turns {
  readonly next: readonly number[];
  readonly plain: readonly number[];
}

export interface PackageSamples extends Turns {
  readonly first: readonly number[];
  /** The same where packages are compared with advisories. */
  readonly checked: Turns;
}

async function timed(service: Service, request: object): Promise<number> {
  const started = performance.now();
  const { statusCode, result } = await service.exec(request);
  const ms = performance.now() - started;
  if (statusCode !== 200 || result['stdout'] !== '1\n') throw new Error(`answered ${JSON.stringify(result)}`);
  return ms;
}

const asking = (number: number) => ({
  code: `from thing${String(number)} import ONE\nprint(ONE)\n`,
  requirements: [`thing${String(number)}`],
});

/** `rounds` of each kind in turns, after the first use. */
async function inTurns(service: Service, number: number, rounds: number): Promise<Turns> {
  const [next, plain]: [number[], number[]] = [[], []];
  for (let round = -2; round < rounds; round += 1) {
    for (const [samples, request] of [
      [next, asking(number)],
      [plain, { code: 'from colorsys import rgb_to_hsv\nprint(1)\n' }],
    ] as const) {
      await service.whenPoolIsFull();
      const ms = await timed(service, request);
      if (round >= 0) samples.push(ms);
    }
  }
  return { next, plain };
}

async function withService<T>(
  settings: Readonly<Record<string, string>>,
  work: (service: Service) => Promise<T>,
): Promise<T> {
  const service = await Service.start({ ...settings, PYEXEC_POOL_SIZE: '2', PYEXEC_POOL_LAYERS: '1' });
  try {
    return await work(service);
  } finally {
    await service[Symbol.asyncDispose]();
    const docker = new Docker();
    const label = `pyexec.layer.instance=${service.instance}`;
    for (const { Id } of await docker.listImages({ filters: { label: [label] } })) {
      await docker
        .getImage(Id)
        .remove({ force: true })
        .catch(() => undefined);
    }
  }
}

/** `sets` different requirements, each used once for the first time; then `rounds` of each kind in turns, of each service. */
export async function packageSamples(sets: number, rounds: number): Promise<PackageSamples> {
  await using index = await PackageIndex.open(
    ...Array.from({ length: sets }, (_, number) =>
      wheel({ name: `thing${String(number)}`, files: { [`thing${String(number)}.py`]: 'ONE = 1\n' } }),
    ),
  );
  const unchecked = await withService(index.settings, async (service) => {
    const first = [];
    for (let number = 0; number < sets; number += 1) {
      await service.whenPoolIsFull();
      first.push(await timed(service, asking(number)));
    }
    return { first, ...(await inTurns(service, sets - 1, rounds)) };
  });
  await using source = await AdvisorySource.open(advisory('GHSA-1', 'thing0', '1.0', '1.5'));
  const checked = await withService({ ...index.settings, ...source.settings }, (service) =>
    inTurns(service, 0, rounds),
  );
  // Everything but the first was answered from what is kept.
  if (source.batches.length !== 1) throw new Error(`the source was asked ${String(source.batches.length)} times`);
  return { ...unchecked, checked };
}
