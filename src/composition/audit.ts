/**
 * The audit log of the server: opened, and told of what it records.
 */
import { join } from 'node:path';
import { AuditChain, START, type AuditEntry } from '../audit/audit-chain.ts';
import { AuditLog } from '../audit/audit-log.ts';
import { ConfigError, type Config } from '../config/config.ts';
import { ServiceError } from '../domain/errors.ts';
import type { ExecutionId } from '../domain/execution.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { AdvisoryEvent } from '../dependencies/advisories/package-advisories.ts';
import type { AnalysisEvent } from '../execution/run-analysis.ts';
import type { Accepting, RunWitness } from '../execution/executions.ts';
import type { ExecutionMilestone } from '../domain/milestones.ts';
import type { RefusedCaller } from '../http/http-settings.ts';
import { AuditHead } from '../store/audit-head.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';

const MIB = 2 ** 20;
const DAY_MS = 86_400_000;

export interface Audit extends RunWitness {
  readonly recovered: (id: ExecutionId, outcome: Outcome | undefined) => void;
  readonly milestone: (milestone: ExecutionMilestone) => void;
  readonly refusedCaller: (refused: RefusedCaller) => void;
  readonly installed: (packages: InstalledPackages) => void;
  readonly analyzed: (event: AnalysisEvent) => void;
  readonly advised: (event: AdvisoryEvent) => void;
  /** Writes what waits. */
  close(): void;
}

/** A layer that was made: who asked for it first, and every line that is in it. */
export interface InstalledPackages {
  readonly layer: string;
  readonly image: string;
  readonly caller: string;
  /** `name==version --hash=sha256:…` */
  readonly lines: readonly string[];
  readonly bytes: number;
}

/** @throws {ConfigError} when the log cannot be written. */
export function openAudit(config: Config, logger: Logger, metrics: Metrics): Audit {
  const mode = config.PYEXEC_AUDIT;
  if (mode === 'off') {
    const nothing = () => undefined;
    return {
      accepting: () => Promise.resolve(),
      withdrawn: nothing,
      recovered: nothing,
      milestone: nothing,
      refusedCaller: nothing,
      installed: nothing,
      analyzed: nothing,
      advised: nothing,
      close: nothing,
    };
  }
  const { log, close } = openLog(config, mode === 'required', logger, metrics);
  const record = (entry: AuditEntry) => {
    log.note(entry);
  };
  return {
    accepting: async (accepting) => {
      const entry = acceptedEntry(accepting);
      if (mode !== 'required') {
        record(entry);
        return;
      }
      await log.write(entry).catch((cause: unknown) => {
        throw new ServiceError('audit_unavailable', 'The audit log cannot be written, so nothing is run.', { cause });
      });
    },
    withdrawn: (id) => {
      record({ kind: 'withdrawn', execution_id: id });
    },
    recovered: (id, outcome) => {
      record({ kind: 'ended', execution_id: id, outcome });
    },
    milestone: (milestone) => {
      if (milestone.kind !== 'ended') return;
      const { id, outcome, usage, totalMs } = milestone;
      record({ kind: 'ended', execution_id: id, outcome, usage, total_ms: Math.round(totalMs) });
    },
    refusedCaller: ({ reason, requestId, address, method, route }) => {
      record({ kind: 'refused', reason, address, request_id: requestId, method, route });
    },
    installed: ({ layer, image, caller, lines, bytes }) => {
      record({ kind: 'installed', caller, layer, image, packages: lines, bytes });
    },
    // Counts only: where the findings are is the caller's.
    analyzed: ({ caller, executionId, projectSha256, report, refused }) => {
      const { counts, skipped, status } = report;
      const whose = { caller, execution_id: executionId, project_sha256: projectSha256 };
      record({ kind: 'analyzed', ...whose, status, counts, skipped: skipped?.count, refused });
    },
    advised: ({ caller, executionId, report, refused }) => {
      const { checked_at, count, findings = [], status } = report;
      const idsOf = (isAccepted: boolean) =>
        findings.filter(({ accepted = false }) => accepted === isAccepted).flatMap(({ ids }) => ids);
      const found = { count, ids: idsOf(false), accepted: idsOf(true) };
      record({ kind: 'advised', caller, execution_id: executionId, status, checked_at, ...found, refused });
    },
    close: () => {
      log.note({ kind: 'stopped' });
      log.close();
      close();
    },
  };
}

function openLog(config: Config, flushes: boolean, logger: Logger, metrics: Metrics) {
  const directory = join(config.PYEXEC_STATE_DIR, 'audit');
  let head: AuditHead | undefined;
  try {
    head = AuditHead.open(directory, START, flushes);
    const chain = new AuditChain({
      directory,
      head,
      fileBytesMax: config.PYEXEC_AUDIT_FILE_MB * MIB,
      fileAgeMsMax: config.PYEXEC_AUDIT_FILE_DAYS * DAY_MS,
      flushes,
    });
    const { seq, hash } = chain.append([
      { kind: 'started', instance: config.PYEXEC_INSTANCE, auth: config.PYEXEC_AUTH },
    ]);
    // In the service's log, which goes elsewhere: with it verify also finds a log that was written anew.
    logger.info({ audit_head: `${String(seq)}:${hash}` }, 'audit log');
    const log = new AuditLog({
      chain,
      onFailure: (error, waiting) => {
        metrics.auditFailed();
        logger.error({ err: error, waiting }, 'the audit log cannot be written');
      },
    });
    const opened = head;
    return {
      log,
      close: () => {
        opened.close();
      },
    };
  } catch (cause) {
    head?.close();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(`PYEXEC_AUDIT: the log in ${directory} cannot be written (${reason})`, { cause });
  }
}

/** Who runs what, with which limits. Of the project its hash, of arguments, stdin and environment nothing. */
function acceptedEntry({ id, caller, plan, project }: Accepting): AuditEntry {
  const { shape, limits } = plan;
  return {
    kind: 'accepted',
    execution_id: id,
    caller: caller.id,
    address: caller.origin?.address,
    request_id: caller.origin?.requestId,
    project_sha256: project.sha256,
    project_bytes: project.contentBytes,
    image: shape.image,
    image_id: shape.imageId,
    runtime: shape.runtime,
    network: shape.network,
    limits,
  };
}
