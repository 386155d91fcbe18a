/**
 * `keys create | list | rotate | revoke`: API keys.
 *
 * A key is printed once, by the command that makes it, and is nowhere afterwards.
 * Changes count from the server's next request on.
 */
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { AuditChain, START } from '../audit/audit-chain.ts';
import type { ApiKey } from '../domain/api-key.ts';
import { SCOPES, type Scope } from '../domain/caller.ts';
import type { LimitName, Limits } from '../domain/limits.ts';
import { hashOfKey, newKey } from '../identity/key-format.ts';
import { AuditHead } from '../store/audit-head.ts';
import { KeyStore } from '../store/key-store.ts';

export interface CommandContext {
  readonly stateDirectory: () => string;
  /** Whether the server keeps an audit log, and so its keys' changes belong there. */
  readonly isAudited: () => boolean;
  readonly print: (text: string) => void;
}

const MIB = 2 ** 20;
const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const DEFAULT_OVERLAP = '24h';

/** What a limit can be called here: its own name, or one in friendlier units. The least a run needs comes with it. */
const LIMITS: Readonly<
  Record<string, { readonly name: LimitName; readonly perUnit: number; readonly minimum: number }>
> = {
  wall_ms: { name: 'wall_ms', perUnit: 1, minimum: 1 },
  timeout_seconds: { name: 'wall_ms', perUnit: 1_000, minimum: 1 },
  cpu_ms: { name: 'cpu_ms', perUnit: 1, minimum: 1 },
  memory_bytes: { name: 'memory_bytes', perUnit: 1, minimum: 32 * MIB },
  memory_mb: { name: 'memory_bytes', perUnit: MIB, minimum: 32 },
  disk_bytes: { name: 'disk_bytes', perUnit: 1, minimum: MIB },
  disk_mb: { name: 'disk_bytes', perUnit: MIB, minimum: 1 },
  pids: { name: 'pids', perUnit: 1, minimum: 8 },
  output_bytes: { name: 'output_bytes', perUnit: 1, minimum: 1 },
  open_files: { name: 'open_files', perUnit: 1, minimum: 16 },
  cpus: { name: 'cpus', perUnit: 1, minimum: 0.05 },
};

interface CreateOptions {
  readonly name: string;
  readonly scope: readonly Scope[];
  readonly expires?: number;
  readonly limit?: Partial<Limits>;
  readonly image?: readonly string[];
  readonly concurrent?: number;
}

export function keysCommand({ stateDirectory, isAudited, print }: CommandContext): Command {
  const keys = new Command('keys')
    .description('API keys (PYEXEC_AUTH=keys)')
    .option('--state-dir <path>', 'the state directory; default: as the server, from PYEXEC_STATE_DIR');
  const directoryOf = () => keys.opts<{ stateDir?: string }>().stateDir ?? stateDirectory();
  /** Called before a change is final: one that cannot be written down is not made. */
  const audit = (kind: string) => (key: ApiKey) => {
    if (isAudited()) writeDown(join(directoryOf(), 'audit'), kind, key);
  };
  const withStore = <T>(work: (store: KeyStore) => T): T => {
    const directory = directoryOf();
    const store = KeyStore.open(join(directory, 'keys.sqlite'));
    try {
      return work(store);
    } finally {
      store.close();
    }
  };
  const show = (key: string) => {
    print(key);
    process.stderr.write('This key is not shown again.\n');
  };

  keys
    .command('create')
    .description('make a key and print it, once')
    .requiredOption('--name <name>', 'what it is called: letters, digits, . _ -', nameOf)
    .requiredOption('--scope <scopes>', `what it may do: ${SCOPES.join(', ')}; comma-separated`, scopesOf)
    .option('--expires <duration>', 'when it ends, as 30m, 12h or 90d; default: never', durationOf)
    .option('--limit <name=value...>', `a maximum of its own: ${Object.keys(LIMITS).join(', ')}`, limitsOf)
    .option('--image <pattern...>', 'an image it may use, within PYEXEC_ALLOWED_IMAGES', collect)
    .option('--concurrent <number>', 'its runs at one time', wholeOf)
    .action((options: CreateOptions) => {
      const key = newKey();
      const createdAtMs = Date.now();
      withStore((store) =>
        store.create(
          {
            name: options.name,
            scopes: options.scope,
            ...(options.limit ? { maxima: options.limit } : {}),
            ...(options.image ? { images: options.image } : {}),
            ...(options.concurrent === undefined ? {} : { concurrentMax: options.concurrent }),
          },
          {
            hash: hashOfKey(key),
            createdAtMs,
            ...(options.expires === undefined ? {} : { expiresAtMs: createdAtMs + options.expires }),
          },
          audit('key_created'),
        ),
      );
      show(key);
    });

  keys
    .command('list')
    .description('what keys there are, one JSON object a line; never the keys themselves')
    .action(() => {
      withStore((store) => {
        for (const { key, secrets } of store.list()) print(JSON.stringify(listing(key, secrets)));
      });
    });

  keys
    .command('rotate <name>')
    .description('print a new secret of a key; the old one works for a while longer')
    .option('--overlap <duration>', 'how long the old one works', durationOf, durationOf(DEFAULT_OVERLAP))
    .option('--expires <duration>', 'when the new one ends; default: never', durationOf)
    .action((name: string, options: { overlap: number; expires?: number }) => {
      const key = newKey();
      const nowMs = Date.now();
      const expires = options.expires === undefined ? {} : { expiresAtMs: nowMs + options.expires };
      withStore((store) =>
        store.rotate(
          name,
          { hash: hashOfKey(key), createdAtMs: nowMs, ...expires },
          nowMs + options.overlap,
          audit('key_rotated'),
        ),
      );
      show(key);
    });

  keys
    .command('revoke <name>')
    .description('end a key at once, with all its secrets')
    .action((name: string) => {
      withStore((store) => store.revoke(name, Date.now(), audit('key_revoked')));
    });

  return keys;
}

function writeDown(directory: string, kind: string, key: ApiKey): void {
  const head = AuditHead.open(directory, START, true);
  try {
    // Files are changed by the server, which knows their size and age.
    const chain = new AuditChain({
      directory,
      head,
      fileBytesMax: Infinity,
      fileAgeMsMax: Infinity,
      flushes: true,
    });
    const { id, name, scopes, maxima, images, concurrentMax } = key;
    const by = userInfo().username;
    chain.append([{ kind, key_id: id, name, scopes, limits: maxima, images, concurrent: concurrentMax, by }]);
  } finally {
    head.close();
  }
}

type Listed = ReturnType<KeyStore['list']>[number];

function listing(key: Listed['key'], secrets: Listed['secrets']) {
  const time = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    name: key.name,
    id: key.id,
    caller: `key:${key.id}`,
    scopes: key.scopes,
    created_at: time(key.createdAtMs),
    revoked_at: time(key.revokedAtMs),
    secrets: secrets.map(({ createdAtMs, expiresAtMs }) => ({
      created_at: time(createdAtMs),
      expires_at: time(expiresAtMs),
    })),
    ...(key.maxima ? { limits: key.maxima } : {}),
    ...(key.images ? { images: key.images } : {}),
    ...(key.concurrentMax === undefined ? {} : { concurrent: key.concurrentMax }),
  };
}

function nameOf(text: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text)) {
    throw new InvalidArgumentError('It has 1 to 64 of letters, digits, . _ -');
  }
  return text;
}

function scopesOf(text: string, before: readonly Scope[] = []): readonly Scope[] {
  const scopes = new Set<Scope>(before);
  for (const item of text.split(',')) {
    const scope = SCOPES.find((known) => known === item.trim());
    if (!scope) throw new InvalidArgumentError(`The scopes are ${SCOPES.join(', ')}.`);
    scopes.add(scope);
  }
  return [...scopes];
}

function durationOf(text: string): number {
  const [, count = '', unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const unitMs = UNITS_MS[unit];
  if (unitMs === undefined) throw new InvalidArgumentError('It is a number and s, m, h or d.');
  return Number(count) * unitMs;
}

function limitsOf(text: string, before: Partial<Limits> = {}): Partial<Limits> {
  const [name = '', value = ''] = text.split('=', 2);
  const limit = Object.hasOwn(LIMITS, name) ? LIMITS[name] : undefined;
  if (!limit) throw new InvalidArgumentError(`The limits are ${Object.keys(LIMITS).join(', ')}.`);
  const number = /^\d{1,15}(\.\d{1,3})?$/.test(value) ? Number(value) : NaN;
  if (!(number >= limit.minimum) || (limit.name !== 'cpus' && !Number.isInteger(number))) {
    throw new InvalidArgumentError(`${name} is a number of at least ${String(limit.minimum)}.`);
  }
  return { ...before, [limit.name]: number * limit.perUnit };
}

function wholeOf(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('It is a whole number above 0.');
  return Number(text);
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}
