/** Settings: warm sandboxes. */
import { type SettingTable, integer, list } from '../setting-schemas.ts';

export const POOL_SETTINGS = {
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
} as const satisfies SettingTable;
