/** Settings: webhooks. */
import { z } from 'zod';
import { type SettingTable, boolean, integer, list } from '../setting-schemas.ts';

export const WEBHOOKS_SETTINGS = {
  PYEXEC_WEBHOOK_SECRET: {
    schema: z.string().regex(/^(.{16,})?$/, 'must have at least 16 characters'),
    fallback: '',
    about: 'Signs the messages of webhooks that bring no secret of their own; empty: those are refused.',
  },
  PYEXEC_WEBHOOK_ALLOW_HTTP: {
    schema: boolean,
    fallback: 'false',
    about: 'Whether webhooks may go to `http:` URLs, readable on the way.',
  },
  PYEXEC_WEBHOOK_PORTS: {
    schema: list.pipe(
      z
        .array(
          z
            .string()
            .regex(/^\d{1,5}$/, 'must be a list of port numbers')
            .transform(Number),
        )
        .min(1, 'must not be empty'),
    ),
    fallback: '443',
    about: 'Ports that webhooks may go to.',
  },
  PYEXEC_WEBHOOK_ALLOWED_HOSTS: {
    schema: list,
    fallback: '',
    about:
      'Host names, addresses and networks (`10.1.0.0/16`) that webhooks may go to although they are not on the public internet.',
  },
  PYEXEC_WEBHOOK_CA_FILE: {
    schema: z.string(),
    fallback: '',
    about: 'File of certificates (PEM) of authorities that receivers may have theirs from, beside the public ones.',
  },
  PYEXEC_WEBHOOK_TIMEOUT: {
    schema: integer(1, 300),
    fallback: '10',
    about: 'Seconds for one attempt to deliver a webhook, and for its name to be resolved.',
  },
  PYEXEC_WEBHOOK_ATTEMPTS: {
    schema: integer(1, 100),
    fallback: '8',
    about: 'Attempts to deliver a webhook before it becomes a dead letter.',
  },
  PYEXEC_WEBHOOK_RETRY: {
    schema: integer(1, 3600),
    fallback: '5',
    about: 'Seconds before the second attempt, give or take a half; doubled for each one after, up to an hour.',
  },
  PYEXEC_WEBHOOK_MAX_PENDING: {
    schema: integer(1, 1_000_000),
    fallback: '10000',
    about: 'Webhooks still to be delivered; beyond it requests for one are answered 429.',
  },
} as const satisfies SettingTable;
