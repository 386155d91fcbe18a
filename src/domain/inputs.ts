/**
 * One program, many inputs: what is asked for, and what is told of each.
 */
import type { Outcome, Usage } from './outcome.ts';

export interface RunInput {
  readonly args: readonly string[];
  readonly stdin: Uint8Array;
}

export interface RunInputs {
  readonly list: readonly RunInput[];
  /** Whether the inputs after one that did not exit with 0 are left out. */
  readonly stopOnFailure: boolean;
}

/** Of all inputs of an execution together. */
export interface InputsLimits {
  readonly count: number;
  readonly wallMs: number;
  readonly outputBytes: number;
}

export type InputOutcome = Outcome | { readonly kind: 'not_run'; readonly reason: string };

/** How one input ended. Field names are wire names. */
export interface InputResult {
  /** Its place among the inputs, from 0. */
  readonly index: number;
  readonly exit_code: number;
  readonly outcome: InputOutcome;
  readonly usage?: Usage;
  readonly stdout: string;
  /** Present with the value `base64` when the stream was not UTF-8. */
  readonly stdout_encoding?: 'base64';
  readonly stderr: string;
  readonly stderr_encoding?: 'base64';
  /** Bytes that were not kept: they come after what is there. */
  readonly omitted?: { readonly stdout: number; readonly stderr: number };
}
