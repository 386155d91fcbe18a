/**
 * What pip said, as an error of ours. Pure.
 *
 * pip's text holds paths and addresses, and words of whoever wrote a package; a
 * caller gets the lines that begin with ERROR, without paths and addresses, cut.
 */
import { ServiceError } from '../../domain/errors.ts';
import { canonicalName } from '../requirements.ts';

const DETAIL_CHARACTERS = 500;
const UNREACHABLE =
  /Max retries exceeded|because the \S+ request got Content-Type|Connection broken|connection broken by|Read timed out|ConnectTimeout|ProxyError|Tunnel connection failed|NewConnectionError|HTTP error 5\d\d|5\d\d Server Error|5\d\d Bad Gateway|IncompleteRead|Exceeded \d+ redirects|SSLError|CERTIFICATE_VERIFY_FAILED|too many 5\d\d error responses/;
/** pip fell over what it read: a page of the index, or something of a package. */
const FELL_OVER = /^ERROR: Exception:$/m;
const FELL_OVER_A_PAGE = /File "[^"\n]*\/pip\/_internal\/index\//;

function isTheIndexs(text: string): boolean {
  return UNREACHABLE.test(text) || (FELL_OVER.test(text) && FELL_OVER_A_PAGE.test(text));
}

/** Why no set of packages was found. */
export function resolutionFailure(text: string, indexFailed: boolean): ServiceError {
  if (indexFailed || isTheIndexs(text)) return unreachable(text);
  const reason = sentencesOf(text);
  const hint = /No matching distribution|Could not find a version/.test(text)
    ? ' Only wheels are installed: a package that has none for this Python and machine is not found.'
    : '';
  const missing = missingFrom(text);
  return new ServiceError('resolution_failed', `The requirements cannot be met. ${reason}${hint}`.trim(), {
    cause: text,
    ...(missing.length === 0 ? {} : { members: { missing } }),
  });
}

/** Names of packages of which the index has no version that will do, as far as pip came. */
function missingFrom(text: string): readonly string[] {
  const names = text.matchAll(/^ERROR: No matching distribution found for ([A-Za-z0-9][A-Za-z0-9._-]{0,199})/gm);
  return [...new Set([...names].map(([, name = '']) => canonicalName(name)))];
}

/** Why packages that were found could not be installed. */
export function installFailure(text: string, indexFailed: boolean): ServiceError {
  if (indexFailed || isTheIndexs(text)) return unreachable(text);
  return new ServiceError('installation_failed', `The packages cannot be installed. ${sentencesOf(text)}`.trim(), {
    cause: text,
  });
}

function unreachable(cause: string): ServiceError {
  return new ServiceError('index_unreachable', 'The package index does not answer as it should.', { cause });
}

/** pip's own errors without anything that says where they happened. */
function sentencesOf(text: string): string {
  if (FELL_OVER.test(text)) return 'Something of a package on the index cannot be read.';
  const detail = [...new Set(errorsOf(text).map(withoutPlaces))].join(' ');
  return detail.length > DETAIL_CHARACTERS ? `${detail.slice(0, DETAIL_CHARACTERS)}…` : detail;
}

/** The lines that begin with ERROR, and those set in beneath them: of which packages it is said. */
function errorsOf(text: string): readonly string[] {
  const lines: string[] = [];
  let isBeneath = false;
  for (const line of text.replaceAll(/[^\x20-\x7E\n]/g, '').split('\n')) {
    const isError = line.startsWith('ERROR: ');
    isBeneath = isError || (isBeneath && line.startsWith('    '));
    if (isBeneath) lines.push(isError ? line.slice('ERROR: '.length) : line);
  }
  return lines;
}

function withoutPlaces(line: string): string {
  return line
    .replaceAll(/ ?\(from -r [^()]*\(line \d+\)\)/g, '')
    .replaceAll(/\b[a-z][a-z0-9+.-]*:\/\/\S+/gi, 'the index')
    .replaceAll(/(?:(?<=[\s'"(=])|^)\/[^\s'",)]+/g, 'a file')
    .trim();
}
