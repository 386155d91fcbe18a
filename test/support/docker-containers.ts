/** What the real daemon has of an instance of the service, asked past every proxy. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import Docker from 'dockerode';
import { LABEL } from '../../src/sandbox/container-labels.ts';
import { DOCKER_SOCKET } from './docker-socket-proxy.ts';

export const docker = new Docker({ socketPath: DOCKER_SOCKET });

export async function containersOf(instance: string): Promise<readonly Docker.ContainerInfo[]> {
  return docker.listContainers({ all: true, filters: { label: [`${LABEL.instance}=${instance}`] } });
}

/** Waits until the condition holds; fails with what it waited for. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${String(timeoutMs)} ms: ${what}`);
    await sleep(50);
  }
}

export const untilGone = (instance: string, timeoutMs?: number) =>
  until(`no container of ${instance}`, async () => (await containersOf(instance)).length === 0, timeoutMs);

/** A running container that is no sandbox, under any name and labels. It is removed on disposal, if it is still there. */
export async function placeContainer(
  image: string,
  labels: Readonly<Record<string, string>>,
  name = `pyexec-${randomUUID()}`,
): Promise<AsyncDisposable & { readonly exists: () => Promise<boolean>; readonly name: string }> {
  const container = await docker.createContainer({
    name,
    Image: image,
    Entrypoint: ['sleep', '300'],
    Labels: { ...labels },
    NetworkDisabled: true,
  });
  await container.start();
  const exists = () =>
    container.inspect().then(
      () => true,
      () => false,
    );
  return {
    name,
    exists,
    async [Symbol.asyncDispose]() {
      await container.remove({ force: true }).catch(() => undefined);
    },
  };
}
