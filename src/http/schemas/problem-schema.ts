/**
 * The problem document (RFC 9457) every refusal and failure is answered with, and
 * which codes a route can answer, from the one table of errors.
 */
import { z } from 'zod';
import { advisoriesSchema } from './execution-schema.ts';
import { ERRORS, type ErrorCode } from '../../domain/errors.ts';

const codes = Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]];

export const problemSchema = z
  .looseObject({
    type: z.string(),
    title: z.string().meta({ description: 'The same for every occurrence of the code.' }),
    status: z.int(),
    code: z.enum(codes).meta({ description: 'Stable; see docs/ERRORS.md.' }),
    detail: z.string().meta({ description: 'What happened this time, for people.' }),
    error: z.string().meta({ description: 'The same sentence as detail.' }),
    request_id: z.string(),
    retryable: z.boolean().meta({ description: 'Whether the same request may succeed later.' }),
    field: z.string().optional().meta({ description: 'The field of the request at fault.' }),
    entry: z.string().optional().meta({ description: 'The entry of the archive at fault.' }),
    maximum: z.number().optional(),
    hint: z.string().optional().meta({ description: 'What to try next, where we know.' }),
    advisories: advisoriesSchema.optional(),
    execution_id: z.string().optional().meta({ description: 'The execution that failed, where one was accepted.' }),
  })
  .meta({ id: 'Problem', description: 'A refusal or a failure of the service. A program that fails is neither.' });

/** Responses for `codes`, one per status, each listing what it can mean. */
export function problemResponses(...listed: readonly ErrorCode[]) {
  const byStatus = new Map<number, string[]>();
  for (const code of new Set<ErrorCode>([...listed, 'shutting_down', 'internal'])) {
    const { status, title } = ERRORS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), `\`${code}\`: ${title}`]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, meanings]) => [
      status,
      {
        description: meanings.join('. '),
        content: { 'application/problem+json': { schema: problemSchema } },
      },
    ]),
  );
}

const ARCHIVE_FIRST: ErrorCode = 'not_a_tar';
const ARCHIVE_LAST: ErrorCode = 'unsupported_compression';

/** The codes of the archive group, as the table lists them. */
export const ARCHIVE_CODES: readonly ErrorCode[] = codes.slice(
  codes.indexOf(ARCHIVE_FIRST),
  codes.indexOf(ARCHIVE_LAST) + 1,
);
