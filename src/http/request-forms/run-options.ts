/**
 * What a caller said about a run, in either vocabulary, as a RunRequest. Pure.
 *
 * Nothing is guessed: one thing said twice is refused even where both agree, and
 * what this service cannot do is refused rather than left out. Whether a limit or
 * a name is allowed is policy's business, not judged here.
 */
import { inputField } from '../../domain/inputs.ts';
import type { Limits } from '../../domain/limits.ts';
import type { EntryPoint, RunRequest } from '../../domain/plan.ts';
import type { Webhook } from '../../domain/webhook.ts';
import { runOptionsSchema, type RunOptions } from '../schemas/run-options-schema.ts';
import { fieldError, invalidField } from './field-errors.ts';
import { decodeBase64, filesOf } from './files-field.ts';

const MIB = 1 << 20;
const SHARES_PER_CORE = 1024;

/** How a request spells the path of an option in its errors. */
export type Spelling = (path: string) => string;

export interface AskedRun {
  readonly run: RunRequest;
  /** Whether the run goes on when its client disconnects. */
  readonly detach: boolean;
}

/** Two names for one thing. */
const SYNONYMS: readonly (readonly [string, string])[] = [
  ['entrypoint', 'module'],
  ['args', 'script_args'],
  ['stdin', 'stdin_base64'],
  ['env', 'env_vars'],
  ['image', 'docker_image'],
  ['network', 'config.network_disabled'],
  ['requirements', 'requirements_txt'],
  ['limits.wall_ms', 'config.timeout_seconds'],
  ['limits.memory_bytes', 'config.memory_mb'],
  ['limits.disk_bytes', 'config.disk_mb'],
  ['limits.cpus', 'config.cpu_shares'],
];

/** @throws {ServiceError} unknown_field, invalid_request. */
export function parseRunOptions(value: unknown, spelling: Spelling = (path) => path): AskedRun {
  const parsed = runOptionsSchema.safeParse(value);
  if (!parsed.success) throw fieldError(parsed.error, spelling);
  return toAskedRun(parsed.data, spelling);
}

/** As parseRunOptions, for options whose types are known to be right. */
export function toAskedRun(options: RunOptions, spelling: Spelling = (path) => path): AskedRun {
  for (const [native, synonym] of SYNONYMS) {
    if (isGiven(options, native) && isGiven(options, synonym)) {
      throw invalidField(
        spelling(synonym),
        `says what ${JSON.stringify(spelling(native))} says already; give one of them`,
      );
    }
  }
  const requirements = requirementsOf(options, spelling);
  const entryPoint = entryPointOf(options);
  const image = options.image ?? (options.docker_image === '' ? undefined : options.docker_image);
  const isNetworkDisabled = options.config?.network_disabled ?? true;
  const run: RunRequest = {
    ...(entryPoint ? { entryPoint } : {}),
    args: options.args ?? options.script_args ?? [],
    stdin: stdinOf(options, spelling),
    environment: options.env ?? environmentOf(options.env_vars ?? [], spelling('env_vars')),
    ...(image === undefined ? {} : { image }),
    limits: limitsOf(options),
    onOverflow: options.on_overflow ?? 'truncate',
    wantsNetwork: options.network ?? !isNetworkDisabled,
    preCommands: options.pre_commands ?? [],
    ...(requirements === '' ? {} : { requirements }),
    ...(options.webhook === undefined ? {} : { webhook: webhookOf(options.webhook) }),
    ...(options.priority === undefined ? {} : { priority: options.priority }),
    ...(options.queue_timeout_ms === undefined ? {} : { queueTimeoutMs: options.queue_timeout_ms }),
    ...(options.analyze ? { wantsAnalysis: true } : {}),
    wantsDisplays: options.displays ?? true,
    ...(options.eval_last_expr ? { wantsLastValue: true } : {}),
    ...artifactsOf(options),
    ...filesFromOf(options),
    ...inputsOf(options, spelling),
  };
  return { run, detach: options.detach ?? false };
}

function inputsOf(options: RunOptions, spelling: Spelling): Pick<RunRequest, 'inputs'> {
  const { inputs, stop_on_failure = false } = options;
  if (inputs === undefined) {
    if (stop_on_failure) throw invalidField(spelling('stop_on_failure'), 'needs "inputs"');
    return {};
  }
  // What nobody would get is not to be asked for; the defaults are as if they said so.
  const isAsked = { artifacts: options.artifacts ?? false, displays: options.displays ?? false };
  for (const name of ['artifacts', 'displays'] as const) {
    if (isAsked[name] !== false)
      throw invalidField(spelling(name), 'cannot be had with "inputs"; have the program print it');
  }
  const list = inputs.map((input, index) => {
    const field = inputField(index, 'stdin_base64');
    if (input.stdin !== undefined && input.stdin_base64 !== undefined) {
      throw invalidField(field, 'says what "stdin" says already; give one of them');
    }
    const files = input.files && filesOf(input.files, (file) => inputField(index, 'files', file, 'content'));
    return { args: input.args ?? [], stdin: stdinOf(input, () => field), ...(files?.length ? { files } : {}) };
  });
  return { inputs: { list, stopOnFailure: stop_on_failure } };
}

function artifactsOf({ artifacts = true, artifacts_inline_bytes = 0 }: RunOptions): Pick<RunRequest, 'artifacts'> {
  if (artifacts === false) return {};
  return { artifacts: { patterns: artifacts === true ? [] : artifacts, inlineBytes: artifacts_inline_bytes } };
}

function filesFromOf({ files_from }: RunOptions): Pick<RunRequest, 'filesFrom'> {
  if (files_from === undefined) return {};
  return { filesFrom: files_from.map(({ execution_id, ...file }) => ({ executionId: execution_id, ...file })) };
}

function webhookOf({ url, secret }: NonNullable<RunOptions['webhook']>): Webhook {
  return { url, ...(secret === undefined ? {} : { secret }) };
}

function isGiven(options: RunOptions, path: string): boolean {
  let value: unknown = options;
  for (const key of path.split('.')) value = (value as Record<string, unknown> | undefined)?.[key];
  return value !== undefined;
}

function entryPointOf({ entrypoint, module }: RunOptions): EntryPoint | undefined {
  if (module !== undefined) return { kind: 'module', name: module };
  return entrypoint === undefined ? undefined : { kind: 'script', path: entrypoint };
}

/** The text of a requirements file; empty for none. */
function requirementsOf({ requirements, requirements_txt }: RunOptions, spelling: Spelling): string {
  if (Array.isArray(requirements)) {
    // One item is one line, whatever it says.
    const broken = requirements.findIndex((line) => /[\r\n\\]/.test(line));
    if (broken !== -1) throw invalidField(`${spelling('requirements')}.${String(broken)}`, 'is more than one line');
    return requirements.join('\n');
  }
  const asked = (requirements ?? requirements_txt ?? '').trim();
  return asked === '-' && requirements === undefined ? '' : (requirements ?? requirements_txt ?? '');
}

function stdinOf(options: Pick<RunOptions, 'stdin' | 'stdin_base64'>, spelling: Spelling): Uint8Array {
  if (options.stdin_base64 === undefined) return Buffer.from(options.stdin ?? '', 'utf8');
  return decodeBase64(options.stdin_base64, spelling('stdin_base64'));
}

/** The variables of a list of `NAME=value`. */
function environmentOf(assignments: readonly string[], field: string): Record<string, string> {
  const variables = new Map<string, string>();
  for (const [index, assignment] of assignments.entries()) {
    const equals = assignment.indexOf('=');
    if (equals < 1) throw invalidField(`${field}.${String(index)}`, 'is not of the form NAME=value');
    const name = assignment.slice(0, equals);
    if (variables.has(name)) throw invalidField(`${field}.${String(index)}`, 'sets a variable a second time');
    variables.set(name, assignment.slice(equals + 1));
  }
  return Object.fromEntries(variables);
}

function limitsOf({ limits = {}, config = {} }: RunOptions): Partial<Limits> {
  const { timeout_seconds, memory_mb, disk_mb, cpu_shares } = config;
  const asked: Partial<Record<keyof Limits, number | undefined>> = {
    ...limits,
    ...(timeout_seconds ? { wall_ms: timeout_seconds * 1000 } : {}),
    ...(memory_mb ? { memory_bytes: memory_mb * MIB } : {}),
    ...(disk_mb ? { disk_bytes: disk_mb * MIB } : {}),
    ...(cpu_shares ? { cpus: cpu_shares / SHARES_PER_CORE } : {}),
  };
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
}
