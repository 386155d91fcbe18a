/**
 * What packages cost: the first run that asks for some, the next ones, and beside
 * them runs that ask for none and import a module of the image, of one service with an
 * index on loopback.
 */
import Docker from 'dockerode';
import { PackageIndex } from '../test/support/package-index.ts';
import { wheel } from '../test/support/wheels.ts';
import { Service } from './service.ts';

export interface PackageSamples {
  /** Milliseconds over HTTP, each. */
  readonly first: readonly number[];
  readonly next: readonly number[];
  readonly plain: readonly number[];
}

async function timed(service: Service, request: object): Promise<number> {
  const started = performance.now();
  const { statusCode, result } = await service.exec(request);
  const ms = performance.now() - started;
  if (statusCode !== 200 || result['stdout'] !== '1\n') throw new Error(`answered ${JSON.stringify(result)}`);
  return ms;
}

/** `sets` different requirements, each used once for the first time; then `rounds` of each kind in turns. */
export async function packageSamples(sets: number, rounds: number): Promise<PackageSamples> {
  await using index = await PackageIndex.open(
    ...Array.from({ length: sets }, (_, number) =>
      wheel({ name: `thing${String(number)}`, files: { [`thing${String(number)}.py`]: 'ONE = 1\n' } }),
    ),
  );
  const service = await Service.start({ ...index.settings, PYEXEC_POOL_SIZE: '2', PYEXEC_POOL_LAYERS: '1' });
  try {
    const asking = (number: number) => ({
      code: `from thing${String(number)} import ONE\nprint(ONE)\n`,
      requirements: [`thing${String(number)}`],
    });
    const first = [];
    for (let number = 0; number < sets; number += 1) {
      await service.whenPoolIsFull();
      first.push(await timed(service, asking(number)));
    }
    const [next, plain]: [number[], number[]] = [[], []];
    for (let round = -2; round < rounds; round += 1) {
      for (const [samples, request] of [
        [next, asking(sets - 1)],
        [plain, { code: 'from colorsys import rgb_to_hsv\nprint(1)\n' }],
      ] as const) {
        await service.whenPoolIsFull();
        const ms = await timed(service, request);
        if (round >= 0) samples.push(ms);
      }
    }
    return { first, next, plain };
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
