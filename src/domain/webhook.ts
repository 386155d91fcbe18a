/**
 * A message to somebody's server when a run has ended: what was asked for, and the
 * delivery as it is kept until it was made or given up.
 */
import type { ExecutionId } from './execution.ts';

export interface Webhook {
  readonly url: string;
  /** What signs the message; absent: the operator's secret. */
  readonly secret?: string;
}

/** `waiting`: the run has not ended; `due`: to be sent; `dead`: given up. One that was made is not kept. */
export type DeliveryState = 'waiting' | 'due' | 'dead';

export interface WebhookDelivery {
  /** Unique; the same for every attempt. */
  readonly id: string;
  readonly executionId: ExecutionId;
  readonly ownerId: string;
  readonly url: string;
  readonly secret: string;
  readonly state: DeliveryState;
  /** The message, byte for byte; empty while waiting. */
  readonly body: string;
  readonly attempts: number;
  /** Unix milliseconds: when it is to be sent next, or was given up. */
  readonly dueAt: number;
  /** Why the last attempt failed, one of a few words; empty before. */
  readonly lastError: string;
  /** Unix milliseconds. */
  readonly createdAt: number;
}

/** A delivery as it stands in a list: without its message, which can be long, and its secret. */
export type DeliveryNote = Omit<WebhookDelivery, 'secret' | 'body'>;

/** Where deliveries are kept. Every write is durable when the call returns. */
export interface DeliveryTable {
  put(delivery: WebhookDelivery): void;
  get(id: string): WebhookDelivery | undefined;
  remove(id: string): void;
  waitingFor(executionId: string): WebhookDelivery | undefined;
  inState(state: DeliveryState, limit: number): readonly WebhookDelivery[];
  /** Those to be sent, the earliest first; of one owner only the first few. */
  due(limit: number): readonly DeliveryNote[];
  /** The newest first; of everybody without an owner. */
  dead(ownerId: string | undefined, limit: number): readonly DeliveryNote[];
  count(state: DeliveryState): number;
  /** Those that are neither made nor given up: of everybody, and of one owner. */
  pending(ownerId: string): { readonly all: number; readonly ofOwner: number };
  /** Leaves of those given up the newest: so many of each owner, and so many of all. */
  trimDead(keptOfOne: number, kept: number): void;
}
