/** Which reports let a run begin, and when there is one. */
import { describe, expect, it } from 'vitest';
import { checkReport, whenToAnalyze, type AnalysisPolicy } from '../../../src/analysis/analysis-policy.ts';
import { SEVERITIES, type AnalysisReport, type Finding, type Severity } from '../../../src/domain/analysis.ts';
import { ServiceError } from '../../../src/domain/errors.ts';

const blockAt = (blocksAt: Severity): AnalysisPolicy => ({ mode: 'block', blocksAt });
const finding = (severity: Severity): Finding => ({
  ...{ id: 'B1', name: 'n', severity, confidence: 'low', file: 'a.py', line: 3, message: 'm' },
});
const reportOf = (severity?: Severity): AnalysisReport => ({
  status: 'complete',
  counts: { low: 0, medium: 0, high: 0, ...(severity ? { [severity]: 1 } : {}) },
  findings: severity ? [finding(severity)] : [],
});
const refusalOf = (report: AnalysisReport, policy: AnalysisPolicy) => {
  try {
    checkReport(report, policy);
    return undefined;
  } catch (error) {
    return error as ServiceError;
  }
};

describe('a complete report', () => {
  it('refuses at the severity of the operator and above, and not below', () => {
    for (const [at, blocksAt] of SEVERITIES.entries()) {
      for (const [of, severity] of SEVERITIES.entries()) {
        const refusal = refusalOf(reportOf(severity), blockAt(blocksAt));
        expect(refusal?.code, `${severity} at ${blocksAt}`).toBe(of >= at ? 'analysis_findings' : undefined);
      }
      expect(refusalOf(reportOf(), blockAt(blocksAt))).toBeUndefined();
    }
  });

  it('counts: a finding that is not listed any more refuses all the same', () => {
    const unlisted: AnalysisReport = { ...reportOf('high'), findings: [], truncated: true };
    expect(refusalOf(unlisted, blockAt('high'))?.code).toBe('analysis_findings');
  });

  it('lists in its refusal what refused, with the place of the first', () => {
    const report: AnalysisReport = { ...reportOf('high'), findings: [finding('high'), finding('low')] };
    const refusal = refusalOf(report, blockAt('medium'));
    expect(refusal?.members).toMatchObject({ blocks_at: 'medium', findings: [finding('high')] });
    expect(refusal?.message).toBe('The analysis has 1 finding of severity medium or above, the first in a.py, line 3.');
  });
});

it.each<[AnalysisReport['status'], string]>([
  ['incomplete', 'analysis_incomplete'],
  ['too_large', 'analysis_incomplete'],
  ['timed_out', 'analysis_unavailable'],
  ['failed', 'analysis_unavailable'],
  ['interrupted', 'analysis_unavailable'],
  ['pending', 'analysis_unavailable'],
])('a report that is %s refuses, without a finding', (status, code) => {
  expect(refusalOf({ ...reportOf(), status }, blockAt('high'))?.code).toBe(code);
});

it('is made before where it may refuse, beside where it is asked for, and otherwise not', () => {
  for (const isAsked of [true, false]) expect(whenToAnalyze(isAsked, blockAt('low'))).toBe('before');
  expect(whenToAnalyze(true, { mode: 'on-request', blocksAt: 'high' })).toBe('beside');
  expect(whenToAnalyze(false, { mode: 'on-request', blocksAt: 'high' })).toBeUndefined();
  expect(whenToAnalyze(false, { mode: 'off', blocksAt: 'high' })).toBeUndefined();
  expect(() => whenToAnalyze(true, { mode: 'off', blocksAt: 'high' })).toThrow(ServiceError);
});
