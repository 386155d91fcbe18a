/**
 * The analysis of a run's code: beside the run where it only informs, before the run
 * is accepted where it may refuse it.
 *
 * It never shares the container of the run, has places of its own, which callers take
 * in turns, and ends in a report, or refuses.
 */
import type { RunSlots } from '../admission/run-slots.ts';
import { checkReport, whenToAnalyze, type AnalysisPolicy } from '../analysis/analysis-policy.ts';
import { PENDING_ANALYSIS, type AnalysisReport } from '../domain/analysis.ts';
import { SERVICE, type Caller } from '../domain/caller.ts';
import { ServiceError, type ErrorCode } from '../domain/errors.ts';
import type { ExecutionId } from '../domain/execution.ts';
import type { RunPlan, RunRequest } from '../domain/plan.ts';
import type { Project } from '../domain/project.ts';

export interface RunAnalysisOptions {
  readonly policy: AnalysisPolicy;
  /** Analyses at one time, and how many wait. */
  readonly places: RunSlots;
  /** How long one waits for a place. */
  readonly waitMsMax: number;
  /** Never rejects. */
  readonly analyze: (plan: RunPlan, project: Project, signal: AbortSignal) => Promise<AnalysisReport>;
  readonly observe: (event: AnalysisEvent) => void;
}

/** An analysis is over. */
export interface AnalysisEvent {
  readonly caller: string;
  /** Absent: it was over before there was an execution. */
  readonly executionId?: ExecutionId;
  readonly projectSha256: string;
  readonly report: AnalysisReport;
  /** The code it refuses the run with. */
  readonly refused?: ErrorCode;
  readonly durationMs: number;
}

/** The analysis of one run. */
export interface AskedAnalysis {
  /** As it stands when the run is accepted. */
  readonly report: AnalysisReport;
  /** The report, once it is over. Begins what has not begun. Never rejects. */
  finish(id: ExecutionId, signal: AbortSignal): Promise<AnalysisReport>;
}

export class RunAnalysis {
  readonly #options: RunAnalysisOptions;

  constructor(options: RunAnalysisOptions) {
    this.#options = options;
  }

  /**
   * What a request asks for, and already done where it may refuse; undefined when nothing is to be analyzed.
   * @throws {ServiceError} analysis_not_supported, analysis_findings, analysis_incomplete, analysis_unavailable.
   */
  async read(request: RunRequest, plan: RunPlan, project: Project, caller: Caller): Promise<AskedAnalysis | undefined> {
    const { policy } = this.#options;
    // The service's own probe is no caller's code.
    const when = caller.id === SERVICE.id ? undefined : whenToAnalyze(request.wantsAnalysis ?? false, policy);
    if (when === undefined) return undefined;
    if (when === 'beside') {
      const finish = (executionId: ExecutionId, signal: AbortSignal) =>
        this.#analyze(plan, project, { caller: caller.id, executionId }, signal);
      return { report: PENDING_ANALYSIS, finish };
    }
    const report = await this.#analyze(plan, project, { caller: caller.id }, new AbortController().signal);
    return { report, finish: () => Promise.resolve(report) };
  }

  async #analyze(
    plan: RunPlan,
    project: Project,
    whose: Pick<AnalysisEvent, 'caller' | 'executionId'>,
    signal: AbortSignal,
  ): Promise<AnalysisReport> {
    const { analyze, observe, places, policy, waitMsMax } = this.#options;
    const started = performance.now();
    let report: AnalysisReport;
    let place: ReturnType<RunSlots['reserve']> | undefined;
    try {
      place = places.reserve(signal, { callerId: whose.caller, waitMsMax });
      await place.ready;
      report = await analyze(plan, project, signal);
    } catch {
      report = signal.aborted
        ? { status: 'interrupted', detail: 'The run ended before the analysis.' }
        : { status: 'failed', detail: 'Too many analyses wait.' };
    } finally {
      place?.release();
    }
    const refusal = whose.executionId === undefined ? refusalOf(report, policy) : undefined;
    observe({
      ...whose,
      projectSha256: project.sha256,
      report,
      ...(refusal ? { refused: refusal.code } : {}),
      durationMs: performance.now() - started,
    });
    if (refusal) throw refusal;
    return report;
  }
}

function refusalOf(report: AnalysisReport, policy: AnalysisPolicy): ServiceError | undefined {
  try {
    checkReport(report, policy);
    return undefined;
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
}
