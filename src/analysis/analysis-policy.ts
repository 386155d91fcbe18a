/**
 * Whose code is analyzed, and whether a report lets a run begin: the operator's
 * decision. Pure.
 *
 * Where findings block, only a complete report without one of them lets a run begin.
 */
import { SEVERITIES, type AnalysisReport, type Severity } from '../domain/analysis.ts';
import { ServiceError } from '../domain/errors.ts';

export type AnalysisMode = 'off' | 'on-request' | 'block';

export interface AnalysisPolicy {
  readonly mode: AnalysisMode;
  /** The least severity that refuses a run, for `block`. */
  readonly blocksAt: Severity;
}

/** Findings that a refusal lists; the report has more. */
const LISTED_MAX = 20;

/**
 * When the code of a request is analyzed: `before` it may run, `beside` its run, or not at all.
 * @throws {ServiceError} analysis_not_supported when it is asked for and never done.
 */
export function whenToAnalyze(isAsked: boolean, { mode }: AnalysisPolicy): 'before' | 'beside' | undefined {
  if (mode === 'block') return 'before';
  if (!isAsked) return undefined;
  if (mode === 'on-request') return 'beside';
  throw new ServiceError('analysis_not_supported', 'Code is not analyzed on this server: leave "analyze" out.', {
    members: { field: 'analyze' },
  });
}

/** @throws {ServiceError} analysis_findings, analysis_incomplete, analysis_unavailable. */
export function checkReport(report: AnalysisReport, { blocksAt }: AnalysisPolicy): void {
  const { counts, detail, findings = [], status, skipped } = report;
  const levels = SEVERITIES.slice(SEVERITIES.indexOf(blocksAt));
  const count = levels.reduce((sum, level) => sum + (counts?.[level] ?? 0), 0);
  if (count > 0) {
    const listed = findings.filter(({ severity }) => levels.includes(severity)).slice(0, LISTED_MAX);
    const first = listed[0] ? `, the first in ${listed[0].file}, line ${String(listed[0].line)}` : '';
    throw new ServiceError(
      'analysis_findings',
      `The analysis has ${String(count)} finding${count === 1 ? '' : 's'} of severity ${blocksAt} or above${first}.`,
      { members: { blocks_at: blocksAt, counts, findings: listed } },
    );
  }
  if (status === 'complete') return;
  if (status === 'incomplete' || status === 'too_large') {
    throw new ServiceError('analysis_incomplete', `The code could not be analyzed in full. ${detail ?? ''}`.trim(), {
      members: { analysis: status, ...(skipped ? { skipped } : {}) },
    });
  }
  throw new ServiceError('analysis_unavailable', `The code could not be analyzed. ${detail ?? ''}`.trim(), {
    members: { analysis: status },
  });
}
