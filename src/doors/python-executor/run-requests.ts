/**
 * python-executor's metadata and eval bodies as RunRequests. Pure.
 *
 * The fields and their defaults are that project's; where it breaks its own
 * promises ours are kept instead, and docs/COMPATIBILITY.md lists each case.
 */
import type { Limits } from '../../domain/limits.ts';
import type { EntryPoint, RunRequest } from '../../domain/plan.ts';
import { boolean, field, integer, object, objects, string, strings } from './lenient-json.ts';

type Fields = Readonly<Record<string, unknown>>;

const MIB = 2 ** 20;
const SHARES_PER_CORE = 1024;
/** Sum of the code of one eval, in bytes of UTF-8. */
export const EVAL_BYTES_MAX = 102_400;

/** A refusal with the status and sentence its clients expect. */
export class ContractError extends Error {
  override readonly name = 'ContractError';
  readonly status: 400 | 413;

  constructor(status: 400 | 413, message: string) {
    super(message);
    this.status = status;
  }
}

export interface EvalRequest {
  readonly run: RunRequest;
  readonly files: readonly { readonly path: string; readonly content: string }[];
  readonly pythonVersion: string | undefined;
  /** What `requirements_txt` holds; `-` opts out of everything. */
  readonly requirements: string;
}

/** Zero and absence mean the default, here as there. */
function limitsOf(config: Fields): Partial<Limits> {
  const positive = (name: string) => {
    const value = field(config, name, integer) ?? 0;
    if (value < 0) throw new ContractError(400, `config.${name} must not be negative`);
    return value === 0 ? undefined : value;
  };
  const timeoutSeconds = positive('timeout_seconds');
  const memoryMb = positive('memory_mb');
  const diskMb = positive('disk_mb');
  const cpuShares = positive('cpu_shares');
  return {
    ...(timeoutSeconds === undefined ? {} : { wall_ms: timeoutSeconds * 1000 }),
    ...(memoryMb === undefined ? {} : { memory_bytes: memoryMb * MIB }),
    ...(diskMb === undefined ? {} : { disk_bytes: diskMb * MIB }),
    ...(cpuShares === undefined ? {} : { cpus: cpuShares / SHARES_PER_CORE }),
  };
}

/** An empty entry point is the project folder itself, as `python /work` has it. */
function entryPointOf(path: string): EntryPoint & { readonly kind: 'script' } {
  return { kind: 'script', path: path === '' ? '.' : path };
}

function environmentOf(entries: readonly string[]): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const entry of entries) {
    const equals = entry.indexOf('=');
    // Without a value the variable would be taken out of the image's; the program then finds it empty.
    const name = equals === -1 ? entry : entry.slice(0, equals);
    Object.defineProperty(variables, name, {
      value: equals === -1 ? '' : entry.slice(equals + 1),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return variables;
}

function commonOf(source: Fields): Pick<RunRequest, 'stdin' | 'limits' | 'wantsNetwork' | 'onOverflow'> {
  const config = field(source, 'config', object) ?? {};
  return {
    stdin: Buffer.from(field(source, 'stdin', string) ?? '', 'utf8'),
    limits: limitsOf(config),
    // Off unless asked for: there it was on by default, against its own documents.
    wantsNetwork: field(config, 'network_disabled', boolean) === false,
    onOverflow: 'truncate',
  };
}

/**
 * The `metadata` of /exec/sync and /exec/async.
 * @throws {LenientJsonError | ContractError}
 */
export function runRequestOfMetadata(metadata: Fields): { readonly run: RunRequest; readonly requirements: string } {
  const image = field(metadata, 'docker_image', string) ?? '';
  const entryPoint = entryPointOf(field(metadata, 'entrypoint', string) ?? '');
  const args = field(metadata, 'script_args', strings) ?? [];
  return {
    requirements: field(metadata, 'requirements_txt', string) ?? '',
    run: {
      ...commonOf(metadata),
      entryPoint,
      args,
      environment: environmentOf(field(metadata, 'env_vars', strings) ?? []),
      preCommands: field(metadata, 'pre_commands', strings) ?? [],
      toleratesMissingEntryPoint: true,
      ...(image === '' ? {} : { image }),
    },
  };
}

/**
 * The body of /eval.
 * @throws {LenientJsonError | ContractError}
 */
export function evalRequestOf(body: Fields): EvalRequest {
  const code = field(body, 'code', string) ?? '';
  const named = (field(body, 'files', objects) ?? []).map((file) => ({
    path: field(file, 'name', string) ?? '',
    content: field(file, 'content', string) ?? '',
  }));
  const files = named.length > 0 ? named : [{ path: 'main.py', content: code }];
  if (named.length === 0 && code === '') throw new ContractError(400, "either 'code' or 'files' must be provided");
  const entrypoint = field(body, 'entrypoint', string) ?? '';
  const request: EvalRequest = {
    files,
    pythonVersion: field(body, 'python_version', string) || undefined,
    requirements: field(body, 'requirements_txt', string) ?? '',
    run: {
      ...commonOf(body),
      entryPoint: entryPointOf(entrypoint === '' ? (files[0]?.path ?? 'main.py') : entrypoint),
      args: [],
      environment: {},
      preCommands: [],
      wantsLastValue: field(body, 'eval_last_expr', boolean) ?? false,
      toleratesMissingEntryPoint: true,
    },
  };
  return request;
}

/** @throws {ContractError} 413 when the code is larger than an eval may be. */
export function refuseLargeCode(files: EvalRequest['files']): void {
  const bytes = files.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0);
  if (bytes > EVAL_BYTES_MAX) {
    throw new ContractError(
      413,
      `total code size ${String(bytes)} bytes exceeds limit of ${String(EVAL_BYTES_MAX)} bytes`,
    );
  }
}
