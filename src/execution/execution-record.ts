/**
 * One execution while the service knows it: its events and where it stands.
 *
 * A record ends once; everything said afterwards is ignored. What callers see of
 * it is made here, from what was observed.
 */
import type { Artifact, ArtifactReport } from '../domain/artifacts.ts';
import type { OutputStream } from '../domain/events.ts';
import {
  newExecutionId,
  type Execution,
  type ExecutionId,
  type ExecutionResult,
  type ExecutionStatus,
  type QueuePlace,
  type Truncation,
} from '../domain/execution.ts';
import {
  errorSentenceOf,
  exitCodeOf,
  statusOf,
  type CancelReason,
  type Outcome,
  type Usage,
} from '../domain/outcome.ts';
import type { RunPlan } from '../domain/plan.ts';
import type { EventLines } from '../output/event-lines.ts';
import { EventLog } from '../output/event-log.ts';
import type { KeptEvents } from '../output/kept-events.ts';
import type { OutputMemory } from '../output/output-memory.ts';
import { OutputTail } from '../output/output-tail.ts';
import { failureHint } from './failure-hint.ts';

/** What the program said about itself beside its output. It may say anything. */
export interface ProgramReport {
  readonly result?: string;
  readonly error_type?: string;
  readonly error_line?: number;
}

/** Where records keep what does not fit into memory, and the memory they share. */
export interface RecordStorage {
  /** The directory of one execution. Made when it is needed. */
  readonly directoryOf: (id: ExecutionId) => string;
  readonly memory?: OutputMemory;
}

/** Of the end of stderr, for the hint. */
const STDERR_TAIL_BYTES = 16 * 1024;

export class ExecutionRecord {
  readonly id: ExecutionId = newExecutionId();
  readonly plan: RunPlan;
  /** The caller it belongs to; see domain/caller.ts. */
  readonly ownerId: string;
  readonly #log: EventLog;
  readonly #stderrTail = new OutputTail(STDERR_TAIL_BYTES);
  readonly #createdAt = new Date();
  readonly #cancellation = new AbortController();
  readonly #omitted: Record<OutputStream, number> = { stdout: 0, stderr: 0 };
  readonly #kept: Record<OutputStream, number> = { stdout: 0, stderr: 0 };
  /** Resolves, never rejects, when the record has ended. */
  readonly ended: Promise<void>;
  #resolveEnded: () => void = () => undefined;
  #cancelReason: CancelReason = 'requested';
  #startedAt: Date | undefined;
  #startedClock = 0;
  #finishedAt: Date | undefined;
  #durationMs: number | undefined;
  #outcome: Outcome | undefined;
  #usage: Usage | undefined;
  #hint: string | undefined;
  #told: ProgramReport = {};
  #packages: readonly string[] | undefined;
  #queue: () => QueuePlace | undefined = () => undefined;
  #artifacts: ArtifactReport = { artifacts: [], skipped: [], skippedCount: 0 };

  constructor(plan: RunPlan, ownerId: string, { directoryOf, memory }: RecordStorage) {
    this.plan = plan;
    this.ownerId = ownerId;
    this.#log = new EventLog({ spillDirectory: directoryOf(this.id), ...(memory && { memory }) });
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#log.append({ type: 'status', status: 'pending' });
  }

  get sizeBytes(): number {
    return this.#log.bytes + 2048;
  }

  get status(): ExecutionStatus {
    if (this.#outcome) return statusOf(this.#outcome);
    return this.#startedAt ? 'running' : 'pending';
  }

  get outcome(): Outcome | undefined {
    return this.#outcome;
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
  follow(after: number, signal: AbortSignal): AsyncGenerator<EventLines, void, void> {
    return this.#log.follow(after, signal);
  }

  /** Says which packages were installed for it. */
  installed(packages: readonly string[]): void {
    this.#packages = packages;
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

  artifact(artifact: Artifact): void {
    this.#log.append({ type: 'artifact', ...artifact });
  }

  /** What the run left, once that is known; to be said before `end`. */
  left(report: ArtifactReport): void {
    if (!this.#outcome) this.#artifacts = report;
  }

  end(outcome: Outcome, usage: Usage | undefined, told: ProgramReport = {}): void {
    if (this.#outcome) return;
    this.#outcome = outcome;
    this.#usage = usage;
    this.#told = told;
    this.#finishedAt = new Date();
    if (this.#startedAt) this.#durationMs = Math.round(performance.now() - this.#startedClock);
    this.#hint = failureHint(outcome, this.#stderrTail.text(), this.plan);
    const result = this.result();
    this.#log.append(
      outcome.kind === 'infrastructure_error' || outcome.kind === 'interrupted'
        ? {
            type: 'error',
            code: outcome.kind === 'interrupted' ? 'interrupted' : outcome.code,
            detail: result.error ?? '',
            ...result,
          }
        : { type: 'result', ...result },
    );
    this.#resolveEnded();
  }

  /** Everything but the output text. */
  result(): ExecutionResult {
    const error = this.#outcome && errorSentenceOf(this.#outcome);
    const truncated = this.#truncations();
    const queue = this.status === 'pending' ? this.#queue() : undefined;
    return {
      execution_id: this.id,
      status: this.status,
      exit_code: this.#outcome ? exitCodeOf(this.#outcome) : 0,
      ...(error === undefined ? {} : { error }),
      ...(this.#outcome ? { outcome: this.#outcome } : {}),
      ...this.#told,
      ...(this.#hint === undefined ? {} : { hint: this.#hint }),
      image: this.plan.shape.image,
      ...(this.#packages ? { packages: this.#packages } : {}),
      runtime: this.plan.shape.runtime,
      created_at: this.#createdAt.toISOString(),
      ...(this.#startedAt ? { started_at: this.#startedAt.toISOString() } : {}),
      ...(this.#finishedAt ? { finished_at: this.#finishedAt.toISOString() } : {}),
      ...(this.#durationMs === undefined ? {} : { duration_ms: this.#durationMs }),
      ...(this.#usage ? { usage: this.#usage } : {}),
      ...(truncated ? { truncated } : {}),
      limits: this.plan.limits,
      ...(queue ? { queue } : {}),
      ...(this.#artifacts.artifacts.length > 0 ? { artifacts: this.#artifacts.artifacts } : {}),
      ...(this.#artifacts.skippedCount > 0
        ? { artifacts_skipped: { count: this.#artifacts.skippedCount, entries: this.#artifacts.skipped } }
        : {}),
    };
  }

  /** The whole execution as it stands, output included. */
  async snapshot(): Promise<Execution> {
    const { stdout, stderr } = await this.#log.collect();
    return {
      ...this.result(),
      stdout: stdout.text,
      ...(stdout.encoding ? { stdout_encoding: stdout.encoding } : {}),
      stderr: stderr.text,
      ...(stderr.encoding ? { stderr_encoding: stderr.encoding } : {}),
    };
  }

  /** How the events are kept once the record has ended. @throws {ServiceError} storage_full, internal. */
  settle(): Promise<KeptEvents> {
    return this.#log.settle();
  }

  /** Frees what the record has on disk. */
  discard(): Promise<void> {
    return this.#log.discard();
  }

  #truncations(): ExecutionResult['truncated'] {
    const of = (stream: OutputStream): Truncation | undefined => {
      const omitted = this.#omitted[stream];
      const kept = this.#kept[stream];
      return omitted === 0 ? undefined : { total_bytes: kept + omitted, kept_bytes: kept, omitted_bytes: omitted };
    };
    const stdout = of('stdout');
    const stderr = of('stderr');
    if (!stdout && !stderr) return undefined;
    return { ...(stdout ? { stdout } : {}), ...(stderr ? { stderr } : {}) };
  }
}
