/**
 * What is known of vulnerabilities of the packages a run installs. Field names of the
 * report are wire names.
 *
 * A report always says how far the check came: no findings of one that is not
 * complete mean nothing.
 */

/** From the least to the worst; `unknown` where the source does not say. */
export const ADVISORY_SEVERITIES = ['unknown', 'low', 'medium', 'high', 'critical'] as const;
export type AdvisorySeverity = (typeof ADVISORY_SEVERITIES)[number];

/** One vulnerability of one package, whatever number of advisories tell of it. */
export interface AdvisoryFinding {
  /** Canonical name. */
  readonly package: string;
  readonly version: string;
  /** The source's own ids: `GHSA-…`, `PYSEC-…`. */
  readonly ids: readonly string[];
  /** Other names of it: `CVE-…`. */
  readonly aliases: readonly string[];
  readonly severity: AdvisorySeverity;
  /** Versions above this one in which it is fixed, the lowest first. */
  readonly fixed_versions: readonly string[];
  readonly summary?: string;
  /** The operator has named it as one that is put up with. */
  readonly accepted?: true;
  /** Nothing but its id could be had from the source: it may also have been withdrawn. */
  readonly details_missing?: true;
}

/**
 * `complete`: the source answered for every package, and this is what it knows. `incomplete`: part of its answer is
 * missing. `unavailable`: it gave no answer; findings, where there are some, are those of an older one.
 */
export type AdvisoryStatus = 'complete' | 'incomplete' | 'unavailable';

export interface AdvisoryReport {
  readonly status: AdvisoryStatus;
  /** Why it is not complete. */
  readonly detail?: string;
  /** When the source gave this answer: RFC 3339, UTC. */
  readonly checked_at?: string;
  /** How many packages it answered for. */
  readonly packages_checked?: number;
  /** All findings that are not accepted, listed or not. */
  readonly count?: number;
  /** The worst first, accepted ones last. */
  readonly findings?: readonly AdvisoryFinding[];
  /** There are more than are listed. */
  readonly truncated?: true;
}

/** One advisory about one package, as the source tells of it. */
export interface KnownAdvisory {
  readonly package: string;
  readonly version: string;
  readonly id: string;
  /** Absent: they could not be had. */
  readonly details?: AdvisoryDetails | undefined;
}

export interface AdvisoryDetails {
  readonly aliases: readonly string[];
  readonly severity: AdvisorySeverity;
  /** Of the package, in no order. */
  readonly fixedVersions: readonly string[];
  readonly summary?: string | undefined;
}

/** What the source answered for a list of packages. */
export interface AdvisoryAnswer {
  readonly packagesChecked: number;
  /** Those that were not withdrawn. */
  readonly advisories: readonly KnownAdvisory[];
  /** Whether there were more than are taken. */
  readonly isCut: boolean;
}

/** An answer that is kept. */
export interface KeptAnswer {
  /** Of the packages and the source. */
  readonly key: string;
  /** Unix milliseconds at which the source was asked. */
  readonly checkedMs: number;
  readonly answer: AdvisoryAnswer;
}

/** Answers that outlive the process. */
export interface AdvisoryTable {
  /** The newest first, at most so many; what is older goes. */
  load(max: number): readonly KeptAnswer[];
  put(kept: KeptAnswer): void;
  remove(key: string): void;
}
