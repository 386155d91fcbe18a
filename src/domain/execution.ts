/**
 * An execution as callers see it: a superset of python-executor's result, so
 * that its clients parse it. Field names are wire names.
 */
import { randomUUID } from 'node:crypto';
import type { AdvisoryReport } from './advisories.ts';
import type { AnalysisReport } from './analysis.ts';
import type { Artifact, SkippedArtifact } from './artifacts.ts';
import type { Display } from './displays.ts';
import type { ProgramReport } from './program-report.ts';
import type { InputResult } from './inputs.ts';
import type { Limits } from './limits.ts';
import type { Outcome, Usage } from './outcome.ts';

export type ExecutionId = `exe_${string}`;

export type ExecutionStatus = 'pending' | 'running' | 'completed' | 'failed' | 'killed';

const EXECUTION_ID = /^exe_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** A new id with 122 random bits: it cannot be guessed. */
export function newExecutionId(): ExecutionId {
  return `exe_${randomUUID()}`;
}

export function isExecutionId(value: string): value is ExecutionId {
  return EXECUTION_ID.test(value);
}

/** How much of a stream there was and how much was kept; present only for streams that were cut. */
export interface Truncation {
  readonly total_bytes: number;
  readonly kept_bytes: number;
  readonly omitted_bytes: number;
}

/** Where a run stands that waits for a place to run. Place and wait are estimates: who comes and goes changes them. */
export interface QueuePlace {
  /** 1: it goes next. */
  readonly position: number;
  /** Milliseconds; absent as long as no run has ended from which it could be told. */
  readonly estimated_wait_ms?: number;
  /** Milliseconds after which it ends without having run; absent where it waits as long as it takes. */
  readonly expires_in_ms?: number;
}

/** Everything about an execution but its output text. */
export interface ExecutionResult extends ProgramReport {
  readonly execution_id: ExecutionId;
  readonly status: ExecutionStatus;
  readonly exit_code: number;
  readonly error?: string;
  /** Code and retryability of a failure of ours; never set for a program's own failure. */
  readonly outcome?: Outcome;
  /** What to try next, where we know. */
  readonly hint?: string;
  readonly image?: string;
  /** `name==version` of every package that was installed for the run. */
  readonly packages?: readonly string[];
  /** What is known of vulnerabilities of these packages, where the operator names a source. */
  readonly advisories?: AdvisoryReport;
  /** What an analysis of its code came to, where one was asked for or the operator wants one. */
  readonly analysis?: AnalysisReport;
  readonly runtime?: string;
  /** RFC 3339, UTC, milliseconds. */
  readonly created_at: string;
  readonly started_at?: string;
  readonly finished_at?: string;
  readonly duration_ms?: number;
  readonly usage?: Usage;
  readonly truncated?: {
    readonly stdout?: Truncation;
    readonly stderr?: Truncation;
    readonly displays?: { readonly omitted_count: number };
    readonly result?: Truncation;
  };
  readonly limits?: Limits;
  /** Only while it waits for a place to run. */
  readonly queue?: QueuePlace;
  /** The files the run left, in the order of their tar; absent where there are none, or nobody asked. */
  readonly artifacts?: readonly Artifact[];
  /** What was there and is not among the artifacts: how many, and the first of them. */
  readonly artifacts_skipped?: { readonly count: number; readonly entries: readonly SkippedArtifact[] };
}

/**
 * How the door an execution came through writes it, as data: it is shown in the same
 * form whenever it is fetched. What the facts mean is the door's business.
 */
export interface DoorForm {
  readonly door: string;
  readonly facts?: Readonly<Record<string, unknown>>;
}

/** The whole execution, with the output collected so far. */
export interface Execution extends ExecutionResult {
  readonly stdout?: string;
  /** Present with the value `base64` when the stream was not UTF-8. */
  readonly stdout_encoding?: 'base64';
  readonly stderr?: string;
  readonly stderr_encoding?: 'base64';
  /** What the program showed, in order; absent where it showed nothing. */
  readonly displays?: readonly Display[];
  /** Of a program with many inputs: what ended so far, in their order. */
  readonly results?: readonly InputResult[];
}
