/**
 * One program, many inputs: what is asked for, and what is told of each.
 */
import type { Outcome, Usage } from './outcome.ts';
import type { ProgramReport } from './program-report.ts';
import { quoted } from './quoted.ts';

/** A file that is there for one input only, over the project. */
export interface InputFile {
  readonly path: string;
  readonly content: Uint8Array;
  readonly executable?: boolean;
}

/** An input as it was asked for. */
export interface AskedInput {
  readonly args: readonly string[];
  readonly stdin: Uint8Array;
  readonly files?: readonly InputFile[];
}

/** The files of an input that passed the archive gate. */
export interface Overlay {
  /** A canonical tar. A file of it may be in the project already and replaces that one; so may a directory. */
  readonly tar: Uint8Array;
  /** What its files take of a disk that is given out in pages. */
  readonly diskBytes: number;
  readonly paths: readonly string[];
}

/** An input as it will be run. */
export interface RunInput {
  readonly args: readonly string[];
  readonly stdin: Uint8Array;
  readonly overlay?: Overlay;
}

export interface Inputs<Input extends AskedInput | RunInput> {
  readonly list: readonly Input[];
  /** Whether the inputs after one that did not exit with 0 are left out. */
  readonly stopOnFailure: boolean;
}

/** The path of an input's field as errors have it: `inputs[3].files["../x"]`. */
export function inputField(index: number, ...path: readonly (string | number)[]): string {
  return `inputs[${String(index)}]${path.map(step).join('')}`;
}

function step(part: string | number): string {
  if (typeof part === 'number') return `[${String(part)}]`;
  return /^[a-z_0-9]{1,40}$/.test(part) ? `.${part}` : `[${quoted(part)}]`;
}

/** Of all inputs of an execution together. */
export interface InputsLimits {
  readonly count: number;
  readonly wallMs: number;
  readonly outputBytes: number;
}

export type InputOutcome = Outcome | { readonly kind: 'not_run'; readonly reason: string };

/** How one input ended. Field names are wire names. */
export interface InputResult extends ProgramReport {
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
