/**
 * What a source in the form of OSV says, read with distrust. Pure.
 *
 * What names a vulnerability must be well-formed, or the whole answer counts for
 * nothing: an entry that is dropped would look like none. What only describes one is
 * taken where it is well-formed, and cut to a length.
 */
import { z } from 'zod';
import type { AdvisoryDetails, AdvisorySeverity } from '../../domain/advisories.ts';
import { canonicalName } from '../requirements.ts';
import { severityOfVector, wordOf, worstOf } from './severity.ts';

const ECOSYSTEM = 'PyPI';
/** Of one advisory. */
const ALIASES_MAX = 10;
const FIXED_VERSIONS_MAX = 20;
const PACKAGES_MAX = 100;
const SUMMARY_CHARACTERS_MAX = 200;
const TOKEN_CHARACTERS_MAX = 4096;

const ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$/;
const FIXED_VERSION = /^[A-Za-z0-9][A-Za-z0-9.!+_-]{0,99}$/;

const idText = z.string().regex(ID);
const batchSchema = z.looseObject({
  results: z.array(
    z.looseObject({
      vulns: z.array(z.looseObject({ id: idText, modified: z.string().max(100).optional() })).optional(),
      next_page_token: z.string().max(TOKEN_CHARACTERS_MAX).optional(),
    }),
  ),
});

/** One query's share of the answer of a batch. */
export interface ListedVulnerabilities {
  readonly vulnerabilities: readonly { readonly id: string; readonly modified?: string | undefined }[];
  /** There are more; asked for with this. */
  readonly nextPage: string | undefined;
}

/** A query of a batch. A local version (`+cu118`) is a build of the public one. */
export function queryOf(name: string, version: string, page: string | undefined) {
  return {
    package: { name, ecosystem: ECOSYSTEM },
    version: version.replace(/\+.*$/, ''),
    ...(page === undefined ? {} : { page_token: page }),
  };
}

/** The shares of an answer, in the order of the queries. @throws {Error} when it is no such answer. */
export function readBatch(body: Buffer, queries: number): readonly ListedVulnerabilities[] {
  const { results } = batchSchema.parse(JSON.parse(body.toString('utf8')));
  if (results.length !== queries) throw new Error(`${String(results.length)} results for ${String(queries)} queries`);
  return results.map(({ vulns = [], next_page_token }) => ({
    vulnerabilities: vulns,
    nextPage: next_page_token === '' ? undefined : next_page_token,
  }));
}

/** Those of a list that have a form; none of what is no list. */
const some = <T extends z.ZodType>(schema: T) =>
  z
    .array(z.unknown())
    .catch([])
    .transform((items) =>
      items.flatMap((item): z.output<T>[] => {
        const read = schema.safeParse(item);
        return read.success ? [read.data] : [];
      }),
    );
const anything = z.unknown().optional();
const severities = some(z.object({ score: z.string() }));
const specific = z.object({ severity: anything }).catch({});
const affectedSchema = z.object({
  package: z.object({ name: z.string(), ecosystem: z.string() }),
  severity: severities,
  database_specific: specific,
  ranges: some(z.object({ type: z.enum(['ECOSYSTEM', 'SEMVER']), events: some(z.object({ fixed: z.string() })) })),
});
const vulnerabilitySchema = z.object({
  id: z.string(),
  withdrawn: anything,
  aliases: some(idText),
  summary: z.string().catch(''),
  details: z.string().catch(''),
  severity: severities,
  database_specific: specific,
  affected: some(affectedSchema),
});

/** What an advisory says. */
export interface Vulnerability {
  /** It no longer holds. */
  readonly isWithdrawn: boolean;
  /** By the canonical name of each package it is about. */
  readonly byPackage: ReadonlyMap<string, AdvisoryDetails>;
  /** Of a package it does not name. */
  readonly general: AdvisoryDetails;
}

/** @throws {Error} when it is no advisory, or another than the one that was asked for. */
export function readVulnerability(body: Buffer, id: string): Vulnerability {
  const found = vulnerabilitySchema.parse(JSON.parse(body.toString('utf8')));
  if (found.id !== id) throw new Error('another advisory than was asked for');
  const summary = sentenceOf(found.summary === '' ? found.details : found.summary);
  const severity = wordOf(found.database_specific.severity) ?? severityOfVectors(found.severity);
  const general: AdvisoryDetails = {
    aliases: [...new Set(found.aliases)].slice(0, ALIASES_MAX),
    severity: severity ?? 'unknown',
    fixedVersions: [],
    ...(summary === '' ? {} : { summary }),
  };
  const byPackage = new Map<string, AdvisoryDetails>();
  for (const entry of found.affected) {
    if (entry.package.ecosystem !== ECOSYSTEM) continue;
    const name = canonicalName(entry.package.name);
    const known = byPackage.get(name) ?? general;
    if (known === general && byPackage.size >= PACKAGES_MAX) continue;
    const own = wordOf(entry.database_specific.severity) ?? severityOfVectors(entry.severity) ?? 'unknown';
    byPackage.set(name, {
      ...known,
      severity: severity ?? worstOf([known.severity, own]),
      fixedVersions: [...new Set([...known.fixedVersions, ...fixedIn(entry.ranges)])].slice(0, FIXED_VERSIONS_MAX),
    });
  }
  return { isWithdrawn: isPast(found.withdrawn), byPackage, general };
}

function fixedIn(ranges: z.infer<typeof affectedSchema>['ranges']): readonly string[] {
  return ranges.flatMap(({ events }) => events.map(({ fixed }) => fixed)).filter((fixed) => FIXED_VERSION.test(fixed));
}

function severityOfVectors(entries: readonly { readonly score: string }[]): AdvisorySeverity | undefined {
  const known = entries.map(({ score }) => severityOfVector(score)).filter((word) => word !== undefined);
  return known.length === 0 ? undefined : worstOf(known);
}

/** Whether it is a time that has passed; anything else withdraws nothing. */
function isPast(withdrawn: unknown): boolean {
  return typeof withdrawn === 'string' && /^\d{4}-\d\d-\d\d/.test(withdrawn) && Date.parse(withdrawn) <= Date.now();
}

/** One line of plain text, not too long. */
function sentenceOf(text: string): string {
  const line = text
    .slice(0, 4 * SUMMARY_CHARACTERS_MAX)
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim();
  const cut = line.length > SUMMARY_CHARACTERS_MAX ? `${line.slice(0, SUMMARY_CHARACTERS_MAX - 1)}…` : line;
  return cut.toWellFormed();
}
