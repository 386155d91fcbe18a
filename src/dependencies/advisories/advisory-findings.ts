/**
 * From what a source answered to what a caller is told, and whether a run may begin
 * with it: the operator's decision. Pure.
 *
 * Advisories of one package that share a name are one finding. What the operator
 * accepts is judged advisory by advisory, by its id and its own aliases: nothing is
 * accepted for being told of together with something else.
 */
import type { AdvisoryAnswer, AdvisoryFinding, AdvisoryReport, KnownAdvisory } from '../../domain/advisories.ts';
import { rankOf, worstOf } from './severity.ts';
import { compareVersions, isFinalVersion } from './version-order.ts';

/** Findings a report lists; the rest is counted. */
const LISTED_MAX = 50;
const FIXED_VERSIONS_LISTED_MAX = 5;
/** Packages a sentence names. */
const NAMED_MAX = 3;
const DETAILS_MISSING = 'What is known of some vulnerabilities could not be had; their ids are listed.';
const CUT = 'The source listed more than is taken.';

/** What the operator accepts, as written. Ids and aliases are compared without regard to case. */
export type AcceptedIds = ReadonlySet<string>;

export function acceptedIds(items: readonly string[]): AcceptedIds {
  return new Set(items.map((item) => item.toUpperCase()));
}

/** @param checkedMs Unix milliseconds. */
export function reportOf(answer: AdvisoryAnswer, checkedMs: number, accepted: AcceptedIds): AdvisoryReport {
  const { advisories, isCut, packagesChecked } = answer;
  const isAccepted = ({ id, details }: KnownAdvisory) =>
    [id, ...(details?.aliases ?? [])].some((name) => accepted.has(name.toUpperCase()));
  const open = findingsOf(advisories.filter((advisory) => !isAccepted(advisory)));
  const putUpWith = findingsOf(advisories.filter(isAccepted)).map((finding) => ({
    ...finding,
    accepted: true as const,
  }));
  const findings = [...open, ...putUpWith];
  const isDescribed = advisories.every(({ details }) => details !== undefined);
  const faults = [...(isCut ? [CUT] : []), ...(isDescribed ? [] : [DETAILS_MISSING])];
  return {
    status: faults.length === 0 ? 'complete' : 'incomplete',
    ...(faults.length === 0 ? {} : { detail: faults.join(' ') }),
    checked_at: new Date(checkedMs).toISOString(),
    packages_checked: packagesChecked,
    count: open.length,
    ...(findings.length === 0 ? {} : { findings: findings.slice(0, LISTED_MAX) }),
    ...(isCut || findings.length > LISTED_MAX ? { truncated: true } : {}),
  };
}

/** Findings that the operator has not accepted. */
export function openFindings({ findings = [] }: AdvisoryReport): readonly AdvisoryFinding[] {
  return findings.filter(({ accepted }) => !accepted);
}

/** A sentence or more for who has to change the requirements; undefined where nothing was found. */
export function sentencesOn(report: AdvisoryReport): string | undefined {
  const byPackage = new Map<string, AdvisoryFinding[]>();
  for (const finding of openFindings(report)) {
    const name = `${finding.package}==${finding.version}`;
    byPackage.set(name, [...(byPackage.get(name) ?? []), finding]);
  }
  if (byPackage.size === 0) return undefined;
  const named = [...byPackage].slice(0, NAMED_MAX).map(([name, findings]) => sentenceOn(name, findings));
  const others = byPackage.size - named.length;
  if (others > 0) named.push(`${String(others)} more package${others === 1 ? ' has' : 's have'} some, too.`);
  return named.join(' ');
}

function sentenceOn(name: string, findings: readonly AdvisoryFinding[]): string {
  const [worst] = findings;
  if (!worst) return '';
  const called = worst.aliases.find((alias) => /^CVE-/i.test(alias)) ?? worst.ids[0] ?? '';
  const severity = worst.severity === 'unknown' ? '' : `, ${worst.severity}`;
  const what =
    findings.length === 1
      ? `a known vulnerability (${called}${severity})`
      : `${String(findings.length)} known vulnerabilities (the worst: ${called}${severity})`;
  const fix = fixOf(findings);
  return `${name} has ${what}; ${fix === undefined ? 'no version is known that fixes it' : `ask for ${worst.package}>=${fix}`}.`;
}

/** The lowest version that has a fix for each; undefined where one has none. */
function fixOf(findings: readonly AdvisoryFinding[]): string | undefined {
  const fixes = findings.map(({ fixed_versions }) => fixed_versions.find(isFinalVersion) ?? fixed_versions[0]);
  if (fixes.some((fix) => fix === undefined)) return undefined;
  return fixes.toSorted((a, b) => compareVersions(b ?? '', a ?? ''))[0];
}

/** The worst first, then by package and id. */
function findingsOf(advisories: readonly KnownAdvisory[]): AdvisoryFinding[] {
  return groupsOf(advisories)
    .map(findingOf)
    .sort(
      (a, b) =>
        rankOf(b.severity) - rankOf(a.severity) ||
        compareTexts(a.package, b.package) ||
        compareTexts(a.ids[0] ?? '', b.ids[0] ?? ''),
    );
}

const compareTexts = (a: string, b: string) => (a < b ? -1 : Number(a > b));

/** Advisories of one package that share an id or an alias, directly or through others. */
function groupsOf(advisories: readonly KnownAdvisory[]): readonly (readonly KnownAdvisory[])[] {
  const parents = new Map<string, string>();
  const rootOf = (name: string): string => {
    let root = name;
    for (let parent = parents.get(root); parent !== undefined; parent = parents.get(root)) root = parent;
    // The next way is short.
    for (let at = name; at !== root;) {
      const next = parents.get(at) ?? root;
      parents.set(at, root);
      at = next;
    }
    return root;
  };
  const keyOf = (advisory: KnownAdvisory, name: string) => `${advisory.package} ${name.toUpperCase()}`;
  for (const advisory of advisories) {
    for (const alias of advisory.details?.aliases ?? []) {
      const [root, other] = [rootOf(keyOf(advisory, advisory.id)), rootOf(keyOf(advisory, alias))];
      if (root !== other) parents.set(other, root);
    }
  }
  return [...Map.groupBy(advisories, (advisory) => rootOf(keyOf(advisory, advisory.id))).values()];
}

function findingOf(group: readonly KnownAdvisory[]): AdvisoryFinding {
  const [first] = group;
  if (!first) throw new Error('a finding without an advisory');
  const ids = [...new Set(group.map(({ id }) => id))].sort(compareTexts);
  const known = group.map(({ details }) => details).filter((details) => details !== undefined);
  const aliases = [...new Set(known.flatMap((details) => details.aliases))].filter((alias) => !ids.includes(alias));
  const fixed = [...new Set(known.flatMap(({ fixedVersions }) => fixedVersions))]
    .filter((version) => compareVersions(version, first.version) > 0)
    .sort(compareVersions)
    .slice(0, FIXED_VERSIONS_LISTED_MAX);
  const summary = known.find((details) => details.summary !== undefined)?.summary;
  return {
    package: first.package,
    version: first.version,
    ids,
    aliases: aliases.sort(compareTexts),
    severity: worstOf(known.map(({ severity }) => severity)),
    fixed_versions: fixed,
    ...(summary === undefined ? {} : { summary }),
    ...(known.length === 0 ? { details_missing: true } : {}),
  };
}
