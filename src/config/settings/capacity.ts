/** Settings: capacity and lifetime. */
import { availableParallelism } from 'node:os';
import { type SettingTable, integer, list } from '../setting-schemas.ts';

const processors = availableParallelism();

export const CAPACITY_SETTINGS = {
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
} as const satisfies SettingTable;
