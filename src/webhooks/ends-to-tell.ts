/**
 * From the promise to the message: which executions somebody wants to be told of,
 * and the message once they have ended.
 *
 * A promise is recorded before its execution is accepted. It is kept whatever fails
 * in between: what cannot be recorded or looked up now is tried again, and the next
 * process finds it as it was.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { ServiceError } from '../domain/errors.ts';
import type { Execution, ExecutionId } from '../domain/execution.ts';
import type { DeliveryTable, WebhookDelivery } from '../domain/webhook.ts';
import { messageOf } from './message.ts';

/** What of the deliveries that are not made yet one owner may have. */
const OWNER_SHARE = 3 / 4;

/**
 * An execution as it ended, or as it stands; undefined when it was never accepted. Rejects when that cannot be told
 * now.
 */
export type EndLookUp = (executionId: ExecutionId) => Promise<Execution | undefined>;

export interface EndsToTellOptions {
  readonly table: DeliveryTable;
  /** Deliveries that are not made yet, of everybody; of one owner three quarters of them. */
  readonly pendingMax: number;
  /** Before what could not be recorded is tried again. */
  readonly recordRetryMs: number;
  readonly onDue: () => void;
  /** The execution of a delivery was never accepted. */
  readonly onDropped: (delivery: WebhookDelivery) => void;
  readonly onError: (error: unknown) => void;
  readonly closing: AbortSignal;
}

export class EndsToTell {
  readonly #options: EndsToTellOptions;
  /** Executions of which the end is awaited. */
  readonly #expected = new Set<string>();

  constructor(options: EndsToTellOptions) {
    this.#options = options;
  }

  /** @throws {ServiceError} storage_full when it cannot be recorded, queue_full when too many are recorded already. */
  register(executionId: ExecutionId, ownerId: string, url: string, secret: string): void {
    const { table, pendingMax } = this.#options;
    let hasRoom: boolean;
    try {
      const { all, ofOwner } = table.pending(ownerId);
      hasRoom = all < pendingMax && ofOwner < Math.ceil(pendingMax * OWNER_SHARE);
      if (hasRoom) {
        table.put({
          id: `whd_${randomUUID()}`,
          executionId,
          ownerId,
          url,
          secret,
          state: 'waiting',
          body: '',
          attempts: 0,
          dueAt: 0,
          lastError: '',
          createdAt: Date.now(),
        });
      }
    } catch (cause) {
      throw new ServiceError('storage_full', 'The webhook cannot be recorded.', { cause });
    }
    if (!hasRoom) throw new ServiceError('queue_full', 'Too many webhooks are still to be delivered.');
    this.#expected.add(executionId);
  }

  /** The execution will not take place after all. */
  withdraw(executionId: ExecutionId): void {
    if (!this.#expected.delete(executionId)) return;
    try {
      const delivery = this.#options.table.waitingFor(executionId);
      if (delivery) this.#options.table.remove(delivery.id);
    } catch (error) {
      // The next process drops it: its execution was never accepted.
      this.#options.onError(error);
    }
  }

  /** The execution has ended, and that is recorded. Resolves when the message is. */
  async ended(executionId: ExecutionId, snapshot: () => Promise<Execution>): Promise<void> {
    if (!this.#expected.delete(executionId)) return;
    const execution = await snapshot();
    while (!this.#isMadeDue(executionId, execution) && (await this.#pause()));
  }

  /**
   * Makes due what an earlier process promised and whose executions have ended.
   * @returns those of which it cannot be told yet.
   */
  async recover(lookUp: EndLookUp): Promise<readonly ExecutionId[]> {
    const { table, pendingMax, onError } = this.#options;
    try {
      const ids = table.inState('waiting', pendingMax).map(({ executionId }) => executionId);
      return await this.#lookUpAll(ids, lookUp);
    } catch (error) {
      onError(error);
      return [];
    }
  }

  /** Looks `ids` up again and again until all are told, or this stops. */
  async awaitEnds(ids: readonly ExecutionId[], lookUp: EndLookUp): Promise<void> {
    let left = ids;
    // Whoever was told of its end meanwhile has taken it out.
    while (left.length > 0 && (await this.#pause())) {
      left = await this.#lookUpAll(
        left.filter((id) => this.#expected.has(id)),
        lookUp,
      );
    }
  }

  async #lookUpAll(ids: readonly ExecutionId[], lookUp: EndLookUp): Promise<readonly ExecutionId[]> {
    const unknown: ExecutionId[] = [];
    for (const id of ids) {
      this.#expected.add(id);
      try {
        const execution = await lookUp(id);
        if (!execution) this.#drop(id);
        else if (execution.status === 'pending' || execution.status === 'running') continue;
        else if (this.#expected.has(id) && !this.#isMadeDue(id, execution)) unknown.push(id);
      } catch {
        unknown.push(id);
      }
    }
    return unknown;
  }

  /** Killed between the two records: nobody was told of the execution, so there is nobody to tell. */
  #drop(executionId: ExecutionId): void {
    const delivery = this.#options.table.waitingFor(executionId);
    if (!delivery) return;
    this.#options.table.remove(delivery.id);
    this.#expected.delete(executionId);
    this.#options.onDropped(delivery);
  }

  #isMadeDue(executionId: ExecutionId, execution: Execution): boolean {
    const { table, onDue, onError } = this.#options;
    try {
      const delivery = table.waitingFor(executionId);
      if (delivery) table.put({ ...delivery, state: 'due', dueAt: Date.now(), body: messageOf(delivery, execution) });
      this.#expected.delete(executionId);
    } catch (error) {
      onError(error);
      return false;
    }
    onDue();
    return true;
  }

  /** Waits before something is tried again; false when it is not to be, because this stops. */
  async #pause(): Promise<boolean> {
    const { closing: signal, recordRetryMs } = this.#options;
    await delay(recordRetryMs, undefined, { signal, ref: false }).catch(() => undefined);
    return !signal.aborted;
  }
}
