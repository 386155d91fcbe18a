/**
 * Webhooks that could not be delivered: what they are, and trying one again.
 *
 * Neither secrets nor messages are shown; the execution is there for who may see it.
 */
import type { FastifyInstance } from 'fastify';
import { ServiceError } from '../../domain/errors.ts';
import type { DeliveryNote } from '../../domain/webhook.ts';
import { deadLettersSchema, redeliverSchema } from '../schemas/webhooks-schema.ts';
import type { RouteContext } from './route-context.ts';

export function webhookRoutes(app: FastifyInstance, { executions, exchanges }: RouteContext): void {
  app.get('/api/v1/webhooks/dead-letters', { schema: deadLettersSchema }, async (request, reply) => {
    const { caller } = exchanges.of(request.raw);
    const letters = executions.webhooks?.deadLetters(caller) ?? [];
    return reply.header('cache-control', 'no-store').send({ dead_letters: letters.map(shown) });
  });
  app.post<{ Params: { id: string } }>(
    '/api/v1/webhooks/dead-letters/:id/redeliver',
    { schema: redeliverSchema },
    async (request, reply) => {
      const { caller } = exchanges.of(request.raw);
      const delivery = executions.webhooks?.redeliver(request.params.id, caller);
      if (!delivery) throw new ServiceError('delivery_not_found', 'There is no dead letter with this id.');
      return reply.code(202).header('cache-control', 'no-store').send(shown(delivery));
    },
  );
}

function shown({ id, executionId, url, attempts, lastError, createdAt, dueAt, state }: DeliveryNote) {
  return {
    delivery_id: id,
    execution_id: executionId,
    url,
    attempts,
    last_error: lastError,
    created_at: new Date(createdAt).toISOString(),
    ...(state === 'dead' ? { given_up_at: new Date(dueAt).toISOString() } : {}),
  };
}
