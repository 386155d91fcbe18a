#!/usr/bin/env node
/**
 * `npm run docs`: writes docs/CONFIGURATION.md and docs/ERRORS.md from the tables in
 * src. What a table does not say, what an error means to the one who meets it, is
 * written here. test/unit/parity fails when a file is not what this would write.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { SETTING_GROUPS, SETTINGS } from '../src/config/config.ts';
import { ERRORS } from '../src/domain/errors.ts';
import { ROOT } from './setup/host.mjs';

/**
 * Defaults that are not the same on every machine.
 * @type {Partial<Record<import('../src/config/config.ts').SettingName, string>>}
 */
const MACHINE_DEFAULTS = {
  PYEXEC_INSTANCE: '`<hostname>-<port>`',
  PYEXEC_SECCOMP_PROFILE: 'bundled',
  PYEXEC_STATE_DIR: '`/var/lib/pyexec`',
  PYEXEC_SPOOL_DIR: 'the system’s',
  PYEXEC_MAX_CPUS: 'all cores',
  PYEXEC_MAX_CONCURRENT: '4 × cores',
};

/** @param {import('../src/config/config.ts').SettingName} name */
function defaultOf(name) {
  const machine = MACHINE_DEFAULTS[name];
  if (machine !== undefined) return machine;
  const { fallback } = SETTINGS[name];
  return fallback === undefined || fallback === '' ? '' : `\`${fallback}\``;
}

/**
 * What a setting takes, in its own words: those it refuses a wrong value with.
 * @param {import('../src/config/config.ts').SettingName} name
 */
function valuesOf(name) {
  for (const wrong of ['999999999999', '999999', '\0']) {
    const message = SETTINGS[name].schema.safeParse(wrong).error?.issues[0]?.message ?? '';
    const bounds = /^must be between (\S+) and (\S+)$/.exec(message);
    if (bounds) return `${bounds[1]} to ${bounds[2]}`;
    const words = /^must be (?:one of )?((?:true|trace|1-).+)$/.exec(message);
    if (words) return words[1] ?? '';
  }
  return '';
}

/** @param {readonly string[]} cells */
const row = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;

export function configurationDocument() {
  const lines = [
    '# Configuration',
    '',
    'Environment variables. A name with the prefix `PYEXEC_` that is not here, a value that does not parse or settings that',
    'contradict one another stop the boot with one line per fault. `npm start -- --check-config` prints the effective values,',
    'secrets redacted. Names that python-executor has keep their meaning. Lists are comma-separated.',
    '',
    'This file is generated from `src/config/settings/` by `npm run docs`.',
  ];
  for (const [title, group] of Object.entries(SETTING_GROUPS)) {
    lines.push('', `## ${title}`, '', row(['Setting', 'Default', 'Values', 'Meaning']), '|---|---|---|---|');
    for (const key of Object.keys(group)) {
      const name = /** @type {import('../src/config/config.ts').SettingName} */ (key);
      lines.push(row([`\`${name}\``, defaultOf(name), valuesOf(name), SETTINGS[name].about]));
    }
  }
  return `${lines.join('\n')}\n`;
}

/**
 * Headings of docs/ERRORS.md, each with the first of its codes.
 * @type {ReadonlyMap<import('../src/domain/errors.ts').ErrorCode, string>}
 */
const ERROR_SECTIONS = new Map([
  ['invalid_request', 'The request'],
  ['not_a_tar', 'The archive'],
  ['entrypoint_missing', 'What may be run'],
  ['rate_limited', 'Capacity, and failures of ours'],
]);

/**
 * What each code means and what to do about it.
 * @type {Readonly<Record<import('../src/domain/errors.ts').ErrorCode, string>>}
 */
const ADVICE = {
  invalid_request:
    'A field has the wrong type, an impossible value, or contradicts another. `field` names it where there is one. Correct it.',
  unknown_field:
    'The service is strict about names, so that a misspelt limit is not silently ignored. `field` names it.',
  invalid_json: 'The body or the `metadata` part is not JSON, repeats a key, or is nested too deep. Send valid JSON.',
  invalid_multipart:
    'The boundary is missing, a part is malformed, repeated or out of place. Let an HTTP library build the form.',
  missing_project: 'There is neither a tar nor `code` nor `files` in the request. Send one of them.',
  request_timeout: 'The body did not arrive within `PYEXEC_UPLOAD_TIMEOUT`. Try again on a better line, or send less.',
  body_too_large: 'The body, or its stdin, is longer than the operator allows; `maximum` says how much. Send less.',
  unsupported_media_type: 'Send `multipart/form-data`, `application/x-tar`, `application/gzip` or `application/json`.',
  unsupported_content_encoding: 'Only `gzip` and `identity` are taken, and only one of them once.',
  not_acceptable: 'Ask for `application/json`, `application/x-ndjson` or `text/event-stream` in `Accept`.',
  uri_too_long: 'Options in the query string are for short values; send a form or JSON.',
  headers_too_large: 'Send fewer or shorter headers; cookies are not used here.',
  unauthenticated:
    'No credentials, or ones that are wrong, expired or revoked: which, is not told. Send `Authorization: Bearer <key or token>`.',
  forbidden: 'You are known, but lack what this needs: `scope` names it. Ask the operator for a key that has it.',
  not_found: 'The id is wrong, or the execution ended longer ago than `PYEXEC_CLEANUP_TTL`, or had to make room.',
  artifact_not_found:
    'The execution left no file of that path, has not ended, or its files are no longer kept. Its `artifacts` list what there is.',
  precondition_failed: 'Get the file without `If-Match`, and look at its `ETag`, the SHA-256 of its content.',
  range_not_satisfiable: 'The range begins behind the end of the file; `Content-Range` says how long it is.',
  route_not_found: 'The path is wrong; `/openapi.json` lists every route.',
  method_not_allowed: 'The path is right, the method is not; `Allow` lists those that are.',

  not_a_tar: 'The bytes are something else: an error page, a zip, an empty body. Make it with `tar c`.',
  empty_project: 'The archive has directories at most. Put at least one file in.',
  truncated: 'The upload or the program that made the archive was interrupted. Make and send it again.',
  trailing_data:
    'Something follows the two zero blocks that end an archive, which other programs would read differently.',
  invalid_header: 'A checksum or a number in a header is wrong. Make the archive again.',
  ambiguous_header:
    'Two programs could read the header differently (PAX and ustar disagree, a size is given twice). Refused, because what is checked must be what is run.',
  header_too_large: 'Extended headers are longer than any real name or attribute. Leave extended attributes out.',
  sparse_file: 'Make the archive without `--sparse`.',
  special_file: 'Leave devices, pipes and sockets out of the project.',
  unsupported_entry_type:
    'Only regular files, directories and relative links are taken. `entry` names the one at fault.',
  hard_link: 'Make the archive with `--hard-dereference`, so that linked files are stored as files.',
  link_escape: 'A link must be relative and point inside the project. Replace it by what it points to (`tar -h`).',
  link_loop: 'Remove the links that lead to one another.',
  write_through_link:
    'An entry has a path that leads through a link of the same archive. Store it below its real path.',
  path_escape:
    'Names must be relative and without `..`. Make the archive from inside the project: `tar c -C project .`',
  invalid_name: 'The name is empty or has a NUL or control character. Rename it.',
  name_not_utf8: 'Names must be UTF-8. Rename the file, or make the archive in a UTF-8 locale.',
  name_too_long: 'A path or one of its parts is longer than a file system takes. Shorten it.',
  too_deep: 'Directories are nested deeper than any real project. Flatten them.',
  duplicate_entry: 'The path is there twice, and programs differ on which one counts. Store it once.',
  type_conflict: 'The path is a file and also the parent of another entry. Rename one of them.',
  reserved_name: 'The name belongs to this service. Rename the file.',
  invalid_gzip: 'The gzip stream is damaged, cut or has a wrong checksum. Compress it again.',
  too_many_entries:
    'Leave `.git`, `node_modules`, virtual environments and caches out. `maximum` says how many are taken.',
  project_too_large:
    'Unpacked, the project is larger than the operator allows or than its `/work`. Send less, or raise `limits.disk_bytes`.',
  compression_ratio:
    'The archive unpacks to far more than it holds, as a bomb does. Send it uncompressed if it is what you mean.',
  unsupported_compression: 'Use gzip or nothing; xz, bzip2, zstd, zip and gzip within gzip are refused.',

  idempotency_key_reused:
    'The same `Idempotency-Key` came with another program or other options. Use a new key for a new request.',
  entrypoint_missing:
    'The file is not in the project, a directory has no `__main__.py`, or none was named and there is no obvious one. `files` lists some that are there.',
  invalid_entrypoint:
    'A path that is absolute, leaves the project or begins with a dash, or a module that is no dotted name.',
  invalid_environment:
    'A name that is no name, one the loader reads (`LD_*`), or a value too long or with NUL. `variable` names it.',
  limit_too_high: '`field` names the limit and `maximum` what the operator allows. Ask for less.',
  image_not_allowed: 'Choose one that `GET /api/v1/images` lists, or ask the operator (`PYEXEC_ALLOWED_IMAGES`).',
  network_not_allowed: 'Send the data with the project instead, or ask the operator (`PYEXEC_NETWORK_MODE`).',
  requirements_invalid:
    'Names, extras, versions, markers and `--hash=sha256:…` are taken, one requirement a line; URLs, paths and options are not. `line` says where.',
  requirements_not_allowed:
    '`package` is not on the list of the operator (`PYEXEC_PACKAGES_ALLOWED`). Do without it, or ask.',
  requirements_not_supported:
    'Packages cannot be installed on this server, or not for this image. Choose an image that has the package, or put its source into the project.',
  resolution_failed:
    'No set of versions fits, or a package does not exist or has no wheel for the Python of the image; the detail is the installer’s. Change the requirements.',
  installation_failed:
    'A package was found and its file is not what it should be: a wrong hash, or a wheel that breaks the rules. Choose another version.',
  layer_too_large:
    'The packages, with all they depend on, are more or larger than the operator allows (`PYEXEC_LAYER_MAX_MB`, `PYEXEC_MAX_PACKAGES`). Ask for fewer.',
  advisory_findings:
    'The operator refuses packages with known vulnerabilities; the program was not started. `detail` and `hint` say which version to ask for, `advisories.findings` has ids, aliases, severity and fixed versions of each. Ask for a fixed version, or ask the operator (`PYEXEC_ADVISORIES_ACCEPTED`).',
  analysis_not_supported: 'The operator has turned the analysis of code off (`PYEXEC_ANALYSIS`). Leave `analyze` out.',
  analysis_findings:
    'The operator refuses code with findings of this severity (`blocks_at`). `findings` lists them, `counts` says how many there are. Change the code, or ask the operator (`PYEXEC_ANALYSIS_BLOCKS_AT`).',
  analysis_incomplete:
    'The operator refuses code that cannot be analyzed in full: `skipped` says which files and why, such as a syntax error. Correct them, or send less code (`PYEXEC_ANALYSIS_MAX_MB`).',
  invalid_webhook:
    'A webhook goes to an `https:` URL on the public internet that holds no password and uses an allowed port, and has a secret of 16 to 1,024 bytes, unless the operator allows more (`PYEXEC_WEBHOOK_*`). `detail` says which it was.',
  delivery_not_found: 'It was delivered, is being tried again, was dropped for newer ones, or is another caller’s.',

  rate_limited:
    'Too many requests of you or of your address. Wait as `Retry-After` says; the `RateLimit` headers say what is left.',
  identity_unavailable:
    'The keys or the identity provider cannot be asked now. Your credentials may be right: keep them, try again after `Retry-After`.',
  audit_unavailable:
    'The operator wants every run in the audit log, and it cannot be written: a disk is full. Try later, and tell the operator.',
  queue_full: 'As many runs wait as may. Try again after `Retry-After`; the operator can raise `PYEXEC_MAX_QUEUE`.',
  queue_timeout:
    'The run waited for as long as it was to (`queue_timeout_ms`, or the operator’s `PYEXEC_QUEUE_TIMEOUT`) and no place became free: the program was not started. Try again after `Retry-After`, or allow more time.',
  budget_exhausted:
    'The caller’s runs used the CPU time or the memory it may use in a window, or runs in progress may still use what is left. Try again after `Retry-After`; `GET /api/v1/usage` shows both.',
  shutting_down: 'The service is about to stop. Try again after `Retry-After`, or another server.',
  overloaded: 'The service is too busy to take the request. Try again after `Retry-After`.',
  storage_full:
    'The disk of the service is full. Try later, and tell the operator (`PYEXEC_SPOOL_DIR`, `PYEXEC_STATE_DIR`).',
  storage_unavailable:
    'Records of executions, output or projects cannot be written. Try later, and tell the operator (`PYEXEC_STATE_DIR`, `PYEXEC_SPOOL_DIR`, the limit of open files).',
  image_unavailable:
    'The image may be run but is not on the machine. The operator has to put it there; nothing is pulled.',
  index_unreachable:
    'The package index cannot be reached, refuses, broke off, or answers with what cannot be used. Try again after `Retry-After`; the operator can look at `PYEXEC_INDEX_URL` and the log.',
  installation_timeout:
    'Finding and installing the packages took longer than `PYEXEC_INSTALL_TIMEOUT`. Pin versions, so that less has to be tried, or try again.',
  advisories_unavailable:
    'The operator wants packages checked for known vulnerabilities before they are used, and the source of advisories gave no answer, or half of one. Nothing is wrong with the requirements, and the program was not started: try again after `Retry-After`. The operator can look at `PYEXEC_ADVISORIES_URL` and the log.',
  analysis_unavailable:
    'The operator wants code analyzed before it runs, and the analysis took too long, found no place or failed; `analysis` says which. Try again after `Retry-After`, or send less code.',
  sandbox_unavailable:
    'The container engine does not answer or cannot start a sandbox; the program was not started. Try again after `Retry-After`.',
  sandbox_failed:
    'The sandbox broke while the program ran: it may have run in part. Run it again only if that does no harm.',
  internal: 'A fault of the service. Tell the operator the `request_id`; its log has the reason.',
};

export function errorsDocument() {
  const lines = [
    '# Errors',
    '',
    'What the service refuses or fails at. A program that fails, runs out of time or memory or is cancelled is not an error: its',
    'execution says so in `outcome`.',
    '',
    'Every error is `application/problem+json` with `code`, `title`, `status`, `detail`, `request_id`, `retryable` and `error`',
    '(the detail again, for clients of python-executor), and with further members where the table names them. Rely on `code`:',
    'it is never renamed or reused. `retryable` says that the same request may succeed later, unchanged. In a stream, and in an',
    'execution with the outcome `infrastructure_error`, the code is the same.',
    '',
    'This file is generated from `src/domain/errors.ts` and `scripts/generate-docs.mjs` by `npm run docs`.',
  ];
  for (const key of Object.keys(ERRORS)) {
    const code = /** @type {import('../src/domain/errors.ts').ErrorCode} */ (key);
    const section = ERROR_SECTIONS.get(code);
    if (section) {
      lines.push('', `## ${section}`, '');
      lines.push(row(['Code', 'Status', 'Title', 'Retryable', 'What it means, what to do']), '|---|---|---|---|---|');
    }
    const { status, title, retryable } = ERRORS[code];
    lines.push(row([`\`${code}\``, String(status), title, retryable ? 'yes' : 'no', ADVICE[code]]));
  }
  return `${lines.join('\n')}\n`;
}

/** Each document with the file it belongs in. */
export const DOCUMENTS = [
  { path: 'docs/CONFIGURATION.md', text: configurationDocument },
  { path: 'docs/ERRORS.md', text: errorsDocument },
];

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const { path, text } of DOCUMENTS) writeFileSync(join(ROOT, path), text());
}
