/**
 * The room of readiness: whether a run would be accepted now, and what is missing where it would not. Asked as often as
 * anybody likes, it is found out once a second.
 */
import type { Executions } from '../execution/executions.ts';
import type { DockerDaemon } from '../sandbox/docker-daemon.ts';
import type { ImageStore } from '../sandbox/image-store.ts';
import type { ExecutionStore } from '../store/execution-store.ts';
import { storageReadiness } from './state.ts';

const CACHE_MS = 1_000;

export interface Readiness {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, { readonly ok: boolean; readonly detail?: string }>>;
}

/** Never rejects. */
export function readinessOf(parts: {
  readonly daemon: DockerDaemon;
  readonly imageStore: ImageStore;
  readonly defaultImage: string;
  readonly store: ExecutionStore;
  readonly executions: Executions;
}): () => Promise<Readiness> {
  const { daemon, imageStore, defaultImage, store, executions } = parts;
  const failed = (detail: string) => ({ ok: false, detail });
  const check = async (): Promise<Readiness> => {
    const checks = {
      docker: await daemon.ping().then(
        () => ({ ok: true }),
        () => failed('the container engine does not answer'),
      ),
      image: await imageStore.find(defaultImage).then(
        () => ({ ok: true }),
        () => failed('the default image is not available'),
      ),
      storage: storageReadiness(store),
      accepting: executions.isDraining ? failed('the service is shutting down') : { ok: true },
    };
    return { ready: Object.values(checks).every(({ ok }) => ok), checks };
  };
  let last: { at: number; value: Promise<Readiness> } | undefined;
  return () => {
    if (!last || performance.now() - last.at > CACHE_MS) last = { at: performance.now(), value: check() };
    return last.value;
  };
}
