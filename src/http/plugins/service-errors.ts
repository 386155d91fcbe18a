/**
 * Anything thrown, as an error of our table, and that as a problem document
 * (RFC 9457). Pure.
 *
 * What is not known here becomes `internal` with one fixed sentence: its message
 * may hold a path, a stack or what a daemon said, and is only logged.
 */
import { ERRORS, ServiceError, type ErrorCode } from '../../domain/errors.ts';

/** Fastify's own codes, as ours. Those it can only throw for a fault of ours are left out. */
const FASTIFY_CODES: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['body_too_large', 'The request body is larger than this route accepts.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    'unsupported_media_type',
    'The Content-Type is missing, malformed or not one of those accepted here.',
  ],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['invalid_request', 'The body does not have the length its Content-Length says.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['invalid_json', 'The body is empty.'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['invalid_json', 'The body is not valid JSON.'],
  FST_ERR_BAD_URL: ['route_not_found', 'The path is not percent-encoded UTF-8.'],
  FST_ERR_MAX_PARAM_LENGTH: ['uri_too_long', 'The path is too long.'],
  FST_ERR_ROUTE_MISSING_CONTENT_TYPE: ['unsupported_media_type', 'The request has no Content-Type.'],
};

/** The error of our table that `error` is. */
export function asServiceError(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error;
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (Object.hasOwn(FASTIFY_CODES, code)) {
    const [ours, sentence] = FASTIFY_CODES[code] ?? ['internal', ''];
    return new ServiceError(ours, sentence, { cause: error });
  }
  return new ServiceError('internal', 'The service failed while it handled this request.', { cause: error });
}

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  /** The sentence again, under the name python-executor's clients read; of an unknown execution, in its words. */
  readonly error: string;
  readonly request_id: string;
  readonly retryable: boolean;
  readonly [member: string]: unknown;
}

export const PROBLEM_TYPE = 'application/problem+json';

export function problemOf(error: ServiceError, requestId: string): Problem {
  const { status, title, retryable } = ERRORS[error.code];
  const problem = {
    type: 'about:blank',
    title,
    status,
    code: error.code,
    detail: error.message,
    error: error.code === 'not_found' ? 'execution not found' : error.message,
    request_id: requestId,
    retryable,
  };
  // Members come after ours, and never in place of them.
  return { ...problem, ...error.members, ...problem };
}
