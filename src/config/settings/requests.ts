/** Settings: requests. */
import { tmpdir } from 'node:os';
import { type SettingTable, integer, text } from '../setting-schemas.ts';

export const REQUESTS_SETTINGS = {
  PYEXEC_MAX_STDIN_MB: {
    schema: integer(1, 256),
    fallback: '16',
    about: 'Longest stdin of a run, in MiB. It is held in the sandbox and counts as its memory.',
  },
  PYEXEC_MAX_INPUTS: {
    schema: integer(1, 10_000),
    fallback: '1000',
    about: 'Most inputs of one execution.',
  },
  PYEXEC_MAX_INPUTS_TIMEOUT: {
    schema: integer(1, 3600),
    fallback: '300',
    about: 'Seconds for all inputs of an execution together; the others are told as not run.',
  },
  PYEXEC_MAX_INPUTS_OUTPUT_MB: {
    schema: integer(1, 256),
    fallback: '16',
    about: 'Output kept of all inputs of an execution together, in MiB.',
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
    about:
      'Connections at one time; beyond it the one that was idle for longest is closed. One caller may have requests in progress on three quarters of them.',
  },
} as const satisfies SettingTable;
