/**
 * The request form for `tar c . | curl --data-binary @-`: the body is the archive,
 * the options are the query string.
 *
 * gzip may be named by the content type or by Content-Encoding; both together
 * would be two layers and are refused. The archive is checked while it arrives.
 */
import { ServiceError } from '../../domain/errors.ts';
import { parseQueryOptions } from './query-options.ts';
import type { AskedProject, FormContext } from './request-form.ts';

/** Content types of a body that is an archive, and whether the type itself says gzip. */
const ARCHIVE_TYPES: ReadonlyMap<string, boolean> = new Map([
  ['application/x-tar', false],
  ['application/tar', false],
  ['application/x-gtar', false],
  ['application/octet-stream', false],
  ['application/gzip', true],
  ['application/x-gzip', true],
]);

export const RAW_ARCHIVE_TYPES: readonly string[] = [...ARCHIVE_TYPES.keys()];

/**
 * Whether the archive is gzipped: said so, or to be seen from its first bytes.
 * @throws {ServiceError} unsupported_content_encoding.
 */
export function gzipOf(mediaType: string, contentEncoding: string | undefined): boolean | 'detect' {
  const isGzipType = ARCHIVE_TYPES.get(mediaType) === true;
  const encoding = (contentEncoding ?? '').trim().toLowerCase();
  if (encoding === '' || encoding === 'identity') return isGzipType ? true : 'detect';
  if (encoding !== 'gzip' && encoding !== 'x-gzip') {
    throw new ServiceError('unsupported_content_encoding', 'The only Content-Encoding of an archive is gzip, once.');
  }
  if (isGzipType) {
    throw new ServiceError(
      'unsupported_content_encoding',
      'Content-Type and Content-Encoding both say gzip; one layer is removed, so only one of them may.',
    );
  }
  return true;
}

/** @throws {ServiceError} those of the options and of the gate. */
export async function readRawArchive(mediaType: string, { gate, exchange }: FormContext): Promise<AskedProject> {
  const { request } = exchange;
  const asked = parseQueryOptions(queryOf(request.url ?? ''));
  const gzip = gzipOf(mediaType, request.headers['content-encoding']);
  // The connection must survive a refusal, to carry it.
  const source = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
  const project = await gate.readArchive(source, { gzip, signal: exchange.gone });
  return { ...asked, project };
}

/** @throws {ServiceError} invalid_request when the query is not percent-encoded UTF-8. */
export function queryOf(url: string): URLSearchParams {
  const start = url.indexOf('?');
  const query = start === -1 ? '' : url.slice(start + 1);
  try {
    decodeURIComponent(query);
  } catch {
    throw new ServiceError('invalid_request', 'The query string is not percent-encoded UTF-8.');
  }
  return new URLSearchParams(query);
}
