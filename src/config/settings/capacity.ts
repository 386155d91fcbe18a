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
  PYEXEC_MAX_QUEUE_MB: {
    schema: integer(1, 1_048_576),
    fallback: '4096',
    about: 'Size of the projects of the runs that wait, in MiB; beyond it requests are answered 429.',
  },
  PYEXEC_QUEUE_TIMEOUT: {
    schema: integer(0, 86_400),
    fallback: '0',
    about:
      'Seconds a run waits for a place where its request does not say (`queue_timeout_ms`); then it ends as `queue_timeout`. 0: as long as it takes.',
  },
  PYEXEC_MAX_CONCURRENT_PER_CALLER: {
    schema: integer(0, 1024),
    fallback: '0',
    about: 'Runs of one caller at one time; 0: as many as there are places. More wait.',
  },
  PYEXEC_MAX_QUEUE_PER_CALLER: {
    schema: integer(0, 100_000),
    fallback: '0',
    about:
      'Runs of one caller waiting; 0: three quarters of `PYEXEC_MAX_QUEUE`. Of their size a caller may always have three quarters.',
  },
  PYEXEC_BUDGET_WINDOW: {
    schema: integer(1, 2_678_400),
    fallback: '3600',
    about: 'Length of the windows of budgets, in seconds. They are fixed, and follow one another from the epoch.',
  },
  PYEXEC_BUDGET_CPU_SECONDS: {
    schema: integer(0, 999_999_999),
    fallback: '0',
    about:
      'CPU time of all runs of one caller in a window, in seconds; beyond it requests are answered 429. 0: no bound.',
  },
  PYEXEC_BUDGET_MEMORY_MIB_SECONDS: {
    schema: integer(0, 99_999_999_999),
    fallback: '0',
    about:
      'Memory limits of all runs of one caller times their wall time in a window, in MiB times seconds. 0: no bound.',
  },
  PYEXEC_CLEANUP_TTL: {
    schema: integer(1, 31_536_000),
    fallback: '300',
    about: 'How long a finished execution can be fetched, in seconds after it finished.',
  },
  PYEXEC_STORE_MAX_MB: {
    schema: integer(1, 1_048_576),
    fallback: '4096',
    about: 'Disk space for finished executions, their output and files, in MiB; the oldest go first.',
  },
  PYEXEC_STORE_MAX_EXECUTIONS: {
    schema: integer(1, 100_000_000),
    fallback: '100000',
    about: 'Finished executions that are kept; the oldest go first.',
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
