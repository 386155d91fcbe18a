/**
 * How a run ended, as data. A program that fails is an outcome, not an error:
 * what the service refuses or fails at is in errors.ts.
 */
import { ERRORS, isErrorCode } from './errors.ts';

export type Outcome =
  | { readonly kind: 'exited'; readonly exit_code: number }
  | { readonly kind: 'signaled'; readonly signal: string; readonly signal_number: number }
  | { readonly kind: 'timed_out'; readonly limit: 'wall_ms' | 'cpu_ms'; readonly limit_ms: number }
  | { readonly kind: 'out_of_memory'; readonly limit_bytes: number }
  | { readonly kind: 'output_limit'; readonly limit_bytes: number }
  | { readonly kind: 'cancelled'; readonly reason: CancelReason }
  /** It never began: no place to run became free in the time it was to wait. */
  | { readonly kind: 'queue_timeout'; readonly limit_ms: number }
  | { readonly kind: 'interrupted'; readonly reason: string }
  | { readonly kind: 'infrastructure_error'; readonly code: string; readonly detail: string };

export type CancelReason = 'requested' | 'client_disconnected' | 'key_revoked' | 'shutdown';

const CANCELLED_BECAUSE: Readonly<Record<CancelReason, string>> = {
  requested: 'cancelled by request',
  client_disconnected: 'cancelled because the client went away',
  key_revoked: 'cancelled because the key of its caller was revoked',
  shutdown: 'cancelled because the service is shutting down',
};

/** What the run used, read inside its container after its last process ended. */
export interface Usage {
  readonly wall_ms: number;
  /** User plus system time of every process of the program; absent when it could not be read. */
  readonly cpu_ms?: number;
  /** Peak of the container's memory, page cache included; absent when the kernel does not tell. */
  readonly memory_peak_bytes?: number;
}

/** Exit status a shell would show, for clients that only know a number. */
export function exitCodeOf(outcome: Outcome): number {
  switch (outcome.kind) {
    case 'exited':
      return outcome.exit_code;
    case 'signaled':
      return 128 + outcome.signal_number;
    case 'timed_out':
      return 124;
    case 'out_of_memory':
    case 'output_limit':
    case 'cancelled':
      return 137;
    case 'queue_timeout':
    case 'interrupted':
    case 'infrastructure_error':
      return -1;
  }
}

/** Which of python-executor's terminal states an outcome is. */
export function statusOf(outcome: Outcome): 'completed' | 'failed' | 'killed' {
  switch (outcome.kind) {
    case 'exited':
    case 'signaled':
    case 'out_of_memory':
      return 'completed';
    case 'cancelled':
      return 'killed';
    case 'timed_out':
    case 'output_limit':
    case 'queue_timeout':
    case 'interrupted':
    case 'infrastructure_error':
      return 'failed';
  }
}

/** The sentence for `error`, present when the run did not complete by itself. */
export function errorSentenceOf(outcome: Outcome): string | undefined {
  switch (outcome.kind) {
    case 'exited':
    case 'signaled':
      return undefined;
    case 'timed_out':
      return outcome.limit === 'wall_ms'
        ? `execution timeout after ${formatSeconds(outcome.limit_ms)}`
        : `CPU time limit of ${formatSeconds(outcome.limit_ms)} exceeded`;
    case 'out_of_memory':
      return `memory limit of ${String(outcome.limit_bytes)} bytes exceeded`;
    case 'output_limit':
      return `output limit of ${String(outcome.limit_bytes)} bytes exceeded`;
    case 'cancelled':
      return CANCELLED_BECAUSE[outcome.reason];
    case 'queue_timeout':
      return `not started: no place to run within ${formatSeconds(outcome.limit_ms)}`;
    case 'interrupted':
      return `interrupted: ${outcome.reason}`;
    case 'infrastructure_error':
      return outcome.detail;
  }
}

/** A duration as Go prints it (`5s`, `1m0s`, `1h0m0s`, `1.5s`, `250ms`): what python-executor's clients know. */
function formatSeconds(durationMs: number): string {
  if (durationMs < 1000) return `${String(durationMs)}ms`;
  const hours = Math.floor(durationMs / 3_600_000);
  const minutes = Math.floor((durationMs % 3_600_000) / 60_000);
  const seconds = `${String((durationMs % 60_000) / 1000)}s`;
  if (hours > 0) return `${String(hours)}h${String(minutes)}m${seconds}`;
  return minutes > 0 ? `${String(minutes)}m${seconds}` : seconds;
}

/** Whether it was refused after it was accepted, for what its caller asked: packages that do not exist, or may not be used. */
export function isRefusal(outcome: Outcome): boolean {
  return outcome.kind === 'infrastructure_error' && isErrorCode(outcome.code) && ERRORS[outcome.code].status < 500;
}

/** Whether the run ended because of us: it is logged with its cause, and an operator is to look at it. */
export function isFailureOfOurs(outcome: Outcome): boolean {
  return (outcome.kind === 'infrastructure_error' && !isRefusal(outcome)) || outcome.kind === 'interrupted';
}
