/**
 * The text of a requirements file, as far as it may go: names, extras, versions,
 * markers, hashes, comments. Pure.
 *
 * A line is taken because every character of it was understood, never because
 * nothing bad was found in it: URLs, paths, options and direct references have no
 * place in the grammar. What comes out is written anew from what was understood,
 * so no text of the caller's reaches an installer as it was.
 *
 * Which packages may be had is package-policy.ts; what is on the index, the builder.
 */
import { ServiceError } from '../domain/errors.ts';
import { readMarker } from './requirement-markers.ts';
import { RequirementScanner, RequirementSyntaxError } from './requirement-scanner.ts';

export interface Requirement {
  /** As PEP 503 has it: lower case, runs of `-`, `_` and `.` one dash. */
  readonly name: string;
  /** The whole requirement in its one form, hashes included. */
  readonly line: string;
}

export interface RequirementLimits {
  /** Requirements in one request. */
  readonly count: number;
  /** Bytes of the text. */
  readonly bytes: number;
}

const LINE_CHARACTERS_MAX = 8_192;
const HASHES_MAX = 64;

/** The name of a package as the index compares it (PEP 503). */
export function canonicalName(name: string): string {
  return name.toLowerCase().replaceAll(/[-_.]+/g, '-');
}

/**
 * Reads a requirements text, one requirement a line.
 * @returns the requirements in the order of their names; empty when there are only comments.
 * @throws {ServiceError} requirements_invalid with the number of the line and what is wrong there.
 */
export function parseRequirements(text: string, limits: RequirementLimits): readonly Requirement[] {
  const bytes = Buffer.byteLength(text);
  if (bytes > limits.bytes) {
    throw invalid(`The requirements have ${String(bytes)} bytes; at most ${String(limits.bytes)} are taken.`);
  }
  const requirements: Requirement[] = [];
  const keys = new Map<string, number>();
  for (const { content, number } of logicalLines(text)) {
    const { requirement, key } = readLine(content, number);
    const earlier = keys.get(key);
    if (earlier !== undefined) {
      throw invalid(`Line ${String(number)} names ${requirement.name}, as line ${String(earlier)} does.`, number);
    }
    keys.set(key, number);
    requirements.push(requirement);
    if (requirements.length > limits.count) {
      throw invalid(`There are more than ${String(limits.count)} requirements.`);
    }
  }
  return requirements.sort((a, b) => (a.line < b.line ? -1 : 1));
}

/** Lines without comments, continued ones joined, empty ones left out, numbered from 1. */
function* logicalLines(text: string): Generator<{ content: string; number: number }> {
  let pending = '';
  let start = 0;
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/);
  for (const [index, raw] of lines.entries()) {
    if (pending === '') start = index + 1;
    // A comment ends the line even where it ends in a backslash, as pip has it.
    const hasComment = /(^|[ \t])#/.test(raw);
    const line = raw.replace(/(^|[ \t]+)#.*$/, '');
    if (line.endsWith('\\') && !hasComment) {
      pending += `${line.slice(0, -1)} `;
      continue;
    }
    const content = (pending + line).trim();
    pending = '';
    if (content !== '') yield { content, number: start };
  }
  if (pending.trim() !== '') yield { content: pending.trim(), number: start };
}

function readLine(content: string, number: number): { requirement: Requirement; key: string } {
  if (content.length > LINE_CHARACTERS_MAX) throw invalid(`Line ${String(number)} is too long.`, number);
  try {
    return readRequirement(content);
  } catch (error) {
    if (!(error instanceof RequirementSyntaxError)) throw error;
    throw invalid(`Line ${String(number)} ${error.message}.`, number);
  }
}

function readRequirement(content: string): { requirement: Requirement; key: string } {
  refuseOtherForms(content);
  const scanner = new RequirementScanner(content);
  const name = canonicalName(scanner.name());
  const extras = scanner.extras().map(canonicalName);
  if (scanner.accept('@')) throw new RequirementSyntaxError('names a URL; packages come from the index alone');
  const versions = scanner.versions();
  const marker = scanner.accept(';') ? readMarker(scanner) : undefined;
  const hashes = scanner.hashes();
  if (hashes.length > HASHES_MAX) throw new RequirementSyntaxError(`has more than ${String(HASHES_MAX)} hashes`);
  scanner.end();
  const line = [
    name,
    extras.length > 0 ? `[${[...new Set(extras)].sort().join(',')}]` : '',
    versions.join(','),
    marker === undefined ? '' : ` ; ${marker}`,
    ...hashes.map((hash) => ` --hash=sha256:${hash}`),
  ].join('');
  return { requirement: { name, line }, key: `${name};${marker ?? ''}` };
}

/** Says what a line is that people do write, and that is none of the grammar. */
function refuseOtherForms(content: string): void {
  if (/[^\x20-\x7E\t]/.test(content)) throw new RequirementSyntaxError('has a character that is not ASCII');
  if (content.startsWith('-')) {
    throw new RequirementSyntaxError('is an option; only packages can be named here, from the operator’s index');
  }
  if (/^[A-Za-z][A-Za-z0-9+.-]*:/.test(content)) {
    throw new RequirementSyntaxError('is a URL; packages come from the index alone');
  }
  if (/^[./~\\]/.test(content) || /^[^;#@[\]<>=!~ ]*[/\\]/.test(content)) {
    throw new RequirementSyntaxError('is a path; put the source into the project instead');
  }
}

function invalid(detail: string, line?: number): ServiceError {
  return new ServiceError('requirements_invalid', detail, {
    members: { field: 'requirements', ...(line === undefined ? {} : { line }) },
  });
}
