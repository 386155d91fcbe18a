/** Settings: analysis of submitted code. */
import { z } from 'zod';
import { SEVERITIES } from '../../domain/analysis.ts';
import { type SettingTable, integer } from '../setting-schemas.ts';

export const ANALYSIS_SETTINGS = {
  PYEXEC_ANALYSIS: {
    schema: z.enum(['off', 'on-request', 'block'], { error: 'must be one of off, on-request, block' }),
    fallback: 'on-request',
    about:
      'Whether bandit reads submitted code, in a container of its own: never, beside the run where a request asks for it (`analyze`), or before every run, which is refused for findings of `PYEXEC_ANALYSIS_BLOCKS_AT` and when its code cannot be analyzed in full. No guarantee either way.',
  },
  PYEXEC_ANALYSIS_BLOCKS_AT: {
    schema: z.enum(SEVERITIES, { error: 'must be one of low, medium, high' }),
    fallback: 'high',
    about: 'The least severity of a finding that refuses a run, for `PYEXEC_ANALYSIS=block`.',
  },
  PYEXEC_ANALYSIS_TIMEOUT: {
    schema: integer(2, 600),
    fallback: '30',
    about: 'How long an analysis may take, in seconds; as long again it may wait for its place.',
  },
  PYEXEC_ANALYSIS_MAX_MB: {
    schema: integer(1, 64),
    fallback: '8',
    about: 'Python source of a run that is analyzed, in MiB.',
  },
  PYEXEC_MAX_ANALYZERS: {
    schema: integer(1, 64),
    fallback: '1',
    about: 'Analyses at one time, beside the runs of `PYEXEC_MAX_CONCURRENT`.',
  },
} as const satisfies SettingTable;
