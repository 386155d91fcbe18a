/**
 * The room of analyses: the image they run in, their containers, their places.
 */
import { RunSlots } from '../admission/run-slots.ts';
import { analyzerCommand } from '../analysis/analyzer/analyzer-session.ts';
import { analyzeCode } from '../analysis/analyze-code.ts';
import { ConfigError, type Config } from '../config/config.ts';
import { ServiceError } from '../domain/errors.ts';
import { RunAnalysis, type AnalysisEvent } from '../execution/run-analysis.ts';
import type { SandboxHost } from '../sandbox/cold-start.ts';
import type { ImageStore } from '../sandbox/image-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';

const MIB = 2 ** 20;
const ANALYZER_LABEL = 'pyexec.analyzer';
/** PID 1 with the sources, and the process that reads them, which may have 320 MiB. */
const ANALYZER_MEMORY_BYTES = 512 * MIB;
/** One process reads at a time; under gVisor the threads of its own kernel count, too. */
const ANALYZER_PIDS = 256;
const FILE_BYTES_MAX = MIB;
const FILE_TIME_MS_MAX = 10_000;
const FINDINGS_MAX = 100;
/** Analyses that wait; beyond them a report says so. */
const WAITING_MAX = 256;

/** @throws {ConfigError} when code is to be analyzed before every run and there is nothing to do it with. */
export async function buildAnalysis(
  config: Config,
  parts: {
    readonly imageStore: ImageStore;
    readonly host: SandboxHost;
    readonly logger: Logger;
    readonly metrics: Metrics;
    /** Hears of every analysis that is over. */
    readonly analyzed: (event: AnalysisEvent) => void;
  },
): Promise<RunAnalysis> {
  const { analyzed, host, imageStore, logger, metrics } = parts;
  const mode = config.PYEXEC_ANALYSIS;
  const analyzerImage = async () => (await imageStore.list()).find(({ labels }) => ANALYZER_LABEL in labels);
  if (mode === 'block' && !(await analyzerImage())) {
    throw new ConfigError('PYEXEC_ANALYSIS: the analyzer’s image is not on this machine; run npm run setup');
  }
  const startAnalyzer = async () => {
    const image = await analyzerImage();
    if (!image) throw new ServiceError('image_unavailable', 'The analyzer’s image is not on this machine.');
    const shape = {
      image: image.reference,
      imageId: image.id,
      runtime: config.PYEXEC_RUNTIME,
      network: 'none',
      memoryBytes: ANALYZER_MEMORY_BYTES + 2 * config.PYEXEC_ANALYSIS_MAX_MB * MIB,
      pids: ANALYZER_PIDS,
      cpus: 1,
      workBytes: 2 * FILE_BYTES_MAX,
      tmpBytes: MIB,
      preimports: [],
    };
    const { container, release } = await host.startTool(shape, analyzerCommand());
    return {
      send: (type: number, payload: Uint8Array) => {
        container.send(type, payload);
        return container.flushed();
      },
      frames: () => container.frames(),
      release,
    };
  };
  const timeoutMs = config.PYEXEC_ANALYSIS_TIMEOUT * 1000;
  const options = {
    startAnalyzer,
    timeoutMs,
    limits: { findingsMax: FINDINGS_MAX, fileBytesMax: FILE_BYTES_MAX, fileTimeMs: FILE_TIME_MS_MAX },
    sourceBytesMax: config.PYEXEC_ANALYSIS_MAX_MB * MIB,
    onFailure: (err: unknown) => {
      logger.error({ err }, 'code could not be analyzed');
    },
  };
  return new RunAnalysis({
    policy: { mode, blocksAt: config.PYEXEC_ANALYSIS_BLOCKS_AT },
    places: new RunSlots({ concurrent: config.PYEXEC_MAX_ANALYZERS, queueMax: WAITING_MAX }),
    waitMsMax: timeoutMs,
    analyze: (plan, project, signal) => analyzeCode(plan, project, options, signal),
    observe: (event) => {
      metrics.analyzed(event.refused ?? event.report.status, event.durationMs);
      analyzed(event);
    },
  });
}
