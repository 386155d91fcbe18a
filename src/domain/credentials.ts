/**
 * What a request shows to say who it is from, and the refusal of it.
 *
 * Nothing here is believed: src/identity decides what it is worth.
 */
import { ServiceError } from './errors.ts';

export interface Credentials {
  /** Address of the connection: the proxy's, where there is one. Not what a header claims. */
  readonly peerAddress: string;
  /** Every value sent under a header, one per line of the request. `name` in lower case. */
  readonly header: (name: string) => readonly string[];
}

/** Why a caller was not recognised: for metrics and the audit log, never for the caller. */
export type RefusalReason =
  | 'none_given'
  | 'several_given'
  | 'malformed'
  | 'unknown'
  | 'expired'
  | 'revoked'
  | 'bad_signature'
  | 'bad_claims'
  | 'bad_algorithm';

/** `unauthenticated`, with the reason. The sentence does not tell an unknown key from an expired one. */
export class NotRecognised extends ServiceError {
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason, detail = 'The credentials are not valid.') {
    super('unauthenticated', detail);
    this.reason = reason;
  }
}
