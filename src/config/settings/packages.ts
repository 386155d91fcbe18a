/** Settings: packages of runs. */
import { z } from 'zod';
import { type SettingTable, boolean, credentials, httpUrl, integer, list } from '../setting-schemas.ts';

export const PACKAGES_SETTINGS = {
  PYEXEC_PACKAGES: {
    schema: z.enum(['off', 'allow-list', 'any'], { error: 'must be one of off, allow-list, any' }),
    fallback: 'any',
    about:
      'Which packages a request may ask for in `requirements`: none, those of `PYEXEC_PACKAGES_ALLOWED` with what they depend on, or any of the index. They are installed in a container of their own; runs have no network either way.',
  },
  PYEXEC_PACKAGES_ALLOWED: {
    schema: list,
    fallback: '',
    about: 'Names of packages, comma-separated, for `PYEXEC_PACKAGES=allow-list`.',
  },
  PYEXEC_INDEX_URL: {
    schema: httpUrl,
    fallback: 'https://pypi.org/simple',
    about: 'The package index (simple API), or a mirror of it: the only one that is asked.',
  },
  PYEXEC_INDEX_HOSTS: {
    schema: list,
    fallback: 'files.pythonhosted.org',
    about:
      'Further hosts the index keeps its files on, as comma-separated `host` or `host:port`, `http://host:port` for one without TLS. Builders reach the index and these, nothing else.',
  },
  PYEXEC_INDEX_CREDENTIALS: {
    schema: credentials,
    fallback: '',
    about:
      'Credentials for the index, as `user:password`; https only. The service sends them to the host of `PYEXEC_INDEX_URL` and nowhere else; neither builders nor runs know them.',
  },
  PYEXEC_INDEX_CA_FILE: {
    schema: z.string(),
    fallback: '',
    about:
      'File of certificates (PEM) of authorities that are trusted for the index and its hosts, beside the usual ones. Read at boot.',
  },
  PYEXEC_INDEX_PRIVATE: {
    schema: boolean,
    fallback: 'false',
    about: 'Whether these hosts may have addresses that are not public: an index of your own network.',
  },
  PYEXEC_CONSTRAINTS_FILE: {
    schema: z.string(),
    fallback: '',
    about:
      'File of constraints, in the form of requirements without extras and hashes, that every installation keeps to. Read at boot.',
  },
  PYEXEC_MAX_REQUIREMENTS: {
    schema: integer(1, 1000),
    fallback: '100',
    about: 'Requirements a request may name.',
  },
  PYEXEC_MAX_PACKAGES: {
    schema: integer(1, 2000),
    fallback: '200',
    about: 'Packages one installation may come to.',
  },
  PYEXEC_LAYER_MAX_MB: {
    schema: integer(1, 16_384),
    fallback: '512',
    about:
      'Largest installation, unpacked, in MiB. A builder may use a little more than twice of it as memory, while it runs.',
  },
  PYEXEC_LAYERS_MAX_MB: {
    schema: integer(1, 1_048_576),
    fallback: '4096',
    about: 'Disk for installations that are kept, in MiB; those used longest ago go first.',
  },
  PYEXEC_INSTALL_TIMEOUT: {
    schema: integer(1, 3600),
    fallback: '180',
    about: 'How long finding and installing packages may take, in seconds.',
  },
  PYEXEC_LOCK_TTL: {
    schema: integer(0, 31_536_000),
    fallback: '86400',
    about: 'How long the same requirements mean the same versions, in seconds; after that the index is asked again.',
  },
  PYEXEC_MAX_BUILDERS: {
    schema: integer(1, 64),
    fallback: '2',
    about: 'Installations at one time.',
  },
} as const satisfies SettingTable;
