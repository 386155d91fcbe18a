/**
 * Run options as a query string: flat names, everything text. Pure.
 *
 * Numbers and booleans are read strictly, a name that can be given once is refused
 * the second time, and what comes out goes through the same schema as JSON.
 */
import { invalidField, unknownField } from './field-errors.ts';
import { parseRunOptions, type AskedRun } from './run-options.ts';

type Kind = 'text' | 'list' | 'selection' | 'assignments' | 'references' | 'whole' | 'decimal' | 'boolean';
type RepeatableKind = Extract<Kind, 'list' | 'selection' | 'assignments' | 'references'>;

/** Every parameter: what it is called, where it belongs among the options, how it is read. */
const PARAMETERS = {
  entrypoint: ['entrypoint', 'text'],
  module: ['module', 'text'],
  arg: ['args', 'list'],
  env: ['env', 'assignments'],
  stdin: ['stdin', 'text'],
  stdin_base64: ['stdin_base64', 'text'],
  image: ['image', 'text'],
  wall_ms: ['limits.wall_ms', 'whole'],
  cpu_ms: ['limits.cpu_ms', 'whole'],
  memory_bytes: ['limits.memory_bytes', 'whole'],
  pids: ['limits.pids', 'whole'],
  disk_bytes: ['limits.disk_bytes', 'whole'],
  output_bytes: ['limits.output_bytes', 'whole'],
  open_files: ['limits.open_files', 'whole'],
  cpus: ['limits.cpus', 'decimal'],
  on_overflow: ['on_overflow', 'text'],
  analyze: ['analyze', 'boolean'],
  displays: ['displays', 'boolean'],
  eval_last_expr: ['eval_last_expr', 'boolean'],
  artifacts: ['artifacts', 'selection'],
  artifacts_inline_bytes: ['artifacts_inline_bytes', 'whole'],
  files_from: ['files_from', 'references'],
  network: ['network', 'boolean'],
  detach: ['detach', 'boolean'],
  priority: ['priority', 'text'],
  queue_timeout_ms: ['queue_timeout_ms', 'whole'],
  webhook_url: ['webhook.url', 'text'],
  pre_commands: ['pre_commands', 'list'],
  docker_image: ['docker_image', 'text'],
  script_args: ['script_args', 'list'],
  env_vars: ['env_vars', 'list'],
  timeout_seconds: ['config.timeout_seconds', 'whole'],
  network_disabled: ['config.network_disabled', 'boolean'],
  memory_mb: ['config.memory_mb', 'whole'],
  disk_mb: ['config.disk_mb', 'whole'],
  cpu_shares: ['config.cpu_shares', 'whole'],
  requirement: ['requirements', 'list'],
  requirements_txt: ['requirements_txt', 'text'],
} as const satisfies Record<string, readonly [string, Kind]>;

export type QueryParameter = keyof typeof PARAMETERS;

/** Name and kind of every parameter, for the documentation. */
export const QUERY_PARAMETERS: Readonly<Record<string, Kind>> = Object.fromEntries(
  Object.entries(PARAMETERS).map(([name, [, kind]]) => [name, kind]),
);

const NAMES = new Map<string, string>(Object.entries(PARAMETERS).map(([name, [path]]) => [path, name]));

/** The parameter for a path among the options, index included: `args.0` is `arg.0`. */
function spelling(path: string): string {
  for (const [known, name] of NAMES) {
    if (path === known || path.startsWith(`${known}.`)) return `${name}${path.slice(known.length)}`;
  }
  return path;
}

/** @throws {ServiceError} as parseRunOptions. */
export function parseQueryOptions(query: URLSearchParams): AskedRun {
  const options: Record<string, unknown> = {};
  for (const name of new Set(query.keys())) {
    if (!Object.hasOwn(PARAMETERS, name)) throw unknownField(name);
    const [path, kind] = PARAMETERS[name as QueryParameter];
    const values = query.getAll(name);
    if (values.length > 1 && !isRepeatable(kind)) throw invalidField(name, 'can be given once only');
    const [group, member] = path.split('.') as [string, string | undefined];
    const value = isRepeatable(kind) ? listOf(name, kind, values) : read(name, kind, values[0] ?? '');
    if (member === undefined) options[group] = value;
    else options[group] = { ...(options[group] as object | undefined), [member]: value };
  }
  return parseRunOptions(options, spelling);
}

function isRepeatable(kind: Kind): kind is RepeatableKind {
  return kind === 'list' || kind === 'selection' || kind === 'assignments' || kind === 'references';
}

function listOf(name: string, kind: RepeatableKind, values: readonly string[]): unknown {
  switch (kind) {
    case 'selection':
      return values.length === 1 && /^(?:true|false)$/.test(values[0] ?? '') ? values[0] === 'true' : values;
    case 'list':
      return values;
    case 'references':
      return values.map(referenceOf);
    case 'assignments':
      return assignmentsOf(name, values);
  }
}

/** `ID/PATH`, as in the address of an artifact, or `ID` for all of them. */
function referenceOf(value: string): object {
  const slash = value.indexOf('/');
  return slash === -1 ? { execution_id: value } : { execution_id: value.slice(0, slash), path: value.slice(slash + 1) };
}

function assignmentsOf(name: string, values: readonly string[]): Record<string, string> {
  const variables = new Map<string, string>();
  for (const value of values) {
    const equals = value.indexOf('=');
    if (equals < 1) throw invalidField(name, 'is not of the form NAME=value');
    const variable = value.slice(0, equals);
    if (variables.has(variable)) throw invalidField(name, 'sets a variable a second time');
    variables.set(variable, value.slice(equals + 1));
  }
  return Object.fromEntries(variables);
}

function read(name: string, kind: Exclude<Kind, RepeatableKind>, value: string): unknown {
  switch (kind) {
    case 'text':
      return value;
    case 'whole':
      if (!/^\d{1,15}$/.test(value)) throw invalidField(name, 'is not a whole number');
      return Number(value);
    case 'decimal':
      if (!/^\d{1,9}(\.\d{1,9})?$/.test(value)) throw invalidField(name, 'is not a number');
      return Number(value);
    case 'boolean':
      if (value !== 'true' && value !== 'false') throw invalidField(name, 'is neither true nor false');
      return value === 'true';
  }
}
