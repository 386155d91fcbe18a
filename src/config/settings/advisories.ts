/** Settings: known vulnerabilities of packages. */
import { z } from 'zod';
import { type SettingTable, boolean, credentials, httpUrl, integer, list } from '../setting-schemas.ts';

export const ADVISORIES_SETTINGS = {
  PYEXEC_ADVISORIES_URL: {
    schema: z.union([z.literal(''), httpUrl], { error: 'must be an http or https URL without credentials' }),
    fallback: '',
    about:
      'A source of advisories that speaks the API of OSV, such as `https://api.osv.dev`: packages that runs install are compared with it. Empty: they are not. `http:` only with `PYEXEC_ADVISORIES_PRIVATE=true`: who can change the answer on the way can hide what is in it.',
  },
  PYEXEC_ADVISORIES: {
    schema: z.enum(['report', 'block'], { error: 'must be one of report, block' }),
    fallback: 'report',
    about:
      'What a known vulnerability does: it stands in the answer (`advisories`), or the run is refused before its program begins, also where the source gives no answer and none of `PYEXEC_ADVISORIES_MAX_AGE` is kept.',
  },
  PYEXEC_ADVISORIES_ACCEPTED: {
    schema: list.pipe(
      z.array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$/, 'must be a list of ids such as CVE-2024-1234')),
    ),
    fallback: '',
    about:
      'Vulnerabilities that refuse no run, comma-separated: ids or aliases in full (`GHSA-…`, `PYSEC-…`, `CVE-…`). They are still listed, marked `accepted`.',
  },
  PYEXEC_ADVISORIES_CREDENTIALS: {
    schema: credentials,
    fallback: '',
    about: 'Credentials for the source, as `user:password`; https only.',
  },
  PYEXEC_ADVISORIES_CA_FILE: {
    schema: z.string(),
    fallback: '',
    about:
      'File of certificates (PEM) of authorities that are trusted for the source, beside the usual ones. Read at boot.',
  },
  PYEXEC_ADVISORIES_PRIVATE: {
    schema: boolean,
    fallback: 'false',
    about: 'Whether the source may have an address that is not public: a mirror in your own network.',
  },
  PYEXEC_ADVISORIES_TIMEOUT: {
    schema: integer(1, 120),
    fallback: '10',
    about: 'Seconds for one whole answer of the source; the longest a run waits for it.',
  },
  PYEXEC_ADVISORIES_REFRESH: {
    schema: integer(0, 31_536_000),
    fallback: '3600',
    about:
      'Age of an answer, in seconds, from which it is asked for anew: beside the runs, which use the one there is.',
  },
  PYEXEC_ADVISORIES_MAX_AGE: {
    schema: integer(0, 31_536_000),
    fallback: '86400',
    about: 'Age of an answer, in seconds, up to which it is good enough while a newer one cannot be had.',
  },
} as const satisfies SettingTable;
