/** Settings: warm sandboxes. */
import { type SettingTable, integer, list, poolSize } from '../setting-schemas.ts';

export const POOL_SETTINGS = {
  PYEXEC_POOL_SIZE: {
    schema: poolSize,
    fallback: '4',
    about:
      'Warm sandboxes of the default image that wait for a run, each used once: a number, or a range such as `2-8` within which it follows demand; 0 starts every run cold. One costs about 12 MB of memory and no CPU.',
  },
  PYEXEC_POOL_IMAGES: {
    schema: list,
    fallback: '',
    about: 'Warm sandboxes of further images, as comma-separated `image=size`.',
  },
  PYEXEC_POOL_PREIMPORTS: {
    schema: list,
    fallback: '',
    about:
      'Warm sandboxes that have imported modules already, for programs that import one of them, as comma-separated `image=module+module:size`, such as `pyexec/data=numpy+pandas:2`.',
  },
  PYEXEC_POOL_LAYERS: {
    schema: integer(0, 64),
    fallback: '4',
    about:
      'Sets of packages used lately for which warm sandboxes are kept, so that the second run with the same `requirements` is as fast as one without: two each, and by demand as many as their image has. Only for images that are kept warm themselves.',
  },
  PYEXEC_POOL_LAYER_IDLE: {
    schema: integer(1, 86_400),
    fallback: '600',
    about: 'Seconds without a use after which the warm sandboxes of a set of packages are let go.',
  },
  PYEXEC_POOL_MAX_AGE: {
    schema: integer(10, 86_400),
    fallback: '900',
    about: 'Seconds after which an unused warm sandbox is replaced.',
  },
} as const satisfies SettingTable;
