/**
 * The service's settings: environment variables in, one frozen Config out.
 *
 * The only reader of `process.env`. Names python-executor has keep their meaning.
 * Nothing is guessed: a name with our prefix that is not in the table, a value
 * that does not parse, or settings that contradict one another stop the boot.
 * docs/CONFIGURATION.md is generated from this table.
 */
import { homedir, hostname } from 'node:os';
import type { z } from 'zod';
import { ADVISORIES_SETTINGS } from './settings/advisories.ts';
import { ANALYSIS_SETTINGS } from './settings/analysis.ts';
import { CAPACITY_SETTINGS } from './settings/capacity.ts';
import { AUDIT_SETTINGS } from './settings/audit.ts';
import { IDENTITY_SETTINGS } from './settings/identity.ts';
import { LIMITS_SETTINGS } from './settings/limits.ts';
import { PACKAGES_SETTINGS } from './settings/packages.ts';
import { POOL_SETTINGS } from './settings/pool.ts';
import { PYTHON_EXECUTOR_SETTINGS } from './settings/python-executor.ts';
import { REQUESTS_SETTINGS } from './settings/requests.ts';
import { RESULTS_SETTINGS } from './settings/results.ts';
import { SANDBOXES_SETTINGS } from './settings/sandboxes.ts';
import { SERVER_SETTINGS } from './settings/server.ts';
import { WEBHOOKS_SETTINGS } from './settings/webhooks.ts';
import { defaultStateDirectory, STORAGE_SETTINGS } from './settings/storage.ts';

/** The headings of docs/CONFIGURATION.md, each with its settings. */
export const SETTING_GROUPS = {
  'The server': SERVER_SETTINGS,
  'Who may ask': IDENTITY_SETTINGS,
  'The audit log': AUDIT_SETTINGS,
  'What survives a restart': STORAGE_SETTINGS,
  Sandboxes: SANDBOXES_SETTINGS,
  'Limits of a run': LIMITS_SETTINGS,
  Requests: REQUESTS_SETTINGS,
  'Packages of runs': PACKAGES_SETTINGS,
  'Known vulnerabilities of packages': ADVISORIES_SETTINGS,
  'Analysis of code': ANALYSIS_SETTINGS,
  'What a run gives back': RESULTS_SETTINGS,
  'Warm sandboxes': POOL_SETTINGS,
  'Capacity and lifetime': CAPACITY_SETTINGS,
  Webhooks: WEBHOOKS_SETTINGS,
  'For clients of python-executor': PYTHON_EXECUTOR_SETTINGS,
} as const;

/** One row per variable. */
export const SETTINGS = {
  ...SERVER_SETTINGS,
  ...IDENTITY_SETTINGS,
  ...AUDIT_SETTINGS,
  ...STORAGE_SETTINGS,
  ...SANDBOXES_SETTINGS,
  ...LIMITS_SETTINGS,
  ...REQUESTS_SETTINGS,
  ...PACKAGES_SETTINGS,
  ...ADVISORIES_SETTINGS,
  ...ANALYSIS_SETTINGS,
  ...RESULTS_SETTINGS,
  ...POOL_SETTINGS,
  ...CAPACITY_SETTINGS,
  ...WEBHOOKS_SETTINGS,
  ...PYTHON_EXECUTOR_SETTINGS,
};

export type SettingName = keyof typeof SETTINGS;
type Settings = { readonly [Name in SettingName]: z.output<(typeof SETTINGS)[Name]['schema']> };

/** Variables of ours that other programs read: the client, the scripts. */
const FOREIGN = new Set(['PYEXEC_SERVER']);
/** Settings whose value must never be printed. */
const SECRET: ReadonlySet<string> = new Set<SettingName>([
  'PYEXEC_CONSUL_TOKEN',
  'PYEXEC_ADVISORIES_CREDENTIALS',
  'PYEXEC_INDEX_CREDENTIALS',
  'PYEXEC_WEBHOOK_SECRET',
]);

/** The settings cannot be used; the message is for the operator, one line per fault. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

export interface Config extends Settings {
  readonly secrets: ReadonlySet<string>;
}

/** Pairs of a default and the maximum it must not exceed. */
const CEILINGS: readonly (readonly [SettingName, SettingName])[] = [
  ['PYEXEC_DEFAULT_TIMEOUT', 'PYEXEC_MAX_TIMEOUT'],
  ['PYEXEC_DEFAULT_MEMORY_MB', 'PYEXEC_MAX_MEMORY_MB'],
  ['PYEXEC_DEFAULT_DISK_MB', 'PYEXEC_MAX_DISK_MB'],
  ['PYEXEC_DEFAULT_CPUS', 'PYEXEC_MAX_CPUS'],
  ['PYEXEC_DEFAULT_PIDS', 'PYEXEC_MAX_PIDS'],
  ['PYEXEC_DEFAULT_OUTPUT_BYTES', 'PYEXEC_MAX_OUTPUT_BYTES'],
  ['PYEXEC_DEFAULT_OPEN_FILES', 'PYEXEC_MAX_OPEN_FILES'],
  ['PYEXEC_ADVISORIES_REFRESH', 'PYEXEC_ADVISORIES_MAX_AGE'],
];

/**
 * Parses the environment.
 * @throws {ConfigError} naming every variable at fault.
 */
export function parseConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  const faults: string[] = [];
  for (const name of Object.keys(environment)) {
    if (name.startsWith('PYEXEC_') && !Object.hasOwn(SETTINGS, name) && !FOREIGN.has(name)) {
      faults.push(`${name} is not a setting of this service`);
    }
  }
  const values: Record<string, unknown> = {};
  for (const [name, { schema, fallback }] of Object.entries(SETTINGS)) {
    const set = environment[name];
    const raw = set ?? fallback;
    if (raw === undefined || (set === undefined && raw === '' && name === 'PYEXEC_INSTANCE')) continue;
    const parsed = schema.safeParse(raw);
    if (parsed.success) values[name] = parsed.data;
    else faults.push(`${name} ${parsed.error.issues[0]?.message ?? 'is not valid'}`);
  }
  values['PYEXEC_INSTANCE'] ??= `${hostname()}-${String(values['PYEXEC_PORT'])}`
    .replaceAll(/[^A-Za-z0-9_.-]/g, '-')
    .slice(-63);
  const user = { isRoot: process.getuid?.() === 0, home: homedir() };
  if (environment['PYEXEC_STATE_DIR'] === undefined)
    values['PYEXEC_STATE_DIR'] = defaultStateDirectory(environment, user);
  for (const [lower, upper] of CEILINGS) {
    const value = values[lower];
    const ceiling = values[upper];
    if (typeof value === 'number' && typeof ceiling === 'number' && value > ceiling) {
      faults.push(`${lower} (${String(value)}) must not be above ${upper} (${String(ceiling)})`);
    }
  }
  if (faults.length > 0) throw new ConfigError(faults.join('\n'));
  return Object.freeze({ ...(values as unknown as Settings), secrets: SECRET });
}

/** Reads the settings of this process. The only place that does. */
export function readConfig(): Config {
  return parseConfig(process.env);
}

/** The effective settings, one `NAME=value` a line, secrets redacted. */
export function describeConfig(config: Config): string {
  return Object.keys(SETTINGS)
    .filter((name) => config[name as SettingName] !== undefined)
    .map((name) => {
      const value: unknown = config[name as SettingName];
      const shown =
        SECRET.has(name) && value !== '' ? '[redacted]' : Array.isArray(value) ? value.join(',') : String(value);
      return `${name}=${shown}`;
    })
    .join('\n');
}
