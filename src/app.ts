/**
 * The composition root: builds each stage and hands it to the next. Read top to
 * bottom it is the list of what the service consists of; nothing else builds a stage.
 */
import { availableParallelism } from 'node:os';
import type { FastifyInstance } from 'fastify';
import { buildProject } from './archive/build-project.ts';
import { DEFAULT_ARCHIVE_LIMITS, type ArchiveLimits } from './archive/read-project.ts';
import { buildBudgets, runSlots } from './composition/admission.ts';
import { buildAdvisories } from './composition/advisories.ts';
import { buildAnalysis } from './composition/analysis.ts';
import { openAudit, type Audit } from './composition/audit.ts';
import { checkDaemon, readSeccompProfile } from './composition/boot-checks.ts';
import { checkExposure, openIdentity, rateLimitsOf, type Identity } from './composition/identity.ts';
import { buildLayers } from './composition/layers.ts';
import { operatorPolicy } from './composition/operator-policy.ts';
import { buildWebhooks } from './composition/webhooks.ts';
import { checkPreimports, poolWishes, targetsOf, type PoolWish } from './composition/pool-targets.ts';
import { pairsOf } from './composition/setting-pairs.ts';
import { WarmLayers } from './composition/warm-layers.ts';
import { keepState, openState, storageReadiness, type State } from './composition/state.ts';
import { ConfigError, type Config } from './config/config.ts';
import { ServiceError } from './domain/errors.ts';
import { pythonExecutorDoor } from './doors/python-executor/routes.ts';
import { Executions } from './execution/executions.ts';
import { RunPackages } from './execution/run-packages.ts';
import { isolationReporter, type IsolationReport } from './execution/isolation-report.ts';
import { buildHttpServer } from './http/server.ts';
import { OutputMemory } from './output/output-memory.ts';
import { defaultShape } from './policy/decide.ts';
import { defaultImageOf, mayUseImage } from './policy/within-caller.ts';
import { imageMatcher, isReference, normalizeReference } from './policy/image-catalogue.ts';
import { SandboxHost, type SandboxEvent } from './sandbox/cold-start.ts';
import { DockerDaemon } from './sandbox/docker-daemon.ts';
import { ImageStore, type LocalImage } from './sandbox/image-store.ts';
import { OrphanReaper } from './sandbox/orphan-reaper.ts';
import type { PoolTarget } from './sandbox/pool-shelf.ts';
import { WarmPool, type PoolEvent } from './sandbox/warm-pool.ts';
import { supervisorCommand } from './sandbox/supervisor/protocol.ts';
import type { Logger } from './telemetry/logger.ts';
import { Metrics } from './telemetry/metrics.ts';
import { observeMilestones } from './telemetry/observe-executions.ts';

const MIB = 2 ** 20;
/** Longest text of requirements. */
const REQUIREMENTS_BYTES_MAX = 256 * 1024;
/** A container may outlive its longest run by this much before anybody may remove it. */
const LIFETIME_MARGIN_MS = 300_000;
/** Events of all executions together that are held in memory; the rest is in their files. */
const OUTPUT_MEMORY_BYTES_MAX = 32 * MIB;
const READY_CACHE_MS = 1_000;
/** How often the pool looks for members that died or aged, and for images that were built anew. */
const POOL_MAINTENANCE_MS = 15_000;

/** Everything but the door: runs projects, holds their records, cleans up after them. */
export interface Engine {
  readonly executions: Executions;
  readonly metrics: Metrics;
  readonly audit: Audit;
  readonly images: () => Promise<readonly (LocalImage & { readonly isDefault: boolean })[]>;
  readonly readiness: () => Promise<Readiness>;
  readonly isolation: () => Promise<IsolationReport>;
  readonly archiveLimits: ArchiveLimits;
  /** Refuses new work, ends what runs within the grace period, waits until no container of ours is left. */
  drain(graceMs: number): Promise<void>;
  /** Drains, then gives up the state directory: nothing can be fetched any more. */
  close(graceMs: number): Promise<void>;
}

export interface Readiness {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, { readonly ok: boolean; readonly detail?: string }>>;
}

export interface App extends Engine {
  readonly http: FastifyInstance;
}

/**
 * Builds the engine and checks that the daemon can do what is configured.
 * @throws {ConfigError} when the seccomp profile, the default image or the runtime is missing, no daemon answers, or
 *   the state directory cannot be used.
 */
export async function buildEngine(config: Config, logger: Logger): Promise<Engine> {
  const state = openState(config, logger);
  try {
    return await buildOn(state, config, logger);
  } catch (error) {
    await state.close();
    throw error;
  }
}

async function buildOn(state: State, config: Config, logger: Logger): Promise<Engine> {
  const { store, directory } = state;
  const seccompProfile = readSeccompProfile(config.PYEXEC_SECCOMP_PROFILE);
  const policy = operatorPolicy(config);
  const slots = runSlots(config);
  const metrics = new Metrics({
    pyexec_runs_active: { help: 'Runs in progress', read: () => slots.running },
    pyexec_runs_queued: { help: 'Runs waiting for a place', read: () => slots.waiting },
    pyexec_queue_bytes: { help: 'Bytes of the projects of the runs that wait', read: () => slots.waitingBytes },
    pyexec_queue_callers: { help: 'Callers with a run that waits', read: () => slots.callersWaiting },
    pyexec_containers_live: { help: 'Containers being made, in use or being removed', read: () => host.liveCount },
    pyexec_pool_ready: { help: 'Warm sandboxes waiting for a run', read: () => pool.readyCount },
    pyexec_pool_target: { help: 'Warm sandboxes that are wanted', read: () => pool.targetCount },
    pyexec_layers_stored: { help: 'Layers of packages that are kept', read: () => layers.count },
    pyexec_layers_bytes: { help: 'Bytes of the layers that are kept', read: () => layers.bytes },
    pyexec_executions_stored: { help: 'Executions that can be fetched', read: () => store.size },
  });
  const webhooks = buildWebhooks(config, { table: state.webhooks, logger, metrics });
  metrics.poolShapes(() => pool.shelves);
  const daemon = new DockerDaemon({
    socketPath: config.PYEXEC_DOCKER_SOCKET,
    observe: (call, durationMs, failed) => {
      metrics.daemonCall(call, durationMs, failed);
    },
  });
  const observeSandbox = (event: SandboxEvent) => {
    switch (event.kind) {
      case 'started':
        metrics.phase('start', event.durationMs);
        break;
      case 'removed':
        metrics.phase('teardown', event.durationMs);
        break;
      case 'remove_failed':
        metrics.removeFailed();
        logger.error({ err: event.error }, 'a container could not be removed; the reaper goes on');
        break;
      case 'orphan_reaped':
        metrics.orphanReaped();
        logger.warn({ container: event.containerId.slice(0, 12) }, 'removed a container nobody owned');
        break;
    }
  };
  const host = new SandboxHost({
    daemon,
    settings: {
      seccompProfile,
      command: supervisorCommand(),
      openFilesMax: policy.maxima.open_files,
      dnsServers: config.PYEXEC_DNS_SERVERS,
    },
    instance: config.PYEXEC_INSTANCE,
    concurrentStarts: Math.max(2, availableParallelism()),
    lifetimeMsMax:
      Math.max(policy.maxima.wall_ms, policy.inputs.wallMs) + config.PYEXEC_POOL_MAX_AGE * 1000 + LIFETIME_MARGIN_MS,
    observe: observeSandbox,
  });
  const pool = new WarmPool({
    start: (shape, signal) => host.start(shape, signal),
    daemon,
    ageMsMax: config.PYEXEC_POOL_MAX_AGE * 1000,
    concurrentStarts: Math.max(2, availableParallelism()),
    activeRuns: () => slots.running,
    observe: (event: PoolEvent) => {
      metrics.pool(event);
      if (event.kind !== 'refill_failed') return;
      logger.warn({ err: event.error }, 'a warm sandbox could not be started');
      // A layer that cannot be started must not hold up the refilling of the rest.
      if (event.shape.layer !== undefined) void warmLayers.forget(event.shape.layer);
    },
  });
  const reaper = new OrphanReaper({
    daemon,
    instance: config.PYEXEC_INSTANCE,
    boot: host.boot,
    intervalMs: config.PYEXEC_REAP_INTERVAL * 1000,
    isLive: (name) => host.isLive(name),
    observe: observeSandbox,
    onError: (error) => {
      logger.warn({ err: error }, 'the search for orphans failed');
    },
  });
  const wishes = poolWishes(config);
  let imageTargets: readonly PoolTarget[] = [];
  const warmLayers: WarmLayers = new WarmLayers({
    max: config.PYEXEC_POOL_LAYERS,
    idleMsMax: config.PYEXEC_POOL_LAYER_IDLE * 1000,
    sizeOfImage: (image) =>
      wishes.find(
        (wish) => wish.preimports.length === 0 && normalizeReference(wish.image) === normalizeReference(image),
      ),
    onChange: () => {
      pool.setTargets([...warmLayers.targets(), ...imageTargets]);
      return pool.discardsDone();
    },
  });
  const letGo = (layer: string) => warmLayers.forget(layer);
  const imageStore = new ImageStore(daemon);
  const advisories = buildAdvisories(config, {
    ...{ table: state.advisories, logger, metrics },
    checked: (event) => {
      audit.advised(event);
    },
  });
  const layers = buildLayers(config, {
    ...{ daemon, imageStore, host, logger, metrics, letGo },
    installed: (packages) => {
      audit.installed(packages);
    },
    locked: (packages) => advisories?.packages.expect(packages),
  });
  const isAllowed = imageMatcher(config.PYEXEC_ALLOWED_IMAGES);
  const defaultReference = normalizeReference(config.PYEXEC_DEFAULT_IMAGE);
  const mayRun = (reference: string) => normalizeReference(reference) === defaultReference || isAllowed(reference);

  await checkDaemon(config, daemon, imageStore);
  await reaper.sweep();
  reaper.start();
  await layers.recover();

  for (const wish of wishes.filter(({ preimports }) => preimports.length > 0)) {
    const image = await imageStore.find(wish.image).catch((cause: unknown) => {
      throw new ConfigError(`PYEXEC_POOL_PREIMPORTS: ${wish.image} is not on this machine`, { cause });
    });
    await checkPreimports(wish, defaultShape(image, policy, wish.preimports), (shape, signal) =>
      host.start(shape, signal),
    );
  }
  const fillPool = async (onMissing?: (error: ServiceError) => void) => {
    const shapeFor = async ({ image, preimports }: PoolWish) =>
      defaultShape(await imageStore.find(image), policy, preimports);
    imageTargets = await targetsOf(wishes, shapeFor, onMissing);
    pool.setTargets([...warmLayers.targets(), ...imageTargets]);
  };
  const maintainPool = async () => {
    await fillPool((error) => {
      logger.warn({ err: error }, 'an image that is to be kept warm is gone');
    });
    pool.maintain();
  };
  const budgets = buildBudgets(config, state.usage, logger);
  const audit = openAudit(config, logger, metrics);
  const analysis = await buildAnalysis(config, { imageStore, host, logger, metrics, analyzed: audit.analyzed });
  const observe = observeMilestones(logger, metrics);
  const archiveLimits: ArchiveLimits = {
    ...DEFAULT_ARCHIVE_LIMITS,
    bodyBytes: config.PYEXEC_MAX_UPLOAD_MB * MIB,
    contentBytes: config.PYEXEC_MAX_PROJECT_MB * MIB,
    entries: config.PYEXEC_MAX_ENTRIES,
  };
  const executions = new Executions({
    webhooks,
    budgets,
    policy,
    slots,
    store,
    storage: {
      directoryOf: (id) => directory.executionDirectory(id),
      onShow: (id, seq) => {
        state.showing(id, seq);
      },
      memory: new OutputMemory(OUTPUT_MEMORY_BYTES_MAX),
    },
    projects: { limits: archiveLimits, spoolDirectory: config.PYEXEC_SPOOL_DIR },
    resolveImage: async (asked, caller) => {
      const reference = asked ?? defaultImageOf(caller, config.PYEXEC_DEFAULT_IMAGE);
      if (!mayUseImage(caller, reference)) {
        throw new ServiceError('image_not_allowed', 'Your credentials do not allow this image; see /api/v1/images.');
      }
      if (reference === config.PYEXEC_DEFAULT_IMAGE) return imageStore.find(reference);
      if (!isReference(reference) || !mayRun(reference)) {
        throw new ServiceError('image_not_allowed', 'The image is not one the operator allows; see /api/v1/images.');
      }
      // In full, so that the daemon cannot take it for the beginning of an image id.
      return { ...(await imageStore.find(normalizeReference(reference))), reference };
    },
    packages: new RunPackages({
      layers,
      advisories: advisories?.packages,
      limits: { count: config.PYEXEC_MAX_REQUIREMENTS, bytes: REQUIREMENTS_BYTES_MAX },
      waitingMax: Math.max(1, Math.floor(config.PYEXEC_MAX_CONCURRENT / 2)),
    }),
    analysis,
    preimportsOffered: (shape) => pool.preimportsOffered(shape),
    startSandbox: (shape, signal) => {
      warmLayers.used(shape);
      return pool.take(shape, signal);
    },
    takeReady: (shape) => {
      const lease = pool.takeReady(shape);
      if (lease) warmLayers.used(shape);
      return lease;
    },
    witness: audit,
    observe: (milestone) => {
      observe(milestone);
      audit.milestone(milestone);
    },
  });

  await keepState(state, executions, logger, audit.recovered, () => webhooks.recover((id) => executions.endOf(id)));
  // Last: a boot that is refused leaves no containers.
  await fillPool();
  const poolTimer = setInterval(() => {
    // A daemon that is away is seen by readiness and by the next run; the pool stays as it is meanwhile.
    maintainPool().catch(() => undefined);
  }, POOL_MAINTENANCE_MS);
  poolTimer.unref();

  let lastReadiness: { at: number; value: Promise<Readiness> } | undefined;
  const checkReadiness = async (): Promise<Readiness> => {
    const failed = (detail: string) => ({ ok: false, detail });
    const checks = {
      docker: await daemon.ping().then(
        () => ({ ok: true }),
        () => failed('the container engine does not answer'),
      ),
      image: await imageStore.find(config.PYEXEC_DEFAULT_IMAGE).then(
        () => ({ ok: true }),
        () => failed('the default image is not available'),
      ),
      storage: storageReadiness(store),
      accepting: executions.isDraining ? failed('the service is shutting down') : { ok: true },
    };
    return { ready: Object.values(checks).every(({ ok }) => ok), checks };
  };

  const drain = async (graceMs: number) => {
    await executions.drain(graceMs);
    await webhooks.close();
    await layers.close();
    await advisories?.close();
    clearInterval(poolTimer);
    await pool.close();
    await host.settled();
    reaper.stop();
  };
  return {
    executions,
    metrics,
    audit,
    archiveLimits,
    isolation: isolationReporter(executions, (path, content) =>
      buildProject([{ path, content }], { limits: archiveLimits, spoolDirectory: config.PYEXEC_SPOOL_DIR }),
    ),
    images: async () =>
      (await imageStore.list())
        .filter(({ reference }) => mayRun(reference))
        .map((image) => ({ ...image, isDefault: normalizeReference(image.reference) === defaultReference })),
    readiness: () => {
      if (!lastReadiness || performance.now() - lastReadiness.at > READY_CACHE_MS) {
        lastReadiness = { at: performance.now(), value: checkReadiness() };
      }
      return lastReadiness.value;
    },
    drain,
    close: async (graceMs) => {
      await drain(graceMs);
      audit.close();
      await state.close();
    },
  };
}

/** What callers are recognised by; the engine is closed when it cannot be opened. */
async function openIdentityFor(engine: Engine, config: Config, logger: Logger): Promise<Identity> {
  try {
    return await openIdentity(config, logger, (isRevoked) => {
      engine.executions.cancelOfRevoked(isRevoked);
    });
  } catch (error) {
    await engine.close(0);
    throw error;
  }
}

/**
 * Builds the whole service, not yet listening.
 * @throws {ConfigError} as buildEngine does.
 */
export async function buildApp(config: Config, logger: Logger, version: string): Promise<App> {
  checkExposure(config);
  const engine = await buildEngine(config, logger);
  const identity = await openIdentityFor(engine, config, logger);
  const http = await buildHttpServer(
    {
      executions: engine.executions,
      settings: {
        bodyBytesMax: engine.archiveLimits.bodyBytes,
        archiveLimits: engine.archiveLimits,
        spoolDirectory: config.PYEXEC_SPOOL_DIR,
        stdinBytesMax: config.PYEXEC_MAX_STDIN_MB * MIB,
        uploadTimeoutMs: config.PYEXEC_UPLOAD_TIMEOUT * 1000,
        connectionsMax: config.PYEXEC_MAX_CONNECTIONS,
        trustProxy: config.PYEXEC_TRUST_PROXY,
      },
      images: engine.images,
      identify: identity.identify,
      openRoutes: config.PYEXEC_OPEN_ROUTES,
      rateLimits: rateLimitsOf(config),
      observeRefusedCaller: (refused) => {
        engine.metrics.callerRefused(refused.reason);
        engine.audit.refusedCaller(refused);
      },
      readiness: engine.readiness,
      renderMetrics: () => engine.metrics.render(),
      isolation: engine.isolation,
      observeRequest: ({ method, route, status, durationMs, code }) => {
        engine.metrics.request(method, route, status, durationMs);
        if (code !== undefined) engine.metrics.refused(code);
      },
      observeArchive: ({ durationMs }) => {
        engine.metrics.phase('archive', durationMs);
      },
      logger,
      version,
    },
    [
      pythonExecutorDoor({
        pythonImages: pairsOf(config.PYEXEC_PYTHON_IMAGES, 'PYEXEC_PYTHON_IMAGES'),
        detectsImports: config.PYEXEC_AUTO_DETECT_IMPORTS,
        toolFacts: { timeoutSeconds: config.PYEXEC_DEFAULT_TIMEOUT, memoryMib: config.PYEXEC_DEFAULT_MEMORY_MB },
      }),
    ],
  );
  const close = async (graceMs: number) => {
    // Streams of runs stay open while they drain; what was asked before the server closes is still answered.
    await engine.drain(graceMs);
    await http.close();
    identity.close();
    await engine.close(0);
  };
  return { ...engine, http, close };
}
