/** Settings: limits of a run. */
import { availableParallelism } from 'node:os';
import { type SettingTable, integer, decimal } from '../setting-schemas.ts';

const MIB = 1 << 20;
const processors = availableParallelism();

export const LIMITS_SETTINGS = {
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
} as const satisfies SettingTable;
