/**
 * Errors about one field of a request, and what zod finds turned into them. Pure.
 *
 * The field is named by its path as the caller wrote it; a value is never repeated.
 */
import type { z } from 'zod';
import { ServiceError } from '../../domain/errors.ts';
import { inputField } from '../../domain/inputs.ts';

const FIELD_CHARACTERS = 200;

/** A field with a value that cannot be used; `reason` continues the sentence. */
export function invalidField(field: string, reason: string): ServiceError {
  const name = field.slice(0, FIELD_CHARACTERS).toWellFormed();
  return new ServiceError('invalid_request', `The field ${JSON.stringify(name)} ${reason}.`, {
    members: { field: name },
  });
}

/** A field nobody here knows. */
export function unknownField(field: string): ServiceError {
  const name = field.slice(0, FIELD_CHARACTERS).toWellFormed();
  return new ServiceError('unknown_field', `The field ${JSON.stringify(name)} is not known here.`, {
    members: { field: name },
  });
}

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/**
 * The error for the first fault zod found; an unknown field goes first, because
 * a misspelled name is the reason of many others.
 * @param rename how the caller spells a path.
 */
export function fieldError(error: z.ZodError, rename: (path: string) => string = (path) => path): ServiceError {
  const issues = error.issues.map((issue) => resolveUnion(issue, issue.path));
  const unknown = issues.find(({ issue }) => issue.code === 'unrecognized_keys');
  if (unknown?.issue.code === 'unrecognized_keys') {
    return unknownField(rename(joined([...unknown.path, unknown.issue.keys[0] ?? ''])));
  }
  const [first] = issues;
  if (!first) return new ServiceError('invalid_request', 'The request is not valid.');
  const reason = messageOf(first.issue)
    .replace(/^Invalid (?:input|option): /, '')
    .replace(/^./, (c) => c.toLowerCase());
  const field = rename(joined(first.path));
  if (field === '') return new ServiceError('invalid_request', `The request is not valid: ${reason}.`);
  return invalidField(field, `is not valid: ${reason}`);
}

/** In a union the branch that got furthest is the one that was meant. */
function resolveUnion(issue: Issue, path: Path): { issue: Issue; path: Path } {
  if (issue.code !== 'invalid_union') return { issue, path };
  let best: { issue: Issue; path: Path } | undefined;
  for (const [first] of issue.errors) {
    if (!first) continue;
    const resolved = resolveUnion(first, [...path, ...first.path]);
    const isNearer = first.code === 'unrecognized_keys' && resolved.path.length === path.length;
    if (!best || resolved.path.length > best.path.length || isNearer) best = resolved;
  }
  return best && best.path.length > path.length
    ? best
    : best?.issue.code === 'unrecognized_keys'
      ? best
      : { issue, path };
}

/** What zod says; of a value that fits no branch of a union, what each of them expects. */
function messageOf(issue: Issue): string {
  if (issue.code !== 'invalid_union') return issue.message;
  const branches = issue.errors.flatMap(([first]) => (first?.code === 'invalid_type' ? [first] : []));
  const [some] = branches;
  if (!some) return issue.message;
  const expected = [...new Set(branches.map((branch) => branch.expected))].join(' or ');
  return some.message.replace(`expected ${some.expected}`, `expected ${expected}`);
}

function joined(path: Path): string {
  const [first, index, ...rest] = path;
  // There can be thousands, with the names of files in them.
  if (first === 'inputs' && typeof index === 'number') {
    return inputField(index, ...rest.map((part) => (typeof part === 'number' ? part : String(part))));
  }
  return path.map(String).join('.');
}
