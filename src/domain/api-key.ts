/**
 * An API key as it is kept: everything but the key itself, of which only a hash exists.
 */
import type { Scope } from './caller.ts';
import type { Limits } from './limits.ts';

/** What a key is for and what it may do. */
export interface KeyGrant {
  /** Unique among the keys that are not revoked. */
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly maxima?: Partial<Limits>;
  readonly images?: readonly string[];
  readonly concurrentMax?: number;
}

export interface ApiKey extends KeyGrant {
  /** Random, never used again: a new key of an old name does not own the old key's executions. */
  readonly id: string;
  readonly createdAtMs: number;
  readonly revokedAtMs?: number;
}

/** One of the secrets of a key: it has two while it is being rotated. */
export interface KeySecret {
  /** SHA-256 of the whole key. */
  readonly hash: Uint8Array;
  readonly createdAtMs: number;
  /** Wall clock; absent: never. */
  readonly expiresAtMs?: number;
}
