/**
 * DELETE /api/v1/executions/{id}: ends a pending or running execution.
 *
 * The status answered is what was observed: `killed` once the run has really
 * ended. A run that takes longer to end is answered as it stands. An execution
 * that has ended stays as it is.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { cancelExecutionSchema } from '../schemas/route-schemas.ts';
import type { RouteContext } from './route-context.ts';

const WAIT_FOR_END_MS = 2_000;

export function cancelExecutionRoute(app: FastifyInstance, { executions, exchanges }: RouteContext): void {
  app.delete<{ Params: { id: string } }>(
    '/api/v1/executions/:id',
    { schema: cancelExecutionSchema },
    async (request, reply) => {
      const exchange = exchanges.of(request.raw);
      const execution = executions.get(request.params.id, exchange.caller);
      exchange.executionId = execution.id;
      execution.cancel('requested');
      const waiting = new AbortController();
      await Promise.race([execution.ended, delay(WAIT_FOR_END_MS, undefined, { signal: waiting.signal })]);
      waiting.abort();
      return reply.header('cache-control', 'no-store').send({ status: execution.status });
    },
  );
}
