/**
 * What an analysis of submitted code came to. Field names are wire names.
 *
 * A report always says how far the analysis came: no findings of one that was not
 * complete mean nothing.
 */

export const SEVERITIES = ['low', 'medium', 'high'] as const;
export type Severity = (typeof SEVERITIES)[number];

export interface Finding {
  /** The check's number: `B602`. */
  readonly id: string;
  /** The check's name. */
  readonly name: string;
  readonly severity: Severity;
  readonly confidence: Severity;
  /** Relative to the project. */
  readonly file: string;
  /** Of a file that one of many inputs brought: its place among them, from 0. */
  readonly input?: number | undefined;
  readonly line: number;
  readonly message: string;
  /** Number in the Common Weakness Enumeration. */
  readonly cwe?: number | undefined;
}

/** Why a source was not analyzed. */
export const SKIP_REASONS = ['syntax_error', 'not_readable', 'too_large', 'timed_out', 'crashed'] as const;

export interface SkippedSource {
  readonly file: string;
  readonly input?: number | undefined;
  readonly reason: (typeof SKIP_REASONS)[number];
}

/**
 * `complete`: every source was read. `incomplete`: all but those in `skipped`. The others say why there is nothing to
 * tell; `pending` until it is over.
 */
export type AnalysisStatus =
  'pending' | 'complete' | 'incomplete' | 'too_large' | 'timed_out' | 'failed' | 'interrupted';

export interface AnalysisReport {
  readonly status: AnalysisStatus;
  /** Why it is not complete. */
  readonly detail?: string;
  /** Name and version of what looked. */
  readonly tool?: string;
  readonly files_analyzed?: number;
  /** Sources that could not be read: how many, and the first of them. */
  readonly skipped?: { readonly count: number; readonly entries: readonly SkippedSource[] };
  /** All findings, by severity. */
  readonly counts?: Readonly<Record<Severity, number>>;
  /** The worst first; `truncated` where these are not all. */
  readonly findings?: readonly Finding[];
  readonly truncated?: true;
}

export const PENDING_ANALYSIS: AnalysisReport = { status: 'pending' };
