/**
 * The check of a run's packages against known vulnerabilities: a report, or a refusal
 * where the operator wants one.
 *
 * Where it blocks, only a report that is complete lets a run begin: a source that
 * gives no answer, or half of one, refuses as a vulnerability does, but says that it
 * was the source.
 */
import type { AdvisoryReport, KeptAnswer } from '../../domain/advisories.ts';
import { ServiceError } from '../../domain/errors.ts';
import type { AdvisoryBook } from './advisory-book.ts';
import { openFindings, reportOf, sentencesOn, type AcceptedIds } from './advisory-findings.ts';
import { SourceFailure, type SourceFault } from './osv-source.ts';

export type AdvisoryMode = 'report' | 'block';

/** A run's packages were checked. */
export interface AdvisoryEvent {
  readonly caller: string;
  readonly executionId: string;
  readonly report: AdvisoryReport;
  /** The code it refuses the run with. */
  readonly refused?: 'advisory_findings' | 'advisories_unavailable';
}

export interface PackageAdvisoriesOptions {
  readonly book: AdvisoryBook;
  readonly mode: AdvisoryMode;
  readonly accepted: AcceptedIds;
  readonly observe: (event: AdvisoryEvent) => void;
}

/** The run must not begin; the report says why. */
export class AdvisoryRefusal extends ServiceError {
  override readonly name = 'AdvisoryRefusal';
  readonly report: AdvisoryReport;

  constructor(code: 'advisory_findings' | 'advisories_unavailable', detail: string, report: AdvisoryReport) {
    super(code, detail, { members: { advisories: report } });
    this.report = report;
  }
}

/** What is told of a failure: nothing of where the source is. */
const FAULTS: Readonly<Record<SourceFault, string>> = {
  unreachable: 'it cannot be reached',
  refused: 'it refused to answer',
  timed_out: 'it did not answer in time',
  too_large: 'its answer was too large',
  redirected: 'it answered with a redirect',
  invalid: 'its answer could not be read',
};

export class PackageAdvisories {
  readonly #options: PackageAdvisoriesOptions;
  readonly #reports = new WeakMap<KeptAnswer, AdvisoryReport>();

  constructor(options: PackageAdvisoriesOptions) {
    this.#options = options;
  }

  /** Begins to ask for packages that will be checked soon. */
  expect(packages: readonly string[]): void {
    if (packages.length > 0) void this.#options.book.answerFor(packages).catch(() => undefined);
  }

  /**
   * What is known of the packages, `name==version`; undefined where there are none.
   * @throws {AdvisoryRefusal} when a run must not begin with them.
   */
  async check(
    packages: readonly string[],
    whose: Pick<AdvisoryEvent, 'caller' | 'executionId'>,
  ): Promise<AdvisoryReport | undefined> {
    if (packages.length === 0) return undefined;
    const { mode, observe } = this.#options;
    const report = await this.#report(packages);
    const refusal = mode === 'block' ? refusalOf(report) : undefined;
    observe({ ...whose, report, ...(refusal ? { refused: refusal.code as AdvisoryEvent['refused'] & string } : {}) });
    if (refusal) throw refusal;
    return report;
  }

  /**
   * What check would give at once; undefined where it would wait, or refuse.
   * @returns the report in a property, because there is none where there are no packages.
   */
  known(
    packages: readonly string[],
    whose: Pick<AdvisoryEvent, 'caller' | 'executionId'>,
  ): { readonly report: AdvisoryReport | undefined } | undefined {
    if (packages.length === 0) return { report: undefined };
    const { book, mode, observe } = this.#options;
    const kept = book.keptFor(packages);
    const report = kept && this.#told(kept);
    if (!report || (mode === 'block' && refusalOf(report))) return undefined;
    observe({ ...whose, report });
    return { report };
  }

  async #report(packages: readonly string[]): Promise<AdvisoryReport> {
    const { book } = this.#options;
    try {
      return this.#told(await book.answerFor(packages));
    } catch (failure) {
      const why = FAULTS[failure instanceof SourceFailure ? failure.fault : 'invalid'];
      const detail = `The packages were not checked: the source of advisories gave no answer (${why}).`;
      const older = book.anyFor(packages);
      if (!older) return { status: 'unavailable', detail };
      return { ...this.#told(older), status: 'unavailable', detail: `${detail} This is an older answer of it.` };
    }
  }

  #told(kept: KeptAnswer): AdvisoryReport {
    let report = this.#reports.get(kept);
    if (!report) {
      report = reportOf(kept.answer, kept.checkedMs, this.#options.accepted);
      this.#reports.set(kept, report);
    }
    return report;
  }
}

function refusalOf(report: AdvisoryReport): AdvisoryRefusal | undefined {
  const isOfTheSource = (detail: string) =>
    new AdvisoryRefusal(
      'advisories_unavailable',
      `The operator wants packages checked for known vulnerabilities before they are used. ${detail} Try again; nothing is wrong with the requirements.`,
      report,
    );
  if (report.status === 'unavailable') return isOfTheSource(report.detail ?? '');
  const described = openFindings(report).filter((finding) => !finding.details_missing);
  if (described.length > 0) {
    return new AdvisoryRefusal('advisory_findings', sentencesOn(report) ?? '', report);
  }
  return report.status === 'complete' ? undefined : isOfTheSource(report.detail ?? '');
}
