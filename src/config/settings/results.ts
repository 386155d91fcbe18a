/** Settings: what a run gives back beside its output. */
import { type SettingTable, integer } from '../setting-schemas.ts';

export const RESULTS_SETTINGS = {
  PYEXEC_DISPLAYS: {
    schema: integer(0, 10_000),
    fallback: '100',
    about: 'Figures, tables and pictures a run may show; 0: none are taken.',
  },
  PYEXEC_DISPLAY_MB: {
    schema: integer(1, 256),
    fallback: '16',
    about:
      'MiB of what one run shows together, before base64; one display may have 4. What does not fit is left out and counted.',
  },
  PYEXEC_ARTIFACT_FILES: {
    schema: integer(0, 10_000),
    fallback: '256',
    about: 'Files a run may leave as artifacts; 0: none are collected.',
  },
  PYEXEC_ARTIFACT_MB: {
    schema: integer(1, 4096),
    fallback: '64',
    about: 'MiB of the artifacts of one run together. What does not fit is left out and named.',
  },
  PYEXEC_ARTIFACT_INLINE_KB: {
    schema: integer(0, 4096),
    fallback: '1024',
    about: 'Most KiB of one artifact a request may ask to have inside the answer.',
  },
} as const satisfies SettingTable;
