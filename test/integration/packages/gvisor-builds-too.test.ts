/** Packages under gVisor, where the daemon has its runtime: built there, used there. */
import { expect, it } from 'vitest';
import { docker } from '../../support/docker-containers.ts';
import { startLayerEngine } from '../../support/layers.ts';
import { PackageIndex } from '../../support/package-index.ts';
import { wheel } from '../../support/wheels.ts';

const RUNTIME = 'runsc';
const info = (await docker.info()) as { Runtimes?: Record<string, unknown> };
const hasGvisor = Object.hasOwn(info.Runtimes ?? {}, RUNTIME);

it.skipIf(!hasGvisor)(
  'one builder after another installs, each on a kernel that counts its own threads among its processes',
  async () => {
    const names = ['one', 'two', 'three', 'four'];
    await using index = await PackageIndex.open(...names.map((name) => wheel({ name })));
    await using engine = await startLayerEngine(index, { PYEXEC_RUNTIME: RUNTIME });
    for (const name of names) {
      const execution = await engine.run(`import ${name}; print(${name}.VERSION)`, { requirements: name });
      expect(execution, name).toMatchObject({ stdout: '1.0\n', runtime: RUNTIME, packages: [`${name}==1.0`] });
    }
  },
  120_000,
);
