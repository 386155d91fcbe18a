/** What the documentation says of the routes for webhooks. */
import { z } from 'zod';
import { executionId } from './execution-schema.ts';
import { problemResponses } from './problem-schema.ts';

const deadLetter = z
  .looseObject({
    delivery_id: z.string(),
    execution_id: executionId,
    url: z.string(),
    attempts: z.int().nonnegative(),
    last_error: z.string().meta({ description: '`status_<code>`, `timeout` or `unreachable`.' }),
    created_at: z.iso.datetime(),
    given_up_at: z.iso.datetime().optional(),
  })
  .meta({ id: 'DeadLetter', description: 'A webhook that could not be delivered.' });

const json = (description: string, schema: z.ZodType) => ({
  description,
  content: { 'application/json': { schema } },
});

export const deadLettersSchema = {
  operationId: 'listDeadLetters',
  tags: ['webhooks'],
  summary: 'The webhooks that could not be delivered',
  description: "Your own, everybody's for an admin; the newest first, a hundred at most.",
  response: {
    200: json('The dead letters.', z.looseObject({ dead_letters: z.array(deadLetter) })),
    ...problemResponses(),
  },
};

export const redeliverSchema = {
  operationId: 'redeliver',
  tags: ['webhooks'],
  summary: 'Try a dead letter again, with all its attempts',
  params: z.strictObject({ id: z.string() }),
  response: { 202: json('It is tried.', deadLetter), ...problemResponses('delivery_not_found') },
};
