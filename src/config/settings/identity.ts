/** Settings: who may ask. */
import { z } from 'zod';
import { type SettingTable, boolean, integer, list, text } from '../setting-schemas.ts';

const WAYS = ['keys', 'jwt', 'proxy'];
/** Who can check a signature of these cannot make one. No `none`, no shared secrets. */
const ASYMMETRIC = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
const SCOPES = ['run', 'read', 'admin'];
/** Headers that mean something else already. */
const TAKEN_HEADERS = new Set(['authorization', 'cookie', 'host', 'x-api-key', 'x-forwarded-for', 'x-request-id']);

const each = (allowed: readonly string[]) =>
  list.refine((items) => items.length > 0 && items.every((item) => allowed.includes(item)), {
    message: `must be of ${allowed.join(', ')}`,
  });

/** A limit a minute, or `auto`. */
const rate = z.union([z.literal('auto'), integer(0, 1_000_000)], { error: 'must be auto, or between 0 and 1000000' });

export const IDENTITY_SETTINGS = {
  PYEXEC_AUTH: {
    schema: list
      .refine((ways) => ways.length > 0 && ways.every((way) => way === 'none' || WAYS.includes(way)), {
        message: `must be none, or of ${WAYS.join(', ')}`,
      })
      .refine((ways) => !ways.includes('none') || ways.length === 1, { message: 'must not combine none with another' }),
    fallback: 'none',
    about:
      'How callers say who they are; several ways may be open at once. `none`: not at all, on loopback. `keys`: API keys, made with `npm run -s keys -- create`. `jwt`: tokens of an identity provider. `proxy`: a header of a reverse proxy in `PYEXEC_TRUST_PROXY`.',
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
  PYEXEC_JWT_JWKS_URL: {
    schema: z.string().regex(/^(?:|https:\/\/[^\s]+|http:\/\/(?:127\.0\.0\.1|localhost|\[::1\])[:/][^\s]*)$/, {
      error: 'must be an https URL (http on loopback)',
    }),
    fallback: '',
    about: 'Where the public keys of the identity provider are: a JSON Web Key Set.',
  },
  PYEXEC_JWT_KEY_FILE: {
    schema: z.string(),
    fallback: '',
    about: 'Instead of the URL: a file with the public key as PEM, or with a key set. Read at boot.',
  },
  PYEXEC_JWT_ISSUER: { schema: z.string(), fallback: '', about: 'The `iss` a token must have.' },
  PYEXEC_JWT_AUDIENCE: { schema: list, fallback: '', about: 'The `aud` a token must have; one of several.' },
  PYEXEC_JWT_ALGORITHMS: {
    schema: each(ASYMMETRIC),
    fallback: 'RS256,PS256,ES256,EdDSA',
    about: 'Signature algorithms that are taken; asymmetric ones only.',
  },
  PYEXEC_JWT_CLOCK_SKEW: {
    schema: integer(0, 300),
    fallback: '30',
    about: 'Seconds by which the clocks of the identity provider and this server may differ.',
  },
  PYEXEC_JWT_CALLER_CLAIM: {
    schema: text,
    fallback: 'sub',
    about: 'The claim that names the caller; unique and stable at the identity provider.',
  },
  PYEXEC_JWT_SCOPES_CLAIM: {
    schema: text,
    fallback: 'scope',
    about: 'The claim that holds scopes, groups or roles: words separated by spaces, or a list.',
  },
  PYEXEC_JWT_SCOPES: {
    schema: list.refine(
      (pairs) =>
        pairs.length > 0 &&
        pairs.every((pair) => /^[^=]+=/.test(pair) && SCOPES.includes(pair.split('=').at(-1) ?? '')),
      { message: `must be word=scope, a scope being of ${SCOPES.join(', ')}` },
    ),
    fallback: 'pyexec:run=run,pyexec:read=read,pyexec:admin=admin',
    about: 'What the words of that claim mean here, as `word=scope`.',
  },
  PYEXEC_PROXY_HEADER: {
    schema: z
      .string()
      .regex(/^[a-z][a-z0-9-]{0,63}$/, 'must be a header name in lower case')
      .refine((name) => !TAKEN_HEADERS.has(name), { message: 'must not be a header that means something else' }),
    fallback: 'x-forwarded-user',
    about:
      'With `PYEXEC_AUTH=proxy`: the header in which a proxy of `PYEXEC_TRUST_PROXY` names the caller. The proxy must remove what clients send in it. From any other address it is ignored.',
  },
  PYEXEC_PROXY_SCOPES: { schema: each(SCOPES), fallback: 'run,read', about: 'What callers named by a proxy may do.' },
  PYEXEC_RATE_CALLER: {
    schema: rate,
    fallback: 'auto',
    about: 'Requests a minute of one caller; 0: as many as it likes. `auto`: 600, and 0 with `PYEXEC_AUTH=none`.',
  },
  PYEXEC_RATE_ADDRESS: {
    schema: rate,
    fallback: 'auto',
    about:
      'Requests a minute from one address (IPv6: one /64), before callers are recognised; 0: any number. `auto`: 1200, and 0 with `PYEXEC_AUTH=none`.',
  },
  PYEXEC_RATE_FAILURES: {
    schema: integer(0, 1_000_000),
    fallback: '20',
    about: 'Refused credentials a minute from one address; more are answered 429, unheard. 0: any number.',
  },
} as const satisfies SettingTable;
