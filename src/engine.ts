/**
 * Everything but the door, put together: each room is built and handed to the next. Read top to bottom it is the list of
 * what the engine consists of.
 */
import { buildProject } from './archive/build-project.ts';
import { DEFAULT_ARCHIVE_LIMITS, type ArchiveLimits } from './archive/read-project.ts';
import { buildBudgets, runSlots } from './composition/admission.ts';
import { buildAdvisories } from './composition/advisories.ts';
import { buildAnalysis } from './composition/analysis.ts';
import { openAudit, type Audit } from './composition/audit.ts';
import { checkDaemon, readSeccompProfile } from './composition/boot-checks.ts';
import { offeredImages, type OfferedImage } from './composition/images.ts';
import { lockInstance } from './composition/instance-lock.ts';
import { buildLayers } from './composition/layers.ts';
import { operatorPolicy } from './composition/operator-policy.ts';
import { readinessOf, type Readiness } from './composition/readiness.ts';
import { buildSandboxes } from './composition/sandboxes.ts';
import { keepState, openState, type State } from './composition/state.ts';
import { WarmSandboxes } from './composition/warm-sandboxes.ts';
import { buildWebhooks } from './composition/webhooks.ts';
import type { Config } from './config/config.ts';
import { Executions } from './execution/executions.ts';
import { isolationReporter, type IsolationReport } from './execution/isolation-report.ts';
import { RunPackages } from './execution/run-packages.ts';
import { OutputMemory } from './output/output-memory.ts';
import { DockerDaemon } from './sandbox/docker-daemon.ts';
import { ImageStore } from './sandbox/image-store.ts';
import type { Logger } from './telemetry/logger.ts';
import { Metrics } from './telemetry/metrics.ts';
import { observeMilestones } from './telemetry/observe-executions.ts';

const MIB = 2 ** 20;
/** Longest text of requirements. */
const REQUIREMENTS_BYTES_MAX = 256 * 1024;
/** Events of all executions together that are held in memory; the rest is in their files. */
const OUTPUT_MEMORY_BYTES_MAX = 32 * MIB;

/** Everything but the door: runs projects, holds their records, cleans up after them. */
export interface Engine {
  readonly executions: Executions;
  readonly metrics: Metrics;
  readonly audit: Audit;
  readonly images: () => Promise<readonly OfferedImage[]>;
  readonly readiness: () => Promise<Readiness>;
  readonly isolation: () => Promise<IsolationReport>;
  readonly archiveLimits: ArchiveLimits;
  /** Refuses new work, ends what runs within the grace period, waits until no container of ours is left. */
  drain(graceMs: number): Promise<void>;
  /** Drains, then gives up the state directory: nothing can be fetched any more. */
  close(graceMs: number): Promise<void>;
}

/**
 * Builds the engine and checks that the daemon can do what is configured.
 * @throws {ConfigError} when the seccomp profile, the default image or the runtime is missing, no daemon answers, or
 *   the state directory cannot be used, or another server has the same name.
 */
export async function buildEngine(config: Config, logger: Logger): Promise<Engine> {
  const lock = await lockInstance(config);
  let state: State | undefined;
  const giveUp = async () => {
    await state?.close();
    lock.release();
  };
  try {
    state = openState(config, logger);
    const engine = await buildOn(state, config, logger);
    return {
      ...engine,
      close: async (graceMs) => {
        await engine.drain(graceMs);
        engine.audit.close();
        await giveUp();
      },
    };
  } catch (error) {
    await giveUp();
    throw error;
  }
}

async function buildOn(state: State, config: Config, logger: Logger): Promise<Omit<Engine, 'close'>> {
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
    pyexec_pool_ready: { help: 'Warm sandboxes waiting for a run', read: () => warm.pool.readyCount },
    pyexec_pool_target: { help: 'Warm sandboxes that are wanted', read: () => warm.pool.targetCount },
    pyexec_layers_stored: { help: 'Layers of packages that are kept', read: () => layers.count },
    pyexec_layers_bytes: { help: 'Bytes of the layers that are kept', read: () => layers.bytes },
    pyexec_executions_stored: { help: 'Executions that can be fetched', read: () => store.size },
  });
  metrics.poolShapes(() => warm.pool.shelves);
  const webhooks = buildWebhooks(config, { table: state.webhooks, logger, metrics });
  const daemon = new DockerDaemon({
    socketPath: config.PYEXEC_DOCKER_SOCKET,
    observe: (call, durationMs, failed) => {
      metrics.daemonCall(call, durationMs, failed);
    },
  });
  const imageStore = new ImageStore(daemon);
  const images = offeredImages(config, imageStore);
  const { host, reaper } = buildSandboxes(config, { daemon, seccompProfile, policy, logger, metrics });
  const activeRuns = () => slots.running;
  const warm: WarmSandboxes = new WarmSandboxes(config, {
    daemon,
    host,
    imageStore,
    policy,
    activeRuns,
    logger,
    metrics,
  });
  const advisories = buildAdvisories(config, {
    ...{ table: state.advisories, logger, metrics },
    checked: (event) => {
      audit.advised(event);
    },
  });
  const layers = buildLayers(config, {
    ...{ daemon, imageStore, host, logger, metrics },
    letGo: (layer) => warm.letGo(layer),
    installed: (packages) => {
      audit.installed(packages);
    },
    locked: (packages) => advisories?.packages.expect(packages),
  });

  await checkDaemon(config, daemon, imageStore);
  await reaper.sweep();
  reaper.start();
  await layers.recover();
  await warm.checkPreimports();

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
    ...{ webhooks, budgets, policy, slots, store, analysis },
    storage: {
      directoryOf: (id) => directory.executionDirectory(id),
      onShow: (id, seq) => {
        state.showing(id, seq);
      },
      memory: new OutputMemory(OUTPUT_MEMORY_BYTES_MAX),
    },
    projects: { limits: archiveLimits, spoolDirectory: config.PYEXEC_SPOOL_DIR },
    resolveImage: (asked, caller) => images.resolve(asked, caller),
    packages: new RunPackages({
      layers,
      advisories: advisories?.packages,
      limits: { count: config.PYEXEC_MAX_REQUIREMENTS, bytes: REQUIREMENTS_BYTES_MAX },
      waitingMax: Math.max(1, Math.floor(config.PYEXEC_MAX_CONCURRENT / 2)),
    }),
    preimportsOffered: (shape) => warm.pool.preimportsOffered(shape),
    startSandbox: (shape, signal) => warm.take(shape, signal),
    takeReady: (shape) => warm.takeReady(shape),
    witness: audit,
    observe: (milestone) => {
      observe(milestone);
      audit.milestone(milestone);
    },
  });

  await keepState(state, executions, logger, audit.recovered, () => webhooks.recover((id) => executions.endOf(id)));
  // Last: a boot that is refused leaves no containers.
  await warm.begin();

  const drain = async (graceMs: number) => {
    await executions.drain(graceMs);
    await webhooks.close();
    await layers.close();
    await advisories?.close();
    await warm.close();
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
    images: () => images.list(),
    readiness: readinessOf({ daemon, imageStore, defaultImage: config.PYEXEC_DEFAULT_IMAGE, store, executions }),
    drain,
  };
}
