/** Settings: who may ask. */
import { type SettingTable, boolean, list } from '../setting-schemas.ts';

const WAYS = ['keys'];

export const IDENTITY_SETTINGS = {
  PYEXEC_AUTH: {
    schema: list
      .refine((ways) => ways.length > 0 && ways.every((way) => way === 'none' || WAYS.includes(way)), {
        message: `must be none, or of ${WAYS.join(', ')}`,
      })
      .refine((ways) => !ways.includes('none') || ways.length === 1, { message: 'must not combine none with another' }),
    fallback: 'none',
    about:
      'How callers say who they are; several ways may be open at once. `none`: not at all, on loopback. `keys`: API keys, made with `npm run -s keys -- create`.',
  },
  PYEXEC_ALLOW_UNAUTHENTICATED: {
    schema: boolean,
    fallback: 'false',
    about:
      'Whether a server with `PYEXEC_AUTH=none` may listen on another address than loopback: whoever reaches it can run programs. For a server that only a proxy with authentication of its own can reach; warned of at every boot.',
  },
  PYEXEC_OPEN_ROUTES: {
    schema: list.refine((routes) => routes.every((route) => route === 'docs' || route === 'metrics'), {
      message: 'must be of docs, metrics',
    }),
    fallback: 'docs',
    about:
      'Routes that need no caller beside `/health` and `/ready`. `docs`: `/docs` and `/openapi.json`, otherwise for every caller. `metrics`: `/metrics`, otherwise for the scope `admin`.',
  },
} as const satisfies SettingTable;
