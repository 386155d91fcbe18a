/**
 * Tells a server that a run has ended, and keeps trying.
 *
 * A delivery is recorded before its run is accepted and leaves the record when it
 * was made; what cannot be made within its attempts is kept as a dead letter. It
 * never holds up a run. A receiver may be told twice: the delivery's id says so.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { mayActOn, type Caller } from '../domain/caller.ts';
import { ServiceError } from '../domain/errors.ts';
import type { Execution, ExecutionId } from '../domain/execution.ts';
import type { DeliveryNote, DeliveryTable, Webhook, WebhookDelivery } from '../domain/webhook.ts';
import { attempt, type AttemptOptions } from './attempt.ts';
import { EndsToTell, type EndLookUp } from './ends-to-tell.ts';

/** At one time, for everybody and for one owner: a receiver that dawdles holds up its own owner first. */
const CONCURRENT = 16;
const CONCURRENT_OF_ONE = 4;
const LOOK_AHEAD = 256;
/** Dead letters: of one owner, so that nobody's push out another's, and of everybody. */
const DEAD_KEPT_OF_ONE = 1000;
const DEAD_KEPT = 10_000;
const DEAD_LISTED = 100;
const RETRY_MS_MAX = 3_600_000;
const RECORD_RETRY_MS = 30_000;
const SECRET_BYTES_MIN = 16;
/** It is kept with each delivery. */
const SECRET_BYTES_MAX = 1024;

/** `dropped`: there never was what it was to tell. */
export type DeliveryResult = 'delivered' | 'failed' | 'dead' | 'dropped';

export interface DeliveriesOptions extends AttemptOptions {
  readonly table: DeliveryTable;
  /** The operator's secret, for webhooks that bring none. */
  readonly secret: string | undefined;
  readonly attemptsMax: number;
  /** Before the second attempt; doubled for each one after, up to an hour. */
  readonly retryMs: number;
  /** Deliveries that are not made yet, of everybody; of one owner three quarters of them. */
  readonly pendingMax: number;
  /** Before what could not be recorded is tried again. Default: 30 s. */
  readonly recordRetryMs?: number;
  /** The error is for the log only. */
  readonly observe: (result: DeliveryResult, delivery: WebhookDelivery, error: unknown) => void;
  readonly onError: (error: unknown) => void;
}

export class WebhookDeliveries {
  readonly #options: DeliveriesOptions;
  readonly #closing = new AbortController();
  readonly #sending = new Map<string, string>();
  readonly #ends: EndsToTell;
  readonly #work = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: DeliveriesOptions) {
    this.#options = options;
    const { table, pendingMax, recordRetryMs = RECORD_RETRY_MS, observe, onError } = options;
    this.#ends = new EndsToTell({
      table,
      pendingMax,
      recordRetryMs,
      onDue: () => {
        this.#pump();
      },
      onDropped: (delivery) => {
        observe('dropped', delivery, undefined);
      },
      onError,
      closing: this.#closing.signal,
    });
  }

  /** Deliveries to be made whose runs have ended. */
  get dueCount(): number {
    return this.#options.table.count('due');
  }

  get deadCount(): number {
    return this.#options.table.count('dead');
  }

  /** @throws {ServiceError} invalid_webhook. */
  check({ url, secret }: Webhook): void {
    this.#options.guard.check(url);
    const signing = secret ?? this.#options.secret;
    if (signing === undefined) {
      throw new ServiceError('invalid_webhook', 'The webhook needs a secret; the operator has set none for all.', {
        members: { field: 'webhook.secret' },
      });
    }
    const bytes = Buffer.byteLength(signing);
    if (bytes < SECRET_BYTES_MIN || (secret !== undefined && bytes > SECRET_BYTES_MAX)) {
      throw new ServiceError(
        'invalid_webhook',
        `A secret has ${String(SECRET_BYTES_MIN)} to ${String(SECRET_BYTES_MAX)} bytes.`,
        { members: { field: 'webhook.secret' } },
      );
    }
  }

  /**
   * Records that the end of an execution is to be told.
   * @throws {ServiceError} storage_full when it cannot be recorded, queue_full when too many are recorded already.
   */
  register(executionId: ExecutionId, ownerId: string, { url, secret }: Webhook): void {
    this.#ends.register(executionId, ownerId, url, secret ?? this.#options.secret ?? '');
  }

  /** The execution will not take place after all. */
  withdraw(executionId: ExecutionId): void {
    this.#ends.withdraw(executionId);
  }

  /** The execution has ended, and that is recorded; with a webhook or without. Returns at once. */
  ended(executionId: ExecutionId, snapshot: () => Promise<Execution>): void {
    this.#track(() => this.#ends.ended(executionId, snapshot));
  }

  /**
   * Goes on where the process before this one stopped. By then what that one left without an end must have been
   * given one where it could be; until this resolves nothing that ended may be forgotten. Never rejects.
   */
  async recover(lookUp: EndLookUp): Promise<void> {
    const unknown = await this.#ends.recover(lookUp);
    this.#track(() => this.#ends.awaitEnds(unknown, lookUp));
    this.#pump();
  }

  /** Those given up: the caller's own, everybody's for an admin; the newest first, a hundred at most. */
  deadLetters(caller: Caller): readonly DeliveryNote[] {
    return this.#options.table.dead(caller.scopes.has('admin') ? undefined : caller.id, DEAD_LISTED);
  }

  /**
   * Tries a dead letter again, with all its attempts.
   * @throws {ServiceError} delivery_not_found, also when it is another caller's.
   */
  redeliver(id: string, caller: Caller): WebhookDelivery {
    const delivery = this.#options.table.get(id);
    if (delivery?.state !== 'dead' || !mayActOn(caller, delivery.ownerId)) {
      throw new ServiceError('delivery_not_found', 'There is no dead letter with this id.');
    }
    const again: WebhookDelivery = { ...delivery, state: 'due', attempts: 0, dueAt: Date.now() };
    this.#options.table.put(again);
    this.#pump();
    return again;
  }

  /** Stops: attempts in progress are broken off, and made by the next process. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    // What has just ended is still written down: only attempts are broken off.
    this.#closing.abort(new Error('closing'));
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  /** Begins what is due, and sets the alarm for what is due next. */
  #pump(): void {
    if (this.#closing.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#guarded(() => {
      const now = Date.now();
      for (const { id, ownerId, dueAt } of this.#options.table.due(LOOK_AHEAD)) {
        if (this.#sending.has(id)) continue;
        if (dueAt > now) {
          this.#timer = setTimeout(
            () => {
              this.#pump();
            },
            Math.min(dueAt - now + 1, RETRY_MS_MAX),
          );
          this.#timer.unref();
          return;
        }
        if (this.#sending.size >= CONCURRENT) return;
        const ofOwner = [...this.#sending.values()].filter((owner) => owner === ownerId).length;
        const delivery = ofOwner < CONCURRENT_OF_ONE ? this.#options.table.get(id) : undefined;
        if (!delivery) continue;
        this.#sending.set(id, ownerId);
        this.#track(async () => {
          try {
            await this.#attempt(delivery);
          } catch (error) {
            // How it went could not be recorded: it is made again, but not at once.
            this.#options.onError(error);
            await delay(this.#options.recordRetryMs ?? RECORD_RETRY_MS, undefined, {
              signal: this.#closing.signal,
              ref: false,
            }).catch(() => undefined);
          } finally {
            this.#sending.delete(id);
          }
          this.#pump();
        });
      }
    });
  }

  async #attempt(delivery: WebhookDelivery): Promise<void> {
    const { table, observe, attemptsMax } = this.#options;
    const failure = await attempt(delivery, this.#options, this.#closing.signal).catch((error: unknown) => {
      if (!this.#closing.signal.aborted) throw error;
      return 'closing' as const;
    });
    if (failure === 'closing') return;
    if (!failure) {
      table.remove(delivery.id);
      observe('delivered', delivery, undefined);
      return;
    }
    const attempts = delivery.attempts + 1;
    const isDead = failure.isFinal || attempts >= attemptsMax;
    const failed: WebhookDelivery = {
      ...delivery,
      attempts,
      lastError: failure.word,
      state: isDead ? 'dead' : 'due',
      dueAt: Date.now() + (isDead ? 0 : this.#pauseMs(attempts)),
    };
    table.put(failed);
    if (isDead) table.trimDead(DEAD_KEPT_OF_ONE, DEAD_KEPT);
    observe(isDead ? 'dead' : 'failed', failed, failure.cause);
  }

  /** Doubled each time, and between half and one and a half of that, so that not everybody comes back at once. */
  #pauseMs(attempts: number): number {
    const pauseMs = Math.min(RETRY_MS_MAX, this.#options.retryMs * 2 ** Math.min(attempts - 1, 30));
    return pauseMs * (0.5 + Math.random());
  }

  #track(work: () => Promise<void>): void {
    const done: Promise<void> = work()
      .catch((error: unknown) => {
        this.#options.onError(error);
      })
      .finally(() => this.#work.delete(done));
    this.#work.add(done);
  }

  #guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#options.onError(error);
    }
  }
}
