/**
 * The service's settings: environment variables in, one frozen Config out.
 *
 * The only reader of `process.env`. Names python-executor has keep their meaning.
 * Nothing is guessed: a name with our prefix that is not in the table, a value
 * that does not parse, or settings that contradict one another stop the boot.
 * docs/CONFIGURATION.md is generated from this table.
 */
import { availableParallelism, hostname, tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

const MIB = 1 << 20;

/** A whole number within bounds, written in decimal digits. */
function integer(minimum: number, maximum: number) {
  return z
    .string()
    .regex(/^\d{1,12}$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, {
      message: `must be between ${String(minimum)} and ${String(maximum)}`,
    });
}

function decimal(minimum: number, maximum: number) {
  return z
    .string()
    .regex(/^\d{1,6}(\.\d{1,3})?$/, 'must be a number')
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, {
      message: `must be between ${String(minimum)} and ${String(maximum)}`,
    });
}

/** The spellings python-executor takes. Never a coercion: "false" is not true. */
const boolean = z
  .enum(['true', '1', 'yes', 'false', '0', 'no'], { error: 'must be true or false' })
  .transform((value) => value === 'true' || value === '1' || value === 'yes');

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
);

const text = z.string().min(1, 'must not be empty');

const unsupported = (reason: string) => z.string().refine(() => false, { message: reason });

const processors = availableParallelism();
const bundledSeccompProfile = fileURLToPath(new URL('../../seccomp/python.json', import.meta.url));

/**
 * One row per variable. `fallback` is written as the variable would be, so that
 * defaults pass through the same checks as values that were set.
 */
export const SETTINGS = {
  PYEXEC_HOST: {
    schema: text,
    fallback: '127.0.0.1',
    about: 'Address to listen on. Without authentication in front keep it on loopback.',
  },
  PYEXEC_PORT: { schema: integer(0, 65_535), fallback: '8080', about: 'Port to listen on; 0 takes a free one.' },
  PYEXEC_LOG_LEVEL: {
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
      error: 'must be one of trace, debug, info, warn, error, fatal, silent',
    }),
    fallback: 'info',
    about: 'Least severe level that is logged.',
  },
  PYEXEC_DOCKER_SOCKET: { schema: text, fallback: '/var/run/docker.sock', about: 'Unix socket of the Docker daemon.' },
  PYEXEC_INSTANCE: {
    schema: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, 'must be 1-63 of A-Z a-z 0-9 _ . -'),
    fallback: '',
    about:
      'Name of this server in container labels. Two servers on one daemon need different names; a server keeps its name over restarts, or it will not find the containers a crash left behind. Default: `<hostname>-<port>`.',
  },
  PYEXEC_RUNTIME: {
    schema: text,
    fallback: 'runc',
    about: 'OCI runtime of the sandboxes, as the daemon knows it (`runc`, `runsc` for gVisor, ...).',
  },
  PYEXEC_SECCOMP_PROFILE: {
    schema: text,
    fallback: bundledSeccompProfile,
    about: 'Seccomp profile of every sandbox. Default: the bundled `seccomp/python.json`.',
  },
  PYEXEC_DEFAULT_IMAGE: {
    schema: text,
    fallback: 'pyexec/slim:latest',
    about: 'Image used when a request names none.',
  },
  PYEXEC_ALLOWED_IMAGES: {
    schema: list,
    fallback: 'pyexec/slim,pyexec/data',
    about:
      'Images a request may name: comma-separated references, `*` stands for any characters but `/`, and a reference without a tag for all its tags. The default image is always allowed. Nothing is ever pulled.',
  },
  PYEXEC_NETWORK_MODE: {
    schema: z
      .string()
      .regex(/^[a-z0-9][a-z0-9_.-]*$/i, 'must be a Docker network name')
      .refine((mode) => mode !== 'host' && !mode.startsWith('container'), {
        message: 'must not be the network of the host or of another container',
      }),
    fallback: 'none',
    about: 'Docker network for runs that ask for network access. `none`: such requests are refused.',
  },
  PYEXEC_DNS_SERVERS: { schema: list, fallback: '8.8.8.8,8.8.4.4', about: 'DNS servers for runs with network access.' },
  PYEXEC_DEFAULT_TIMEOUT: {
    schema: integer(1, 86_400),
    fallback: '300',
    about: 'Wall time of a run when the request names none, in seconds.',
  },
  PYEXEC_MAX_TIMEOUT: {
    schema: integer(1, 86_400),
    fallback: '900',
    about: 'Longest wall time a request may ask for, in seconds.',
  },
  PYEXEC_DEFAULT_MEMORY_MB: {
    schema: integer(32, 1_048_576),
    fallback: '1024',
    about: 'Memory of a run, its files included, when the request names none, in MiB. There is no swap.',
  },
  PYEXEC_MAX_MEMORY_MB: {
    schema: integer(32, 1_048_576),
    fallback: '4096',
    about: 'Most memory a request may ask for, in MiB.',
  },
  PYEXEC_DEFAULT_DISK_MB: {
    schema: integer(1, 1_048_576),
    fallback: '2048',
    about: 'Size of /work when the request names none, in MiB. It is memory, so it is cut to half of the memory limit.',
  },
  PYEXEC_MAX_DISK_MB: {
    schema: integer(1, 1_048_576),
    fallback: '4096',
    about: 'Largest /work a request may ask for, in MiB.',
  },
  PYEXEC_DEFAULT_CPU_SHARES: {
    schema: integer(2, 262_144),
    fallback: '1024',
    about: 'CPU shares of a run; 1024 shares are one core of PYEXEC_DEFAULT_CPUS.',
  },
  PYEXEC_DEFAULT_CPUS: {
    schema: decimal(0.05, 256),
    fallback: '1',
    about: 'CPU bandwidth of a run in cores when the request names none.',
  },
  PYEXEC_MAX_CPUS: {
    schema: decimal(0.05, 256),
    fallback: String(processors),
    about: 'Most cores a request may ask for. Default: the cores of this machine.',
  },
  PYEXEC_DEFAULT_PIDS: {
    schema: integer(8, 32_768),
    fallback: '128',
    about: 'Processes and threads of a run at one time when the request names none.',
  },
  PYEXEC_MAX_PIDS: {
    schema: integer(8, 32_768),
    fallback: '512',
    about: 'Most processes and threads a request may ask for.',
  },
  PYEXEC_DEFAULT_OUTPUT_BYTES: {
    schema: integer(1, 1 << 30),
    fallback: String(MIB),
    about:
      'Bytes kept of stdout, and as many of stderr, when the request names none. Beyond it head and tail are kept and the middle is counted.',
  },
  PYEXEC_MAX_OUTPUT_BYTES: {
    schema: integer(1, 1 << 30),
    fallback: String(256 * MIB),
    about: 'Most output bytes a request may ask to keep.',
  },
  PYEXEC_DEFAULT_OPEN_FILES: {
    schema: integer(16, 1_048_576),
    fallback: '1024',
    about: 'File descriptors per process when the request names none.',
  },
  PYEXEC_MAX_OPEN_FILES: {
    schema: integer(16, 1_048_576),
    fallback: '4096',
    about: 'Most file descriptors a request may ask for.',
  },
  PYEXEC_MAX_STDIN_MB: {
    schema: integer(1, 256),
    fallback: '16',
    about: 'Longest stdin of a run, in MiB. It is held in the sandbox and counts as its memory.',
  },
  PYEXEC_MAX_UPLOAD_MB: { schema: integer(1, 4096), fallback: '100', about: 'Largest request body, in MiB, as sent.' },
  PYEXEC_MAX_PROJECT_MB: { schema: integer(1, 16_384), fallback: '512', about: 'Largest project, unpacked, in MiB.' },
  PYEXEC_MAX_ENTRIES: {
    schema: integer(1, 1_000_000),
    fallback: '50000',
    about: 'Most files, directories and links in a project.',
  },
  PYEXEC_SPOOL_DIR: {
    schema: text,
    fallback: tmpdir(),
    about: 'Directory for projects too large to be held in memory while they wait. Files there have no name.',
  },
  PYEXEC_UPLOAD_TIMEOUT: {
    schema: integer(1, 3600),
    fallback: '120',
    about: 'How long a request may take to arrive, in seconds.',
  },
  PYEXEC_MAX_CONNECTIONS: {
    schema: integer(1, 1_000_000),
    fallback: '2048',
    about: 'Connections at one time; more are closed at once.',
  },
  PYEXEC_POOL_SIZE: {
    schema: integer(0, 256),
    fallback: '4',
    about:
      'Warm sandboxes of the default image that wait for a run, each used once; 0 starts every run cold. One costs about 12 MB of memory and no CPU.',
  },
  PYEXEC_POOL_IMAGES: {
    schema: list,
    fallback: '',
    about: 'Warm sandboxes of further images, as comma-separated `image=size`.',
  },
  PYEXEC_POOL_MAX_AGE: {
    schema: integer(10, 86_400),
    fallback: '900',
    about: 'Seconds after which an unused warm sandbox is replaced.',
  },
  PYEXEC_MAX_CONCURRENT: {
    schema: integer(1, 1024),
    fallback: String(Math.max(2, processors * 4)),
    about: 'Runs at one time. Default: four per core.',
  },
  PYEXEC_MAX_QUEUE: {
    schema: integer(0, 100_000),
    fallback: '256',
    about: 'Runs waiting for a place; beyond it requests are answered 429.',
  },
  PYEXEC_CLEANUP_TTL: {
    schema: integer(1, 31_536_000),
    fallback: '300',
    about: 'How long a finished execution can be fetched, in seconds after it finished.',
  },
  PYEXEC_STORE_MAX_MB: {
    schema: integer(1, 65_536),
    fallback: '256',
    about: 'Memory for finished executions, in MiB; the oldest go first.',
  },
  PYEXEC_REAP_INTERVAL: {
    schema: integer(1, 3600),
    fallback: '30',
    about: 'Seconds between two searches for containers nobody owns.',
  },
  PYEXEC_SHUTDOWN_GRACE: {
    schema: integer(0, 3600),
    fallback: '30',
    about: 'Seconds that runs have to finish after SIGTERM before they are cancelled.',
  },
  PYEXEC_TRUST_PROXY: {
    schema: list,
    fallback: '',
    about: 'Addresses or networks of reverse proxies whose X-Forwarded-For is believed, comma-separated.',
  },
  PYEXEC_AUTO_DETECT_IMPORTS: {
    schema: boolean,
    fallback: 'true',
    about: 'Whether /eval looks for packages in the code it is given.',
  },
  PYEXEC_PYTHON_IMAGES: {
    schema: list,
    fallback: '',
    about:
      'Images for the `python_version` of /eval, as comma-separated `version=image`. Images that may be run and carry the label `pyexec.python` are known without being listed.',
  },
  PYEXEC_CONSUL_ADDR: {
    schema: unsupported('is not supported: executions are kept by the service itself'),
    fallback: undefined,
    about: 'Not supported; setting it stops the boot.',
  },
  PYEXEC_CONSUL_TOKEN: {
    schema: unsupported('is not supported: executions are kept by the service itself'),
    fallback: undefined,
    about: 'Not supported; setting it stops the boot.',
  },
  PYEXEC_CONSUL_PREFIX: {
    schema: unsupported('is not supported: executions are kept by the service itself'),
    fallback: undefined,
    about: 'Not supported; setting it stops the boot.',
  },
} as const satisfies Record<string, { schema: z.ZodType; fallback: string | undefined; about: string }>;

export type SettingName = keyof typeof SETTINGS;
type Settings = { readonly [Name in SettingName]: z.output<(typeof SETTINGS)[Name]['schema']> };

/** Variables of ours that other programs read: the client, the scripts. */
const FOREIGN = new Set(['PYEXEC_SERVER']);
/** Settings whose value must never be printed. */
const SECRET: ReadonlySet<string> = new Set<SettingName>(['PYEXEC_CONSUL_TOKEN']);

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
      const shown = SECRET.has(name) ? '[redacted]' : Array.isArray(value) ? value.join(',') : String(value);
      return `${name}=${shown}`;
    })
    .join('\n');
}
