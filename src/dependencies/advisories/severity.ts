/**
 * How bad an advisory says that it is, as one word. Pure.
 *
 * The word of the database where it has one, otherwise the base score of a CVSS 3
 * vector. CVSS 2 and 4 are not calculated: their advisories have a word, or are
 * `unknown`, which never means harmless.
 */
import { ADVISORY_SEVERITIES, type AdvisorySeverity } from '../../domain/advisories.ts';

const WORDS: Readonly<Record<string, AdvisorySeverity>> = {
  critical: 'critical',
  high: 'high',
  important: 'high',
  moderate: 'medium',
  medium: 'medium',
  low: 'low',
};

/** Weights of the metrics of CVSS 3.1, section 7.4. */
const WEIGHTS = {
  AV: { N: 0.85, A: 0.62, L: 0.55, P: 0.2 },
  AC: { L: 0.77, H: 0.44 },
  UI: { N: 0.85, R: 0.62 },
  C: { H: 0.56, L: 0.22, N: 0 },
  I: { H: 0.56, L: 0.22, N: 0 },
  A: { H: 0.56, L: 0.22, N: 0 },
} as const;
const PRIVILEGES = { U: { N: 0.85, L: 0.62, H: 0.27 }, C: { N: 0.85, L: 0.68, H: 0.5 } } as const;

export function wordOf(text: unknown): AdvisorySeverity | undefined {
  return typeof text === 'string' && Object.hasOwn(WORDS, text.toLowerCase()) ? WORDS[text.toLowerCase()] : undefined;
}

/** The base score of a CVSS 3.0 or 3.1 vector, 0 to 10; undefined when it is none. */
export function cvss3Score(vector: string): number | undefined {
  if (vector.length > 300 || !/^CVSS:3\.[01]\//.test(vector)) return undefined;
  const metrics = new Map(vector.split('/').map((part) => part.split(':', 2) as [string, string]));
  const weight = (table: Readonly<Record<string, number>>, name: string) => table[metrics.get(name) ?? ''] ?? NaN;
  const scope = metrics.get('S');
  if (scope !== 'U' && scope !== 'C') return undefined;
  const [c, i, a] = [weight(WEIGHTS.C, 'C'), weight(WEIGHTS.I, 'I'), weight(WEIGHTS.A, 'A')];
  const base = 1 - (1 - c) * (1 - i) * (1 - a);
  const impact = scope === 'U' ? 6.42 * base : 7.52 * (base - 0.029) - 3.25 * (base - 0.02) ** 15;
  const ease =
    8.22 *
    weight(WEIGHTS.AV, 'AV') *
    weight(WEIGHTS.AC, 'AC') *
    weight(PRIVILEGES[scope], 'PR') *
    weight(WEIGHTS.UI, 'UI');
  if (Number.isNaN(impact + ease)) return undefined;
  if (impact <= 0) return 0;
  return roundedUp(Math.min((scope === 'C' ? 1.08 : 1) * (impact + ease), 10));
}

/** To one decimal, upwards, as section 7 of the specification does it. */
function roundedUp(score: number): number {
  const whole = Math.round(score * 100_000);
  return whole % 10_000 === 0 ? whole / 100_000 : (Math.floor(whole / 10_000) + 1) / 10;
}

export function severityOfVector(vector: string): AdvisorySeverity | undefined {
  const score = cvss3Score(vector);
  if (score === undefined) return undefined;
  if (score >= 9) return 'critical';
  if (score >= 7) return 'high';
  return score >= 4 ? 'medium' : 'low';
}

export function worstOf(severities: readonly AdvisorySeverity[]): AdvisorySeverity {
  return severities.reduce((worst, next) => (rankOf(next) > rankOf(worst) ? next : worst), 'unknown');
}

export function rankOf(severity: AdvisorySeverity): number {
  return ADVISORY_SEVERITIES.indexOf(severity);
}
