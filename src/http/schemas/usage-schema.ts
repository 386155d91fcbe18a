/** What the documentation says of GET /api/v1/usage. */
import { z } from 'zod';
import { problemResponses } from './problem-schema.ts';

const seconds = z.number().nonnegative();
const part = z.looseObject({
  used: seconds,
  reserved: seconds.meta({ description: 'What your runs in progress may still use of what is left.' }),
  limit: seconds.optional().meta({ description: 'Absent: no bound.' }),
});

const usageAnswer = z
  .looseObject({
    window_seconds: seconds.optional(),
    window_ends_at: z.iso.datetime().optional(),
    cpu_seconds: part.optional(),
    memory_mib_seconds: part.optional().meta({ description: 'Memory limits in MiB times wall time in seconds.' }),
  })
  .meta({ id: 'CallerUsage' });

export const usageSchema = {
  operationId: 'usage',
  tags: ['executions'],
  summary: 'What you used of your budget',
  response: {
    200: {
      description: 'In the window that is on.',
      content: { 'application/json': { schema: usageAnswer } },
    },
    ...problemResponses(),
  },
};
