/** Settings: sandboxes. */
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { type SettingTable, list, text } from '../setting-schemas.ts';

const bundledSeccompProfile = fileURLToPath(new URL('../../../seccomp/python.json', import.meta.url));

export const SANDBOXES_SETTINGS = {
  PYEXEC_RUNTIME: {
    schema: text,
    fallback: 'runc',
    about: 'OCI runtime of the sandboxes, as the daemon knows it (`runc`, `runsc` for gVisor, ...).',
  },
  PYEXEC_SECCOMP_PROFILE: {
    schema: text,
    fallback: bundledSeccompProfile,
    about: 'Seccomp profile of every sandbox. Default: the bundled `seccomp/python.json`.',
  },
  PYEXEC_DEFAULT_IMAGE: {
    schema: text,
    fallback: 'pyexec/data:latest',
    about: 'Image used when a request names none.',
  },
  PYEXEC_ALLOWED_IMAGES: {
    schema: list,
    fallback: 'pyexec/slim,pyexec/data',
    about:
      'Images a request may name: comma-separated references, `*` stands for any characters but `/`, and a reference without a tag for all its tags. The default image is always allowed. Nothing is ever pulled.',
  },
  PYEXEC_NETWORK_MODE: {
    schema: z
      .string()
      .regex(/^[a-z0-9][a-z0-9_.-]*$/i, 'must be a Docker network name')
      .refine((mode) => mode !== 'host' && !mode.startsWith('container'), {
        message: 'must not be the network of the host or of another container',
      }),
    fallback: 'none',
    about: 'Docker network for runs that ask for network access. `none`: such requests are refused.',
  },
  PYEXEC_DNS_SERVERS: { schema: list, fallback: '8.8.8.8,8.8.4.4', about: 'DNS servers for runs with network access.' },
} as const satisfies SettingTable;
