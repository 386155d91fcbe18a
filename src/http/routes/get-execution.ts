/**
 * GET /api/v1/executions/{id}: an execution as it stands, output so far included.
 *
 * Whatever is not the id of an execution we have is one and the same 404.
 */
import type { FastifyInstance } from 'fastify';
import { getExecutionSchema } from '../schemas/route-schemas.ts';
import type { RouteContext } from './route-context.ts';

export function getExecutionRoute(app: FastifyInstance, { executions, exchanges, resultForms }: RouteContext): void {
  app.get<{ Params: { id: string } }>(
    '/api/v1/executions/:id',
    { schema: getExecutionSchema },
    async (request, reply) => {
      const exchange = exchanges.of(request.raw);
      const execution = executions.get(request.params.id, exchange.caller);
      exchange.executionId = execution.id;
      const snapshot = await execution.snapshot();
      const form = resultForms.get(execution.form?.door ?? '');
      return reply
        .header('cache-control', 'no-store')
        .send(form ? form(snapshot, execution.form?.facts ?? {}) : snapshot);
    },
  );
}
