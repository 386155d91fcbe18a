/**
 * Every error a caller can receive, in one table.
 *
 * An entry is a public contract: a code is never renamed or reused, and
 * docs/ERRORS.md lists exactly these codes (a unit test compares the two in
 * both directions).
 *
 * A program that fails, times out or is killed is not an error: see outcome.ts.
 */

interface ErrorEntry {
  /** HTTP status the error is answered with (RFC 9110). */
  readonly status: number;
  /** One line for humans, the same for every occurrence (RFC 9457 `title`). */
  readonly title: string;
  /** Whether the same request may succeed later without being changed. */
  readonly retryable: boolean;
}

export const ERRORS = {
  // The request
  invalid_request: { status: 400, title: 'The request is not valid', retryable: false },
  unknown_field: { status: 400, title: 'The request has a field this service does not know', retryable: false },
  invalid_json: { status: 400, title: 'The JSON cannot be parsed', retryable: false },
  invalid_multipart: { status: 400, title: 'The multipart body cannot be parsed', retryable: false },
  missing_project: { status: 400, title: 'The request carries no project to run', retryable: false },
  request_timeout: { status: 408, title: 'The request took too long to arrive', retryable: true },
  body_too_large: { status: 413, title: 'The request body is too large', retryable: false },
  unsupported_media_type: { status: 415, title: 'The Content-Type is not supported here', retryable: false },
  unsupported_content_encoding: { status: 415, title: 'The Content-Encoding is not supported here', retryable: false },
  not_acceptable: { status: 406, title: 'No offered response format is acceptable', retryable: false },
  uri_too_long: { status: 414, title: 'The request target is too long', retryable: false },
  headers_too_large: { status: 431, title: 'The request headers are too large', retryable: false },
  unauthenticated: { status: 401, title: 'Credentials are required', retryable: false },
  forbidden: { status: 403, title: 'The credentials do not allow this', retryable: false },
  not_found: { status: 404, title: 'There is no such execution', retryable: false },
  artifact_not_found: { status: 404, title: 'There is no such artifact', retryable: false },
  precondition_failed: { status: 412, title: 'The file is another than If-Match names', retryable: false },
  range_not_satisfiable: { status: 416, title: 'The file has no such range of bytes', retryable: false },
  route_not_found: { status: 404, title: 'There is no such route', retryable: false },
  method_not_allowed: { status: 405, title: 'The route does not answer this method', retryable: false },

  // The archive
  not_a_tar: { status: 400, title: 'The project is not a tar archive', retryable: false },
  empty_project: { status: 400, title: 'The archive holds no file', retryable: false },
  truncated: { status: 400, title: 'The archive ends too early', retryable: false },
  trailing_data: { status: 400, title: 'The archive continues after its end marker', retryable: false },
  invalid_header: { status: 400, title: 'An archive header is damaged', retryable: false },
  ambiguous_header: { status: 400, title: 'Archive headers contradict one another', retryable: false },
  header_too_large: { status: 400, title: 'An archive header is too large', retryable: false },
  sparse_file: { status: 400, title: 'Sparse archive entries are refused', retryable: false },
  special_file: { status: 400, title: 'Devices, pipes and other special files are refused', retryable: false },
  unsupported_entry_type: { status: 400, title: 'The archive entry has a type that is refused', retryable: false },
  hard_link: { status: 400, title: 'Hard links are refused', retryable: false },
  link_escape: { status: 400, title: 'A symbolic link leaves the project', retryable: false },
  link_loop: { status: 400, title: 'Symbolic links form a loop or an endless chain', retryable: false },
  write_through_link: { status: 400, title: 'An archive entry would be written through a link', retryable: false },
  path_escape: { status: 400, title: 'An archive entry leaves the project', retryable: false },
  invalid_name: { status: 400, title: 'An archive entry has a name that is refused', retryable: false },
  name_not_utf8: { status: 400, title: 'An archive entry name is not UTF-8', retryable: false },
  name_too_long: { status: 400, title: 'An archive entry name is too long', retryable: false },
  too_deep: { status: 400, title: 'An archive entry is nested too deep', retryable: false },
  duplicate_entry: { status: 400, title: 'The archive names a path twice', retryable: false },
  type_conflict: { status: 400, title: 'The archive uses a path both as a file and as a directory', retryable: false },
  reserved_name: { status: 400, title: 'The archive uses a name reserved by this service', retryable: false },
  invalid_gzip: { status: 400, title: 'The gzip stream is damaged', retryable: false },
  too_many_entries: { status: 413, title: 'The archive has too many entries', retryable: false },
  project_too_large: { status: 413, title: 'The unpacked project is too large', retryable: false },
  compression_ratio: { status: 413, title: 'The archive expands too much', retryable: false },
  unsupported_compression: { status: 415, title: 'The compression format is not supported', retryable: false },

  // What may be run
  idempotency_key_reused: { status: 422, title: 'The Idempotency-Key belongs to another request', retryable: false },
  entrypoint_missing: { status: 422, title: 'The entry point is not in the project', retryable: false },
  invalid_entrypoint: { status: 422, title: 'The entry point is not valid', retryable: false },
  invalid_environment: { status: 422, title: 'An environment variable is refused', retryable: false },
  limit_too_high: { status: 422, title: 'A limit is above what the operator allows', retryable: false },
  image_not_allowed: { status: 403, title: 'The operator does not allow this image', retryable: false },
  network_not_allowed: { status: 403, title: 'The operator does not allow network access', retryable: false },
  requirements_invalid: { status: 422, title: 'The requirements are not valid', retryable: false },
  requirements_not_allowed: { status: 403, title: 'The operator does not allow this package', retryable: false },
  requirements_not_supported: { status: 422, title: 'Package installation is not available', retryable: false },
  resolution_failed: { status: 422, title: 'The requirements cannot be met', retryable: false },
  installation_failed: { status: 422, title: 'The packages cannot be installed', retryable: false },
  layer_too_large: { status: 422, title: 'The packages are larger than the operator allows', retryable: false },
  advisory_findings: { status: 422, title: 'A package has a known vulnerability', retryable: false },
  analysis_not_supported: { status: 422, title: 'The analysis of code is not available', retryable: false },
  analysis_findings: { status: 422, title: 'The analysis found what the operator refuses', retryable: false },
  analysis_incomplete: { status: 422, title: 'The code cannot be analyzed in full', retryable: false },

  invalid_webhook: { status: 422, title: 'The webhook is refused', retryable: false },
  delivery_not_found: { status: 404, title: 'There is no such dead letter', retryable: false },

  // Capacity
  rate_limited: { status: 429, title: 'Too many requests', retryable: true },
  identity_unavailable: { status: 503, title: 'Credentials cannot be checked now', retryable: true },
  audit_unavailable: { status: 503, title: 'The audit log cannot be written', retryable: true },
  queue_full: { status: 429, title: 'There is no room for another run', retryable: true },
  queue_timeout: { status: 503, title: 'No place to run became free in time', retryable: true },
  budget_exhausted: { status: 429, title: 'The budget of the caller is used up', retryable: true },
  shutting_down: { status: 503, title: 'The service is shutting down', retryable: true },
  overloaded: { status: 503, title: 'The service is overloaded', retryable: true },
  storage_full: { status: 507, title: 'There is no disk space left', retryable: true },
  storage_unavailable: { status: 503, title: 'The storage of the service fails', retryable: true },
  image_unavailable: { status: 503, title: 'The image is not on this machine', retryable: true },
  index_unreachable: { status: 503, title: 'The package index does not answer', retryable: true },
  installation_timeout: { status: 503, title: 'The packages could not be installed in time', retryable: true },
  advisories_unavailable: { status: 503, title: 'The packages could not be checked', retryable: true },
  analysis_unavailable: { status: 503, title: 'The code could not be analyzed', retryable: true },
  sandbox_unavailable: { status: 503, title: 'No sandbox could be started', retryable: true },
  sandbox_failed: { status: 503, title: 'The sandbox broke while the program ran', retryable: true },
  internal: { status: 500, title: 'The service failed', retryable: true },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** Whether `value` is a code of the table; guards against inherited property names. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERRORS, value);
}

/** Unless the occurrence says otherwise: what a 503 is due to takes a few seconds to pass. */
const RETRY_AFTER_SECONDS = 5;

/**
 * A refusal or a failure of the service.
 *
 * `message` is the sentence the caller reads: it never holds a host path, a
 * stack or a daemon message. Those belong in `cause`, which is only logged.
 */
export class ServiceError extends Error {
  readonly code: ErrorCode;
  /** Seconds after which a retry is worth trying, sent as `Retry-After`. */
  readonly retryAfterSeconds: number | undefined;
  /** Extra members for the problem document, such as the entry or field at fault. */
  readonly members: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    detail: string,
    options: { cause?: unknown; retryAfterSeconds?: number; members?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ServiceError';
    this.code = code;
    this.retryAfterSeconds =
      options.retryAfterSeconds ?? (ERRORS[code].status === 503 ? RETRY_AFTER_SECONDS : undefined);
    this.members = options.members ?? {};
  }

  get status(): number {
    return ERRORS[this.code].status;
  }
}
