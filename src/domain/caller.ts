/**
 * Who asks. Every request has exactly one caller; what a caller submitted is its
 * own, and for everybody else it does not exist.
 *
 * A caller is a value: what it may do was looked up when it was recognised.
 */
import type { Limits } from './limits.ts';

/** `run`: submit and cancel own runs; `read`: see own runs; `admin`: everything, of every caller. */
export const SCOPES = ['run', 'read', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

export interface Caller {
  /** Stable over restarts and unique among all kinds; owns executions, budgets and places in the queue. */
  readonly id: string;
  readonly scopes: ReadonlySet<Scope>;
  /** Limits below the operator's maxima that hold for this caller. */
  readonly maxima?: Partial<Limits>;
  /** Patterns of images, within the operator's own; absent: all of those. */
  readonly images?: readonly string[];
  /** Runs of this caller at one time; absent: the operator's setting for everybody. */
  readonly concurrentMax?: number;
  /** Where this request came from. For the audit log; nothing is decided by it. */
  readonly origin?: Origin;
}

export interface Origin {
  readonly requestId: string;
  readonly address: string;
}

/** Everybody, where nobody has to say who they are. */
export const ANONYMOUS: Caller = { id: 'anonymous', scopes: new Set<Scope>(SCOPES) };

/** Nobody yet: what a request is from until it has been recognised. It may do nothing. */
export const NOBODY: Caller = { id: 'nobody', scopes: new Set<Scope>() };

/** The service itself, which probes its own isolation. */
export const SERVICE: Caller = { id: 'service', scopes: new Set<Scope>(['run', 'read']) };

export function hasScope(caller: Caller, scope: Scope): boolean {
  return caller.scopes.has(scope) || caller.scopes.has('admin');
}

export function mayActOn(caller: Caller, ownerId: string): boolean {
  return caller.id === ownerId || caller.scopes.has('admin');
}
