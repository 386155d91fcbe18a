/**
 * The room of what is kept warm: the pool, what it is to hold (images by the settings, layers by their use), and its
 * upkeep.
 */
import { ConfigError, type Config } from '../config/config.ts';
import type { ServiceError } from '../domain/errors.ts';
import type { SandboxShape } from '../domain/plan.ts';
import { defaultShape, type OperatorPolicy } from '../policy/decide.ts';
import { normalizeReference } from '../policy/image-catalogue.ts';
import type { Lease, SandboxHost } from '../sandbox/cold-start.ts';
import type { DockerDaemon } from '../sandbox/docker-daemon.ts';
import type { ImageStore } from '../sandbox/image-store.ts';
import { watchPauses } from '../sandbox/pause-watch.ts';
import type { PoolTarget } from '../sandbox/pool-shelf.ts';
import { WarmPool, type PoolEvent } from '../sandbox/warm-pool.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { checkPreimports, poolWishes, targetsOf, type PoolWish } from './pool-targets.ts';
import { concurrentStarts } from './sandboxes.ts';
import { WarmLayers } from './warm-layers.ts';

/** How often the pool looks for members that died, aged or stand still, and for images that were built anew. */
const MAINTENANCE_MS = 15_000;

export interface WarmSandboxesParts {
  readonly daemon: DockerDaemon;
  readonly host: SandboxHost;
  readonly imageStore: ImageStore;
  readonly policy: OperatorPolicy;
  readonly activeRuns: () => number;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export class WarmSandboxes {
  readonly pool: WarmPool;
  readonly #parts: WarmSandboxesParts;
  readonly #wishes: readonly PoolWish[];
  readonly #layers: WarmLayers;
  readonly #instance: string;
  readonly #closing = new AbortController();
  #imageTargets: readonly PoolTarget[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** @throws {ConfigError} when what is to be kept cannot be read from the settings. */
  constructor(config: Config, parts: WarmSandboxesParts) {
    const { daemon, host, activeRuns, logger, metrics } = parts;
    this.#parts = parts;
    this.#instance = config.PYEXEC_INSTANCE;
    this.#wishes = poolWishes(config);
    this.pool = new WarmPool({
      start: (shape, signal) => host.start(shape, signal),
      daemon,
      ageMsMax: config.PYEXEC_POOL_MAX_AGE * 1000,
      concurrentStarts: concurrentStarts(),
      activeRuns,
      observe: (event: PoolEvent) => {
        metrics.pool(event);
        if (event.kind !== 'refill_failed') return;
        logger.warn({ err: event.error }, 'a warm sandbox could not be started');
        // A layer that cannot be started must not hold up the refilling of the rest.
        if (event.shape.layer !== undefined) void this.letGo(event.shape.layer);
      },
    });
    this.#layers = new WarmLayers({
      max: config.PYEXEC_POOL_LAYERS,
      idleMsMax: config.PYEXEC_POOL_LAYER_IDLE * 1000,
      sizeOfImage: (image) => this.#plainWishFor(image),
      onChange: () => {
        this.#aim();
        return this.pool.discardsDone();
      },
    });
  }

  /** A sandbox of this shape, warm or not. @throws as WarmPool.take. */
  take(shape: SandboxShape, signal: AbortSignal): Promise<Lease> {
    this.#layers.used(shape);
    return this.pool.take(shape, signal);
  }

  /** One that is ready this moment, if there is one. */
  takeReady(shape: SandboxShape): Lease | undefined {
    const lease = this.pool.takeReady(shape);
    if (lease) this.#layers.used(shape);
    return lease;
  }

  /** Keeps nothing warm on this layer any more. Resolves when nothing of it is left. */
  letGo(layer: string): Promise<void> {
    return this.#layers.forget(layer);
  }

  /** @throws {ConfigError} when modules that are to be imported beforehand cannot be, or their image is not here. */
  async checkPreimports(): Promise<void> {
    const { host, imageStore, policy } = this.#parts;
    for (const wish of this.#wishes.filter(({ preimports }) => preimports.length > 0)) {
      const image = await imageStore.find(wish.image).catch((cause: unknown) => {
        throw new ConfigError(`PYEXEC_POOL_PREIMPORTS: ${wish.image} is not on this machine`, { cause });
      });
      const shape = defaultShape(image, policy, wish.preimports);
      try {
        await checkPreimports(wish, shape, (wanted, signal) => host.start(wanted, signal));
      } finally {
        // A boot that is refused leaves no containers.
        await host.settled();
      }
    }
  }

  /** Begins to fill the pool, and to look after it. @throws {ServiceError} image_unavailable. */
  async begin(): Promise<void> {
    await this.#fill();
    this.#timer = setInterval(() => {
      // A daemon that is away is seen by readiness and by the next run; the pool stays as it is meanwhile.
      this.#maintain().catch(() => undefined);
    }, MAINTENANCE_MS);
    this.#timer.unref();
    const onPause = (containerId: string) => {
      this.pool.standsStill(containerId);
    };
    void watchPauses(this.#parts.daemon, this.#instance, onPause, this.#closing.signal);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort();
    await this.pool.close();
  }

  async #maintain(): Promise<void> {
    await this.#fill((error) => {
      this.#parts.logger.warn({ err: error }, 'an image that is to be kept warm is gone');
    });
    this.pool.maintain();
  }

  async #fill(onMissing?: (error: ServiceError) => void): Promise<void> {
    const { imageStore, policy } = this.#parts;
    const shapeFor = async ({ image, preimports }: PoolWish) =>
      defaultShape(await imageStore.find(image), policy, preimports);
    this.#imageTargets = await targetsOf(this.#wishes, shapeFor, onMissing);
    this.#aim();
  }

  #aim(): void {
    this.pool.setTargets([...this.#layers.targets(), ...this.#imageTargets]);
  }

  #plainWishFor(image: string): PoolWish | undefined {
    const reference = normalizeReference(image);
    return this.#wishes.find((wish) => wish.preimports.length === 0 && normalizeReference(wish.image) === reference);
  }
}
