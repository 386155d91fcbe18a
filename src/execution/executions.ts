/**
 * Executions, to whom doors speak and to nothing below: one is planned (plan-run.ts) and accepted here or refused, and
 * then run (run-accepted.ts); it is found, cancelled, recovered and forgotten here.
 *
 * What was taken for a run that is refused is given back here; of an accepted one, run-accepted.ts gives it back.
 */
import { mayActOn, SERVICE, type Caller } from '../domain/caller.ts';
import { ServiceError } from '../domain/errors.ts';
import type { DoorForm, Execution, ExecutionId, ExecutionResult } from '../domain/execution.ts';
import type { CancelReason } from '../domain/outcome.ts';
import type { RunPlan, RunRequest, SandboxShape } from '../domain/plan.ts';
import type { Project } from '../domain/project.ts';
import type { Webhook } from '../domain/webhook.ts';
import type { Budgets } from '../admission/budgets.ts';
import type { Reservation, RunSlots } from '../admission/run-slots.ts';
import type { UsageView } from '../domain/budget.ts';
import { mostUsed, NOTHING_USED } from './charged-usage.ts';
import type { WebhookDeliveries } from '../webhooks/webhook-deliveries.ts';
import type { LayerLease } from '../dependencies/layer-shelf.ts';
import { inputBytes } from '../policy/inputs.ts';
import { mayUseImage } from '../policy/within-caller.ts';
import type { Lease } from '../sandbox/cold-start.ts';
import type { EventLines } from '../output/event-lines.ts';
import { ArtifactFiles } from '../store/artifact-files.ts';
import type { Acceptance, IdempotencyKey } from '../store/execution-store.ts';
import { ArtifactShelf } from './artifact-shelf.ts';
import { EarlierFiles } from './earlier-files.ts';
import { ExecutionRecord, type RecordStorage } from './execution-record.ts';
import { keyFor, mayRunAgain, refuseOtherRequest } from './idempotency.ts';
import { planRun, type PlanningOptions } from './plan-run.ts';
import { RecordedExecution } from './recorded-execution.ts';
import { recordWithoutOutput } from './record-end.ts';
import { recover } from './recovery.ts';
import { runAccepted, shapeOn, whoseOf, type RunningOptions } from './run-accepted.ts';
import type { AttachedPackages } from './run-packages.ts';
import { Turns } from './turns.ts';

/** A run that is about to be accepted: for those who must know before. */
export interface Accepting {
  readonly id: ExecutionId;
  readonly caller: Caller;
  readonly plan: RunPlan;
  readonly project: Project;
}

/** Who has to know of a run before it is accepted. */
export interface RunWitness {
  /** What it throws refuses the run. */
  accepting(accepting: Accepting): Promise<void>;
  /** The run was not accepted after all. */
  withdrawn(id: ExecutionId): void;
}

export interface ExecutionsOptions extends PlanningOptions, Pick<RunningOptions, 'store' | 'startSandbox' | 'observe'> {
  readonly slots: RunSlots;
  readonly storage: RecordStorage;
  readonly witness?: RunWitness;
  /** A sandbox that is ready this moment, if there is one; absent where there never is. */
  readonly takeReady?: (shape: SandboxShape) => Lease | undefined;
  /** Absent: nobody is told. */
  readonly webhooks?: WebhookDeliveries;
  /** Absent: nobody has a budget. */
  readonly budgets?: Budgets;
}

/** What a door says beside the request. */
export interface SubmitOptions {
  /** How the door writes the execution, where it has a form of its own. */
  readonly form?: DoorForm;
  /** By it the caller recognises a request it repeats. */
  readonly idempotencyKey?: string | undefined;
  /** Called when the execution is one that was accepted before, under the same key. */
  readonly onRepeated?: () => void;
  /** Whether the door tells nobody of the execution before it has ended. */
  readonly isToldAtEnd?: boolean;
}

/** An accepted execution, for the door that submitted it. */
export interface Submitted {
  readonly id: ExecutionId;
  /** How the door it came through writes it, where that has a form of its own. */
  readonly form: DoorForm | undefined;
  /** Resolves when the execution has ended, however it ended. Never rejects. */
  readonly ended: Promise<void>;
  /** Ends the run because its caller no longer wants it. */
  cancel(reason: CancelReason): void;
  /** Everything but the output, as it stands. */
  result(): ExecutionResult;
  /** The whole execution as it stands, output included. */
  snapshot(): Promise<Execution>;
  /** The events after `after` as encoded lines, then those that follow, until the terminal one. */
  follow(after: number, signal: AbortSignal): AsyncGenerator<EventLines, void, void>;
}

/** Output of a running program is saved after this long: a crash takes no more of it; and what was accepted is on the disk. */
const SAVE_INTERVAL_MS = 1000;

export class Executions {
  readonly #options: ExecutionsOptions;
  /** Those that have not ended. */
  readonly #active = new Map<string, ExecutionRecord>();
  /** Those that ended and whose end could not be recorded yet. */
  readonly #unrecorded = new Map<string, ExecutionRecord>();
  readonly #turns = new Turns();
  readonly #saving: NodeJS.Timeout;
  readonly #running: RunningOptions;
  /** Reads what executions left behind. */
  readonly artifacts: ArtifactShelf;
  readonly #earlierFiles: EarlierFiles;
  #draining = false;

  constructor(options: ExecutionsOptions) {
    this.#options = options;
    const artifactFiles = new ArtifactFiles(options.storage.directoryOf);
    this.#running = {
      ...options,
      artifactFiles,
      ended: (record, isRecorded) => {
        if (!isRecorded) this.#unrecorded.set(record.id, record);
      },
      published: (record, isRecorded) => {
        // What a crash would take back is told once it is recorded; see recover.
        if (isRecorded) options.webhooks?.ended(record.id, () => record.snapshot().catch(() => record.result()));
      },
      over: (record) => {
        this.#active.delete(record.id);
      },
    };
    this.artifacts = new ArtifactShelf(artifactFiles);
    this.#earlierFiles = new EarlierFiles(options.projects, this.artifacts);
    this.#saving = setInterval(() => {
      for (const record of this.#active.values()) record.save();
      if (this.#active.size > 0) this.#syncAccepted();
    }, SAVE_INTERVAL_MS);
    this.#saving.unref();
  }

  get activeCount(): number {
    return this.#active.size;
  }

  get isDraining(): boolean {
    return this.#draining;
  }

  /**
   * Accepts a run, or refuses it. The project belongs to the execution from the
   * call on, also when it is refused. A request repeated under its key is the execution it already is.
   * @throws {ServiceError} for everything in policy/, requirements_*, analysis_*, queue_full, budget_exhausted, shutting_down,
   *   image_*, invalid_webhook, storage_*, idempotency_key_reused, and those of EarlierFiles.
   */
  async submit(
    request: RunRequest,
    given: Project,
    caller: Caller,
    { form, idempotencyKey, onRepeated, isToldAtEnd = false }: SubmitOptions = {},
  ): Promise<Submitted> {
    const key = idempotencyKey === undefined ? undefined : keyFor(idempotencyKey, request, given, form);
    let project = given;
    // Of requests that come with one key at once, the second waits until the first is accepted or refused.
    const leave = key && (await this.#turns.of(`${caller.id} ${key.key}`));
    try {
      this.refuseIfDraining();
      const earlier = key && this.#earlier(key, caller);
      if (earlier) {
        onRepeated?.();
        await project.dispose();
        return earlier;
      }
      if (request.webhook) this.#checkWebhook(request.webhook);
      project = await this.#withEarlierFiles(given, request, caller);
      const { plan, packages, analysis } = await planRun(request, project, caller, this.#options);
      // Draining may have begun meanwhile, and would not wait for a run it does not know.
      this.refuseIfDraining();
      const record = new ExecutionRecord(plan, caller.id, this.#options.storage, form);
      if (analysis) record.analyzed(analysis.report);
      const hold = caller.id === SERVICE.id ? undefined : this.#options.budgets?.reserve(caller.id, mostUsed(plan));
      let slot: Reservation | undefined;
      let early: Lease | undefined;
      let attached: AttachedPackages | undefined;
      try {
        slot = this.#options.slots.reserve(record.cancellation, {
          callerId: caller.id,
          concurrentMax: caller.concurrentMax,
          priority: request.priority,
          bytes: project.tarBytes + request.stdin.length + inputBytes(plan.inputs?.list ?? []),
          waitMsMax: plan.queueTimeoutMs,
        });
        if (request.webhook) this.#options.webhooks?.register(record.id, caller.id, request.webhook);
        if (slot.queue() === undefined) {
          attached = packages && this.#options.packages?.ready(packages, plan.shape, whoseOf(record));
          if (attached) record.installed(attached.layer.packages, attached.advisories);
          if (!packages || attached) early = await this.#loadEarly(record, project, attached?.layer);
        }
        const acceptance = {
          key,
          container: early?.sandbox.containerId,
          isToldAtEnd: isToldAtEnd && request.webhook === undefined,
        };
        await this.#accept(record, { id: record.id, caller, plan, project }, acceptance, form);
      } catch (error) {
        if (early) {
          await early.sandbox.abandon();
          void early.release();
        }
        attached?.layer.release();
        slot?.release();
        hold?.settle(NOTHING_USED);
        this.#options.webhooks?.withdraw(record.id);
        throw error;
      }
      early?.sandbox.release();
      record.waits(slot.queue);
      this.#options.observe({ kind: 'accepted', id: record.id, plan, projectBytes: project.contentBytes });
      void runAccepted({ record, project, slot, packages, attached, analysis, hold, early }, this.#running);
      return record;
    } catch (error) {
      await project.dispose();
      throw error;
    } finally {
      leave?.();
    }
  }

  /** A sandbox that takes the project in while the run is recorded as accepted. Its program does not begin before that. */
  async #loadEarly(
    { plan, cancellation }: ExecutionRecord,
    project: Project,
    layer: LayerLease | undefined,
  ): Promise<Lease | undefined> {
    const lease = this.#options.takeReady?.(shapeOn(layer, plan.shape));
    await lease?.sandbox.load(plan, project, cancellation);
    return lease;
  }

  /** Records the run, once its witness knows of it. */
  async #accept(record: ExecutionRecord, accepting: Accepting, acceptance: Acceptance, form?: DoorForm): Promise<void> {
    const { store, witness } = this.#options;
    await witness?.accepting(accepting);
    try {
      // Draining may have begun meanwhile.
      this.refuseIfDraining();
      const accepted = { id: record.id, ownerId: record.ownerId, result: record.result(), form };
      store.accept(accepted, acceptance);
      // At once: what is recorded and not active has been left by a crash.
      this.#active.set(record.id, record);
    } catch (error) {
      witness?.withdrawn(record.id);
      throw error;
    }
  }

  /** The execution this caller's key stands for, unless it may run again. */
  #earlier(key: IdempotencyKey, caller: Caller): Submitted | undefined {
    const known = this.#options.store.byKey(caller.id, key.key);
    const execution = known && this.#find(known.id);
    if (!known || !execution) return undefined;
    refuseOtherRequest(known, key);
    return mayRunAgain(execution.result()) ? undefined : execution;
  }

  #withEarlierFiles(project: Project, { filesFrom = [] }: RunRequest, caller: Caller): Promise<Project> {
    return this.#earlierFiles.addTo(project, filesFrom, caller, (id) => this.get(id, caller).result());
  }

  /** Whether this caller may use an image that the operator allows. */
  mayUseImage(caller: Caller, reference: string): boolean {
    return mayUseImage(caller, reference);
  }

  /** Those who are told of ends; absent where nobody is. */
  get webhooks(): WebhookDeliveries | undefined {
    return this.#options.webhooks;
  }

  /** What the caller used of its budget; absent where nobody has one. */
  usage(caller: Caller): UsageView | undefined {
    return this.#options.budgets?.usage(caller.id);
  }

  /** Seconds after which a run that this caller sends again might begin. */
  retryAfterSeconds(caller: Caller): number {
    return this.#options.slots.retryAfterSeconds(caller.id);
  }

  /** That a run began is on the disk soon, whatever it does to the machine. */
  #syncAccepted(): void {
    try {
      this.#options.store.sync();
    } catch {
      // Whoever records the end is told.
    }
  }

  #checkWebhook(webhook: Webhook): void {
    if (!this.#options.webhooks) throw new ServiceError('invalid_webhook', 'This server delivers no webhooks.');
    this.#options.webhooks.check(webhook);
  }

  /** Called before a body is read: nothing is accepted that would only be refused. */
  refuseIfDraining(): void {
    if (this.#draining) {
      throw new ServiceError('shutting_down', 'The service is shutting down.', { retryAfterSeconds: 5 });
    }
  }

  /**
   * @throws {ServiceError} not_found, also when it is another caller's: whether it exists is not told;
   *   storage_unavailable.
   */
  get(id: string, caller: Caller): Submitted & { readonly status: Execution['status'] } {
    const execution = this.#find(id);
    if (!execution || !mayActOn(caller, execution.ownerId)) {
      throw new ServiceError('not_found', 'There is no execution with this id.');
    }
    return execution;
  }

  /**
   * An execution as it ended or stands, however long ago: for those who promised to tell of it. Undefined when it was
   * never accepted.
   * @throws {ServiceError} storage_unavailable, also while it has no end.
   */
  async endOf(id: string): Promise<Execution | undefined> {
    const execution = this.#find(id, 'however old');
    return execution?.snapshot().catch(() => execution.result());
  }

  #find(id: string, age?: 'however old'): ExecutionRecord | RecordedExecution | undefined {
    const active = this.#active.get(id);
    // Of one that is told with its end somebody learns before.
    if (active) this.#options.store.sync();
    const record = active ?? this.#unrecorded.get(id);
    if (record) return record;
    const stored = this.#options.store.read(id, age);
    if (!stored) return undefined;
    if (stored.state !== 'done') {
      throw new ServiceError('storage_unavailable', 'The end of this execution cannot be recorded at the moment.');
    }
    return new RecordedExecution(stored, this.#options.storage.directoryOf(stored.id));
  }

  /**
   * Ends what a process before this one left without an end, and records the ends that could not be recorded.
   * @returns the executions that were ended.
   * @throws {ServiceError} storage_full, storage_unavailable.
   */
  async recover(): Promise<readonly ExecutionResult[]> {
    const { store, storage } = this.#options;
    for (const record of this.#unrecorded.values()) {
      recordWithoutOutput(record, store);
      this.#unrecorded.delete(record.id);
      this.#options.webhooks?.ended(record.id, () => record.snapshot());
    }
    const ended = await recover({ store, directoryOf: storage.directoryOf, active: this.#active });
    for (const result of ended) {
      this.#options.webhooks?.ended(result.execution_id, async () => (await this.endOf(result.execution_id)) ?? result);
    }
    return ended;
  }

  /** Ends the runs, also those that wait, of callers who are no more. */
  cancelOfRevoked(isRevoked: (callerId: string) => boolean): void {
    const owners = new Set([...this.#active.values()].map(({ ownerId }) => ownerId));
    const revoked = new Set([...owners].filter(isRevoked));
    for (const record of this.#active.values()) if (revoked.has(record.ownerId)) record.cancel('key_revoked');
  }

  /**
   * Refuses new work, lets runs finish for `graceMs`, then cancels the rest.
   * Resolves when every execution has ended.
   */
  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    const timer = setTimeout(() => {
      for (const record of this.#active.values()) record.cancel('shutdown');
    }, graceMs);
    try {
      while (this.#active.size > 0) await Promise.all([...this.#active.values()].map((record) => record.ended));
    } finally {
      clearTimeout(timer);
      clearInterval(this.#saving);
    }
  }
}
