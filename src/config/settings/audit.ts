/** Settings: the audit log. */
import { z } from 'zod';
import { type SettingTable, integer } from '../setting-schemas.ts';

export const AUDIT_SETTINGS = {
  PYEXEC_AUDIT: {
    schema: z.enum(['off', 'on', 'required'], { error: 'must be one of off, on, required' }),
    fallback: 'on',
    about:
      'The audit log in `audit/` of the state directory. `on`: a disk that is full stops no run; lines wait in memory and are written later. `required`: a run is accepted only when its line is on the disk, which costs a flush each, and refused (503) when it cannot be.',
  },
  PYEXEC_AUDIT_FILE_MB: {
    schema: integer(1, 4096),
    fallback: '64',
    about: 'Size at which the log goes on in a new file, in MiB. Files are never removed by the service.',
  },
  PYEXEC_AUDIT_FILE_DAYS: {
    schema: integer(1, 3650),
    fallback: '30',
    about: 'Age at which the log goes on in a new file, in days.',
  },
} as const satisfies SettingTable;
