/**
 * An accepted run from its place in the queue to its recorded end: admitted, given its packages and a sandbox, run,
 * judged, recorded, told.
 *
 * It owns the cleanup of what it was given: whatever happens, the record ends once, the project is freed, the
 * container goes and the place is given up. It never rejects.
 */
import type { BudgetHold } from '../admission/budgets.ts';
import { AdvisoryRefusal } from '../dependencies/advisories/package-advisories.ts';
import type { LayerLease } from '../dependencies/layer-shelf.ts';
import type { AnalysisReport } from '../domain/analysis.ts';
import type { Display } from '../domain/displays.ts';
import { ServiceError } from '../domain/errors.ts';
import type { ExecutionMilestone } from '../domain/milestones.ts';
import { isFailureOfOurs, type Outcome, type Usage } from '../domain/outcome.ts';
import type { SandboxShape } from '../domain/plan.ts';
import type { Project } from '../domain/project.ts';
import type { Lease } from '../sandbox/cold-start.ts';
import type { ArtifactFiles } from '../store/artifact-files.ts';
import type { ExecutionStore } from '../store/execution-store.ts';
import { ArtifactIntake } from './artifact-intake.ts';
import { buffersPassed } from './buffer-garbage.ts';
import { chargedUsage } from './charged-usage.ts';
import { noticedIn, outcomeOf, programReportOf } from './ending-to-outcome.ts';
import type { ExecutionRecord } from './execution-record.ts';
import { failureOutcome } from './failure-outcome.ts';
import { InputResults } from './input-results.ts';
import { recordEnd } from './record-end.ts';
import type { AskedAnalysis } from './run-analysis.ts';
import type { AskedPackages, AttachedPackages, RunPackages } from './run-packages.ts';

/** What was reserved and read for a run when it was accepted. */
export interface AcceptedRun {
  readonly record: ExecutionRecord;
  readonly project: Project;
  readonly slot: { readonly ready: Promise<void>; readonly release: () => void };
  /** What is to be installed, */
  readonly packages: AskedPackages | undefined;
  /** and where that was there already, what was attached. */
  readonly attached: AttachedPackages | undefined;
  readonly analysis: AskedAnalysis | undefined;
  readonly hold: BudgetHold | undefined;
  /** A sandbox that has the project already, and whose program was let begin. */
  readonly early: Lease | undefined;
}

export interface RunningOptions {
  readonly store: ExecutionStore;
  readonly artifactFiles: ArtifactFiles;
  readonly startSandbox: (shape: SandboxShape, signal: AbortSignal) => Promise<Lease>;
  readonly observe: (milestone: ExecutionMilestone) => void;
  /** Absent: nothing can be installed. */
  readonly packages?: RunPackages;
  /** The end is decided and, where `isRecorded`, on the disk; callers do not see it yet. */
  readonly ended: (record: ExecutionRecord, isRecorded: boolean) => void;
  /** Callers see it. */
  readonly published: (record: ExecutionRecord, isRecorded: boolean) => void;
  /** What it held is given up from here on. */
  readonly over: (record: ExecutionRecord) => void;
}

export async function runAccepted(accepted: AcceptedRun, options: RunningOptions): Promise<void> {
  const { record, project, slot, packages, analysis, hold, early } = accepted;
  const { startSandbox, store, observe } = options;
  const { plan, cancellation } = record;
  const intake =
    plan.artifacts &&
    new ArtifactIntake(plan.artifacts, options.artifactFiles.create(record.id), (artifact) => {
      record.artifact(artifact);
    });
  const inputs = new InputResults(
    plan,
    (result) => {
      record.inputEnded(result);
    },
    () => record.cancelReason,
  );
  const acceptedAt = performance.now();
  let lease = early;
  let layer = accepted.attached?.layer;
  let analyzing: Promise<AnalysisReport> | undefined;
  let ended: { outcome: Outcome; usage: Usage | undefined };
  let told = {};
  let cause: unknown;
  let ranSince: number | undefined;
  try {
    await slot.ready;
    const admittedAt = performance.now();
    analyzing = analysis?.finish(record.id, cancellation);
    const attach = async () => {
      const attached =
        packages && (await options.packages?.attach(packages, plan.shape, whoseOf(record), cancellation));
      layer = attached?.layer;
      if (attached) record.installed(attached.layer.packages, attached.advisories);
    };
    if (!accepted.attached) await attach();
    try {
      lease ??= await startSandbox(shapeOn(layer, plan.shape), cancellation);
    } catch (error) {
      if (!layer || !isImageGone(error)) throw error;
      // Somebody removed the image of its layer: it is made anew.
      layer.lost();
      layer.release();
      await attach();
      lease = await startSandbox(shapeOn(layer, plan.shape), cancellation);
    }
    observe({
      kind: 'acquired',
      id: record.id,
      waitedMs: admittedAt - acceptedAt,
      acquireMs: performance.now() - admittedAt,
    });
    if (!early) store.starting(record.id, lease.sandbox.containerId);
    ranSince = performance.now();
    const ending = await lease.sandbox.run(
      plan,
      project,
      {
        ...sinkOf(record, observe),
        ...(intake ? { artifacts: intake } : {}),
        inputEnded: (ending) => {
          inputs.ended(ending);
        },
      },
      cancellation,
    );
    await record.outputWritten();
    ended = outcomeOf(ending, plan, record.cancelReason);
    if (plan.inputs) ended = { ...ended, outcome: inputs.finish(ending, ended.outcome) };
    told = plan.inputs ? inputs.told : programReportOf(ending);
    if (ending.kind === 'reported') {
      record.displaysOmitted(ending.report.omittedDisplays ?? 0);
      record.notice(noticedIn(ending.report, plan));
    }
  } catch (error) {
    cause = error;
    if (ranSince === undefined) await lease?.sandbox.abandon();
    // Removed a second time: the next run makes it anew.
    if (isImageGone(error)) layer?.lost();
    if (error instanceof AdvisoryRefusal) record.advised(error.report);
    ended = { outcome: failureOutcome(error, record), usage: undefined };
  }
  if (intake) record.left(await intake.finish());
  if (analysis) {
    // The place of a run that has ended is not kept for a report.
    void Promise.resolve(lease?.release()).then(slot.release);
    record.analyzed(await (analyzing ?? analysis.finish(record.id, AbortSignal.abort())));
  }
  record.seal(ended.outcome, ended.usage, told);
  const { isRecorded, isInline, failure } = await recordEnd(record, store);
  cause ??= failure;
  options.ended(record, isRecorded);
  record.publish();
  observe({
    kind: 'ended',
    id: record.id,
    plan,
    outcome: record.outcome ?? ended.outcome,
    usage: ended.usage,
    totalMs: performance.now() - acceptedAt,
    cause: isFailureOfOurs(record.outcome ?? ended.outcome) ? cause : undefined,
  });
  options.published(record, isRecorded);
  hold?.settle(chargedUsage(plan, ended.usage, ranSince === undefined ? 0 : performance.now() - ranSince));
  options.over(record);
  await Promise.all([project.dispose().catch(() => undefined), lease?.release(), record.release(isInline)]);
  layer?.release();
  slot.release();
}

const isImageGone = (error: unknown) => error instanceof ServiceError && error.code === 'image_unavailable';

/** Where the record takes what comes from the sandbox. */
function sinkOf(record: ExecutionRecord, observe: RunningOptions['observe']) {
  let startedAt: number | undefined;
  let isFirst = true;
  return {
    started: () => {
      startedAt = performance.now();
      record.started();
    },
    output: (stream: 'stdout' | 'stderr', data: Buffer) => {
      if (isFirst && startedAt !== undefined) {
        isFirst = false;
        observe({ kind: 'first_byte', id: record.id, sinceStartMs: performance.now() - startedAt });
      }
      buffersPassed(data.length);
      return record.output(stream, data);
    },
    omitted: (stream: 'stdout' | 'stderr', bytes: number) => {
      record.omitted(stream, bytes);
    },
    display: (display: Display) => {
      record.display(display);
    },
  };
}

/** For whom packages are attached. */
export const whoseOf = ({ id, ownerId }: ExecutionRecord) => ({ caller: ownerId, executionId: id });

/** The shape with a layer in place of its image; a layer of nothing is the image itself. */
export function shapeOn(layer: LayerLease | undefined, shape: SandboxShape): SandboxShape {
  if (!layer || layer.imageId === shape.imageId) return shape;
  return { ...shape, imageId: layer.imageId, layer: layer.key };
}
