/**
 * One execution while the service knows it: its events and where it stands.
 *
 * A record ends once; everything said afterwards is ignored. What callers see of
 * it is made here, from what was observed.
 */
import type { AdvisoryReport } from '../domain/advisories.ts';
import type { AnalysisReport } from '../domain/analysis.ts';
import type { Artifact, ArtifactReport } from '../domain/artifacts.ts';
import type { Display } from '../domain/displays.ts';
import type { OutputStream } from '../domain/events.ts';
import type { InputResult } from '../domain/inputs.ts';
import {
  newExecutionId,
  type DoorForm,
  type Execution,
  type ExecutionId,
  type ExecutionResult,
  type ExecutionStatus,
  type QueuePlace,
  type Truncation,
} from '../domain/execution.ts';
import type { ProgramReport } from '../domain/program-report.ts';
import { statusOf, type CancelReason, type Outcome, type Usage } from '../domain/outcome.ts';
import type { RunPlan } from '../domain/plan.ts';
import type { EventLines } from '../output/event-lines.ts';
import { EventLog } from '../output/event-log.ts';
import type { LostOutput } from '../output/collected-output.ts';
import type { KeptEvents } from '../output/kept-events.ts';
import type { OutputMemory } from '../output/output-memory.ts';
import { OutputTail } from '../output/output-tail.ts';
import { endOf, terminalEvent, withOutput } from './ends.ts';
import { failureHint } from './failure-hint.ts';

/** What was noticed beside how it ended. */
export interface Noticed {
  /** How many processes the kernel ended because the memory ran out. */
  readonly memoryKills?: number;
  /** It says that it shows something, and ran where nothing that is shown is seen. */
  readonly unseenDisplays?: boolean;
  /** Bytes of the last expression's repr() that were left out. */
  readonly resultOmittedBytes?: number;
}

/** Where records keep what does not fit into memory, and the memory they share. */
export interface RecordStorage {
  /** The directory of one execution. Made when it is needed. */
  readonly directoryOf: (id: ExecutionId) => string;
  readonly memory?: OutputMemory;
  /** Called before readers of an execution that has not ended are shown events up to this one. Does not throw. */
  readonly onShow?: (id: ExecutionId, seq: number) => void;
}

/** Told ahead, so that it need not be told for every event. */
const SHOWN_AHEAD = 1000;
/** Of the end of stderr, for the hint. */
const STDERR_TAIL_BYTES = 16 * 1024;

export class ExecutionRecord {
  readonly id: ExecutionId = newExecutionId();
  readonly plan: RunPlan;
  /** The caller it belongs to; see domain/caller.ts. */
  readonly ownerId: string;
  readonly form: DoorForm | undefined;
  readonly #log: EventLog;
  readonly #stderrTail = new OutputTail(STDERR_TAIL_BYTES);
  readonly #createdAt = new Date();
  readonly #cancellation = new AbortController();
  readonly #omitted: Record<OutputStream, number> = { stdout: 0, stderr: 0 };
  readonly #kept: Record<OutputStream, number> = { stdout: 0, stderr: 0 };
  /** Resolves, never rejects, when the record has ended. */
  readonly ended: Promise<void>;
  #resolveEnded: () => void = () => undefined;
  readonly #onShow: (seq: number) => void;
  #shownSeq = 0;
  #cancelReason: CancelReason = 'requested';
  #startedAt: Date | undefined;
  #startedClock = 0;
  #finishedAt: Date | undefined;
  #durationMs: number | undefined;
  #outcome: Outcome | undefined;
  /** The outcome once callers may see it. */
  #published: Outcome | undefined;
  #usage: Usage | undefined;
  #hint: string | undefined;
  #told: ProgramReport = {};
  #omittedDisplays = 0;
  #noticed: Noticed = {};
  #packages: readonly string[] | undefined;
  #advisories: AdvisoryReport | undefined;
  #analysis: AnalysisReport | undefined;
  #queue: () => QueuePlace | undefined = () => undefined;
  #artifacts: ArtifactReport = { artifacts: [], skipped: [], skippedCount: 0 };

  constructor(plan: RunPlan, ownerId: string, storage: RecordStorage, form?: DoorForm) {
    const { directoryOf, memory, onShow } = storage;
    this.#onShow = (seq) => onShow?.(this.id, seq);
    this.plan = plan;
    this.ownerId = ownerId;
    this.form = form;
    this.#log = new EventLog({ spillDirectory: directoryOf(this.id), ...(memory && { memory }) });
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#log.append({ type: 'status', status: 'pending' });
  }

  get status(): ExecutionStatus {
    return this.#statusWith(this.#published);
  }

  get outcome(): Outcome | undefined {
    return this.#published;
  }

  /** Aborted when somebody wants the run to end. */
  get cancellation(): AbortSignal {
    return this.#cancellation.signal;
  }

  get cancelReason(): CancelReason {
    return this.#cancelReason;
  }

  cancel(reason: CancelReason): void {
    if (this.#outcome || this.#cancellation.signal.aborted) return;
    this.#cancelReason = reason;
    this.#cancellation.abort(new Error(`cancelled: ${reason}`));
  }

  /** The events after `after` as encoded lines, then those that follow. See EventLog. */
  async *follow(after: number, signal: AbortSignal): AsyncGenerator<EventLines, void, void> {
    for await (const lines of this.#log.follow(after, signal)) {
      if (!this.#published && lines.lastSeq > this.#shownSeq) {
        this.#shownSeq = lines.lastSeq + SHOWN_AHEAD;
        this.#onShow(this.#shownSeq);
      }
      yield lines;
    }
  }

  /** Says which packages were installed for it, and what is known of them. */
  installed(packages: readonly string[], advisories?: AdvisoryReport): void {
    this.#packages = packages;
    this.#advisories = advisories;
  }

  /** Says what is known of packages that it may not use; to be said before it is sealed. */
  advised(report: AdvisoryReport): void {
    this.#advisories = report;
  }

  /** Says what is known of its code. */
  analyzed(report: AnalysisReport): void {
    if (!this.#outcome) this.#analysis = report;
  }

  /** Says where it stands, if it has to wait; `queue` goes on telling. */
  waits(queue: () => QueuePlace | undefined): void {
    this.#queue = queue;
    const place = queue();
    if (place) this.#log.append({ type: 'status', status: 'pending', queue: place });
  }

  started(): void {
    this.#startedAt = new Date();
    this.#startedClock = performance.now();
    this.#log.append({ type: 'status', status: 'running' });
  }

  /** A promise, when given, is to be awaited before more is put out. @throws {ServiceError} storage_full, internal. */
  output(stream: OutputStream, data: Buffer): Promise<void> | undefined {
    this.#kept[stream] += data.length;
    if (stream === 'stderr') this.#stderrTail.push(data);
    return this.#log.output(stream, data);
  }

  /** Resolves when no output waits for the disk. @throws {ServiceError} storage_full, internal. */
  outputWritten(): Promise<void> {
    return this.#log.written();
  }

  omitted(stream: OutputStream, bytes: number): void {
    this.#omitted[stream] += bytes;
    this.#log.omitted(stream, bytes);
  }

  display(display: Display): void {
    this.#log.append({ type: 'display', ...display });
  }

  /** How many displays there was no room for. */
  displaysOmitted(count: number): void {
    this.#omittedDisplays = count;
  }

  /** To be said before it is sealed. */
  notice(noticed: Noticed): void {
    this.#noticed = noticed;
  }

  /** Says how one of many inputs ended. */
  inputEnded(result: InputResult): void {
    this.#log.append({ type: 'input_result', ...result });
  }

  artifact(artifact: Artifact): void {
    this.#log.append({ type: 'artifact', ...artifact });
  }

  /** What the run left, once that is known; to be said before it is sealed. */
  left(report: ArtifactReport): void {
    if (!this.#outcome) this.#artifacts = report;
  }

  /**
   * Decides how it ended: nothing is taken any more. Callers see it once it is published; until then another call can
   * decide otherwise.
   */
  seal(outcome: Outcome, usage: Usage | undefined, told: ProgramReport = {}): void {
    if (this.#published) return;
    this.#outcome = outcome;
    this.#usage = usage;
    this.#told = told;
    this.#finishedAt = new Date();
    if (this.#startedAt) this.#durationMs ??= Math.round(performance.now() - this.#startedClock);
    this.#hint = failureHint(
      outcome,
      {
        stderr: this.#stderrTail.text(),
        ...(told.exception ? { exception: told.exception } : {}),
        ...this.#noticed,
        advisories: this.#advisories,
      },
      this.plan,
    );
    this.#log.seal(terminalEvent(this.finalResult()));
  }

  /** How it was decided that it ended, whether callers see it or not. */
  get sealedOutcome(): Outcome | undefined {
    return this.#outcome;
  }

  /** Decides anew how it ended: as `outcome`, or as before. What was measured stays. */
  sealAgain(outcome: Outcome | undefined): void {
    if (outcome) this.seal(outcome, this.#usage);
    else if (this.#outcome) this.seal(this.#outcome, this.#usage, this.#told);
  }

  /** Shows callers how it ended. */
  publish(): void {
    if (this.#published || !this.#outcome) return;
    this.#published = this.#outcome;
    this.#log.publish();
    this.#resolveEnded();
  }

  /** It is read from the store from now on, `isInline` all of it. Readers under way go on here. */
  async release(isInline: boolean): Promise<void> {
    await this.#log.release(isInline);
  }

  /** Number of the event that tells how it ended; of the last one until then. */
  get terminalSeq(): number {
    return this.#log.lastSeq + (this.#published ? 0 : 1);
  }

  /** `t_ms` of the event that tells how it ended. */
  get terminalMs(): number {
    return this.#log.terminalMs;
  }

  /**
   * What of its events can be kept where there is no room for all of them. The rest counts as left out from now on; to
   * be said before it is sealed anew.
   */
  async salvage(): Promise<KeptEvents> {
    const { kept, lost } = await this.#log.salvage();
    this.#lose(lost);
    return kept;
  }

  /** Nothing but its end is kept. To be said before it is sealed anew. */
  forget(): void {
    this.#lose({ ...this.#kept, displays: 0 });
    const withoutContent = this.#artifacts.artifacts.map(({ content: _content, ...artifact }) => artifact);
    this.#artifacts = { ...this.#artifacts, artifacts: withoutContent };
  }

  #lose(lost: LostOutput): void {
    for (const stream of ['stdout', 'stderr'] as const) {
      this.#kept[stream] -= lost[stream];
      this.#omitted[stream] += lost[stream];
    }
    this.#omittedDisplays += lost.displays;
  }

  /** Begins to write the events so far to the disk, so that they outlive this process. */
  save(): void {
    this.#log.save();
  }

  /** Everything but the output text, as callers see it. */
  result(): ExecutionResult {
    return this.#resultWith(this.#published);
  }

  /** Everything but the output text, as it was sealed. */
  finalResult(): ExecutionResult {
    return this.#resultWith(this.#outcome);
  }

  /** The whole execution as it stands, output included. */
  async snapshot(): Promise<Execution> {
    const output = await this.#log.collect();
    return withOutput(this.result(), output);
  }

  /** How the events are kept once the record has ended. @throws {ServiceError} storage_full, internal. */
  settle(): Promise<KeptEvents> {
    return this.#log.settle();
  }

  #statusWith(outcome: Outcome | undefined): ExecutionStatus {
    if (outcome) return statusOf(outcome);
    return this.#startedAt ? 'running' : 'pending';
  }

  #resultWith(outcome: Outcome | undefined): ExecutionResult {
    const truncated = this.#truncations();
    const status = this.#statusWith(outcome);
    const queue = status === 'pending' ? this.#queue() : undefined;
    return {
      execution_id: this.id,
      status,
      ...endOf(outcome),
      ...(outcome ? this.#told : {}),
      ...(outcome && this.#hint !== undefined ? { hint: this.#hint } : {}),
      image: this.plan.shape.image,
      ...(this.#packages ? { packages: this.#packages } : {}),
      ...(this.#advisories ? { advisories: this.#advisories } : {}),
      ...(this.#analysis ? { analysis: this.#analysis } : {}),
      runtime: this.plan.shape.runtime,
      created_at: this.#createdAt.toISOString(),
      ...(this.#startedAt ? { started_at: this.#startedAt.toISOString() } : {}),
      ...(outcome && this.#finishedAt ? { finished_at: this.#finishedAt.toISOString() } : {}),
      ...(outcome && this.#durationMs !== undefined ? { duration_ms: this.#durationMs } : {}),
      ...(outcome && this.#usage ? { usage: this.#usage } : {}),
      ...(truncated ? { truncated } : {}),
      limits: this.plan.limits,
      ...(queue ? { queue } : {}),
      ...(this.#artifacts.artifacts.length > 0 ? { artifacts: this.#artifacts.artifacts } : {}),
      ...(this.#artifacts.skippedCount > 0
        ? { artifacts_skipped: { count: this.#artifacts.skippedCount, entries: this.#artifacts.skipped } }
        : {}),
    };
  }

  #truncations(): ExecutionResult['truncated'] {
    const of = (stream: OutputStream): Truncation | undefined => {
      const omitted = this.#omitted[stream];
      const kept = this.#kept[stream];
      return omitted === 0 ? undefined : { total_bytes: kept + omitted, kept_bytes: kept, omitted_bytes: omitted };
    };
    const stdout = of('stdout');
    const stderr = of('stderr');
    const displays = this.#omittedDisplays > 0 ? { omitted_count: this.#omittedDisplays } : undefined;
    const result = this.#resultTruncation();
    if (!stdout && !stderr && !displays && !result) return undefined;
    return {
      ...(stdout ? { stdout } : {}),
      ...(stderr ? { stderr } : {}),
      ...(displays ? { displays } : {}),
      ...(result ? { result } : {}),
    };
  }

  #resultTruncation(): Truncation | undefined {
    const { resultOmittedBytes: omitted = 0 } = this.#noticed;
    if (omitted === 0 || this.#told.result === undefined) return undefined;
    const kept = Buffer.byteLength(this.#told.result);
    return { total_bytes: kept + omitted, kept_bytes: kept, omitted_bytes: omitted };
  }
}
