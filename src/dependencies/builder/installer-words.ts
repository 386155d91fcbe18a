/**
 * What pip said, as an error of ours. Pure.
 *
 * pip's text holds paths and addresses, and words of whoever wrote a package; a
 * caller gets the lines that begin with ERROR, without paths and addresses, cut.
 */
import { ServiceError } from '../../domain/errors.ts';

const DETAIL_CHARACTERS = 500;
const UNREACHABLE =
  /Max retries exceeded|Connection broken|connection broken by|Read timed out|ConnectTimeout|ProxyError|Tunnel connection failed|NewConnectionError|HTTP error 5\d\d|5\d\d Server Error|5\d\d Bad Gateway|IncompleteRead|Exceeded \d+ redirects|SSLError|CERTIFICATE_VERIFY_FAILED|too many 5\d\d error responses/;

/** Why no set of packages was found. */
export function resolutionFailure(text: string, indexFailed: boolean): ServiceError {
  if (indexFailed || UNREACHABLE.test(text)) return unreachable(text);
  const reason = sentencesOf(text);
  const hint = /No matching distribution|Could not find a version/.test(text)
    ? ' Only wheels are installed: a package that has none for this Python and machine is not found.'
    : '';
  return new ServiceError('resolution_failed', `The requirements cannot be met. ${reason}${hint}`.trim(), {
    cause: text,
  });
}

/** Why packages that were found could not be installed. */
export function installFailure(text: string, indexFailed: boolean): ServiceError {
  if (indexFailed || UNREACHABLE.test(text)) return unreachable(text);
  return new ServiceError('installation_failed', `The packages cannot be installed. ${sentencesOf(text)}`.trim(), {
    cause: text,
  });
}

function unreachable(cause: string): ServiceError {
  return new ServiceError('index_unreachable', 'The package index does not answer as it should.', { cause });
}

/** pip's own errors without anything that says where they happened. */
function sentencesOf(text: string): string {
  const lines = text
    .replaceAll(/[^\x20-\x7E\n]/g, '')
    .split('\n')
    .filter((line) => line.startsWith('ERROR: '))
    .map((line) =>
      line
        .slice('ERROR: '.length)
        .replaceAll(/\b[a-z][a-z0-9+.-]*:\/\/\S+/gi, 'the index')
        .replaceAll(/(?:(?<=[\s'"(=])|^)\/[^\s'",)]+/g, 'a file')
        .trim(),
    );
  const detail = [...new Set(lines)].join(' ');
  return detail.length > DETAIL_CHARACTERS ? `${detail.slice(0, DETAIL_CHARACTERS)}…` : detail;
}
