/**
 * An engine that installs from an index of the test, and takes its layers with it
 * when it goes: they are made to outlive a server.
 */
import { randomUUID } from 'node:crypto';
import { docker } from './docker-containers.ts';
import { startEngine, type TestEngine } from './engine.ts';
import type { PackageIndex } from './package-index.ts';

export interface LayerEngine extends TestEngine {
  readonly instance: string;
}

const newInstance = () => `test-${randomUUID()}`;

/** Images of this instance's layers, those without a name included. */
export async function layersOf(instance: string) {
  return docker.listImages({ filters: JSON.stringify({ label: [`pyexec.layer.instance=${instance}`] }) });
}

export async function removeLayers(instance: string): Promise<void> {
  for (const { Id } of await layersOf(instance)) {
    // Gone already, when it was a step of one that was removed.
    await docker
      .getImage(Id)
      .remove({ force: true })
      .catch(() => undefined);
  }
}

export async function startLayerEngine(
  index: PackageIndex,
  settings: Readonly<Record<string, string>> = {},
): Promise<LayerEngine> {
  const instance = settings['PYEXEC_INSTANCE'] ?? newInstance();
  const engine = await startEngine({ ...index.settings, ...settings, PYEXEC_INSTANCE: instance });
  return {
    instance,
    engine: engine.engine,
    run: (program, request) => engine.run(program, request),
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await removeLayers(instance);
    },
  };
}
