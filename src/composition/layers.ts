/**
 * The room of packages: the store of layers with its builders, their way out to the
 * index, the gate for what they made and the daemon's images.
 */
import { readFileSync } from 'node:fs';
import { RunSlots } from '../admission/run-slots.ts';
import { DEFAULT_ARCHIVE_LIMITS, readProject } from '../archive/read-project.ts';
import { ConfigError, type Config } from '../config/config.ts';
import { builderCommand } from '../dependencies/builder/builder-session.ts';
import type { LayerBase } from '../dependencies/layer-maker.ts';
import { LayerStore } from '../dependencies/layer-store.ts';
import { packagePolicy } from '../dependencies/package-policy.ts';
import { parseRequirements, type Requirement } from '../dependencies/requirements.ts';
import { ServiceError } from '../domain/errors.ts';
import { isReachable, type EgressRules } from '../egress/dialling.ts';
import { EgressGate, type EgressAccess } from '../egress/egress-gate.ts';
import type { SandboxHost } from '../sandbox/cold-start.ts';
import type { DockerDaemon } from '../sandbox/docker-daemon.ts';
import type { ImageStore } from '../sandbox/image-store.ts';
import { LayerImages } from '../sandbox/layer-images.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { InstalledPackages } from './audit.ts';
import { packageIndexAccess } from './package-index.ts';

const MIB = 2 ** 20;
/** What a builder needs beside the wheels and what is in them. */
const BUILDER_MEMORY_BYTES = 384 * MIB;
/** Under gVisor the threads of its own kernel count, too: 190 were seen. */
const BUILDER_PIDS = 512;
const WAITING_BUILDS_MAX = 32;
const WAITING_BUILDS_OF_CALLER_MAX = 24;
const FILES_MAX = 100_000;
const REQUESTS_BYTES_MAX = 16 * MIB;
const CONSTRAINTS = { count: 10_000, bytes: 4 * MIB };
const BUILDER_LABEL = 'pyexec.builder';
const PYTHON_LABEL = 'pyexec.python';

/**
 * Whether an answer says nothing about the requirements: there is none, it cannot be used,
 * it leads where the operator lets nobody go, or the index refuses all who ask.
 */
function saysNothing({ verdict, status = 0, problem }: EgressAccess): boolean {
  const isRefusal = status === 401 || status === 403 || status === 407 || status === 429;
  return verdict !== 'allowed' || problem !== undefined || status >= 500 || isRefusal;
}

/** `3.13` of `3.13.5`. */
const minorOf = (version: string | undefined) => /^(\d+\.\d+)/.exec(version ?? '')?.[1];

function constraintsOf(path: string): readonly string[] {
  if (path === '') return [];
  let constraints: readonly Requirement[];
  try {
    constraints = parseRequirements(readFileSync(path, 'utf8'), CONSTRAINTS);
  } catch (cause) {
    const reason = cause instanceof ServiceError ? cause.message : 'it cannot be read';
    throw new ConfigError(`PYEXEC_CONSTRAINTS_FILE: ${reason}`, { cause });
  }
  // The installer takes none of these, or then wants hashes of everything: every installation would fail.
  const odd = constraints.find(({ line }) => /^[^ ;]*\[| --hash=/.test(line));
  if (odd) {
    throw new ConfigError(
      `PYEXEC_CONSTRAINTS_FILE: ${odd.name} has extras or a hash; a constraint is a name with versions and a marker`,
    );
  }
  return constraints.map(({ line }) => line);
}

/**
 * The store of layers, not yet told of those an earlier process made.
 * @throws {ConfigError} when the constraints or the hosts of the index cannot be used.
 */
export function buildLayers(
  config: Config,
  parts: {
    readonly daemon: DockerDaemon;
    readonly imageStore: ImageStore;
    readonly host: SandboxHost;
    readonly logger: Logger;
    readonly metrics: Metrics;
    /** Ends the warm sandboxes of a layer. */
    readonly letGo: (layer: string) => Promise<void>;
    /** Hears of every layer that was made. */
    readonly installed: (packages: InstalledPackages) => void;
    /** Hears of what a layer will hold, before it is made: `name==version` of each. */
    readonly locked: (packages: readonly string[]) => void;
  },
): LayerStore {
  const { daemon, host, imageStore, installed, letGo, locked, logger, metrics } = parts;
  const { index, allowed, url, hosts } = packageIndexAccess(config);
  const layerBytesMax = config.PYEXEC_LAYER_MAX_MB * MIB;
  const rules: EgressRules = {
    allowed,
    allowsPrivateAddresses: config.PYEXEC_INDEX_PRIVATE,
    // Wheels are compressed, but pages of the index and metadata come on top.
    bytesMax: layerBytesMax + 256 * MIB,
    bytesSentMax: REQUESTS_BYTES_MAX,
  };

  const builderImage = async (base: LayerBase) => {
    const python = minorOf((await imageStore.find(base.id)).labels[PYTHON_LABEL]);
    const images = await imageStore.list();
    const image = images.find(
      ({ labels }) => BUILDER_LABEL in labels && python !== undefined && minorOf(labels[PYTHON_LABEL]) === python,
    );
    if (image) return image;
    throw new ServiceError(
      'requirements_not_supported',
      `Packages cannot be installed for the image ${base.reference}; name one that has them.`,
      { members: { field: 'requirements' } },
    );
  };

  return new LayerStore({
    images: new LayerImages(daemon, config.PYEXEC_INSTANCE),
    policy: packagePolicy(config.PYEXEC_PACKAGES, config.PYEXEC_PACKAGES_ALLOWED),
    constraints: constraintsOf(config.PYEXEC_CONSTRAINTS_FILE),
    indexUrl: url,
    indexHosts: hosts,
    packagesMax: config.PYEXEC_MAX_PACKAGES,
    filesMax: FILES_MAX,
    layerBytesMax,
    totalBytesMax: config.PYEXEC_LAYERS_MAX_MB * MIB,
    buildMsMax: config.PYEXEC_INSTALL_TIMEOUT * 1000,
    lockMsMax: config.PYEXEC_LOCK_TTL * 1000,
    places: new RunSlots({
      concurrent: config.PYEXEC_MAX_BUILDERS,
      queueMax: WAITING_BUILDS_MAX,
      callerQueueMax: WAITING_BUILDS_OF_CALLER_MAX,
    }),
    startBuilder: async (base) => {
      const image = await builderImage(base);
      const workBytes = 2 * layerBytesMax + 64 * MIB;
      const { container, release } = await host.startTool(
        {
          image: image.reference,
          imageId: image.id,
          runtime: config.PYEXEC_RUNTIME,
          network: 'none',
          memoryBytes: workBytes + BUILDER_MEMORY_BYTES,
          pids: BUILDER_PIDS,
          cpus: 1,
          workBytes,
          tmpBytes: 16 * MIB,
          preimports: [],
        },
        builderCommand(),
      );
      return {
        send: (type, payload) => {
          container.send(type, payload);
        },
        frames: () => container.frames(),
        release,
      };
    },
    openEgress: () => {
      let failed = false;
      const gate = new EgressGate(rules, (access) => {
        failed ||= saysNothing(access);
        logger.info({ egress: { ...access, durationMs: Math.round(access.durationMs) } }, 'a builder asked for a host');
      });
      return {
        accept: (connection) => {
          gate.accept(connection);
        },
        get failed() {
          return failed;
        },
        get overflowed() {
          return gate.overflowed;
        },
        close: () => {
          gate.close();
        },
      };
    },
    indexAnswers: () => isReachable(index, rules),
    readTree: (tar, signal) =>
      readProject(tar, {
        gzip: false,
        signal,
        spoolDirectory: config.PYEXEC_SPOOL_DIR,
        limits: {
          ...DEFAULT_ARCHIVE_LIMITS,
          bodyBytes: 2 * layerBytesMax,
          contentBytes: layerBytesMax,
          entries: 2 * FILES_MAX,
        },
      }),
    letGo,
    observe: (event) => {
      switch (event.kind) {
        case 'attached':
          metrics.layerAttached(event.cached, event.durationMs);
          break;
        case 'locked':
          locked(event.packages);
          break;
        case 'phase':
          metrics.layerPhase(event.phase, event.durationMs);
          break;
        case 'failed':
          metrics.layerFailed(event.code);
          logger.warn({ code: event.code, caller: event.caller }, 'packages were not installed');
          break;
        case 'installed':
          logger.info({ ...event }, 'packages were installed');
          installed(event);
          break;
        case 'evicted':
          logger.info({ layer: event.layer, bytes: event.bytes }, 'a layer made room');
          break;
      }
    },
  });
}
