/** Settings: the server. */
import { z } from 'zod';
import { type SettingTable, integer, text } from '../setting-schemas.ts';

export const SERVER_SETTINGS = {
  PYEXEC_HOST: {
    schema: text,
    fallback: '127.0.0.1',
    about: 'Address to listen on. Without authentication in front keep it on loopback.',
  },
  PYEXEC_PORT: { schema: integer(0, 65_535), fallback: '8080', about: 'Port to listen on; 0 takes a free one.' },
  PYEXEC_LOG_LEVEL: {
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
      error: 'must be one of trace, debug, info, warn, error, fatal, silent',
    }),
    fallback: 'info',
    about: 'Least severe level that is logged.',
  },
  PYEXEC_DOCKER_SOCKET: { schema: text, fallback: '/var/run/docker.sock', about: 'Unix socket of the Docker daemon.' },
  PYEXEC_INSTANCE: {
    schema: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, 'must be 1-63 of A-Z a-z 0-9 _ . -'),
    fallback: '',
    about:
      'Name of this server in container labels. Two servers on one daemon need different names: on one machine the second of a name does not start, in containers of their own nothing notices. A server keeps its name over restarts, or it will not find the containers a crash left behind. Default: `<hostname>-<port>`.',
  },
} as const satisfies SettingTable;
