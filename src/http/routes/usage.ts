/**
 * GET /api/v1/usage: what the caller used of its own budget in the window that is on.
 */
import type { FastifyInstance } from 'fastify';
import { usageSchema } from '../schemas/usage-schema.ts';
import type { RouteContext } from './route-context.ts';

export function usageRoute(app: FastifyInstance, { executions, exchanges }: RouteContext): void {
  app.get('/api/v1/usage', { schema: usageSchema }, async (request, reply) =>
    reply.header('cache-control', 'no-store').send(executions.usage(exchanges.of(request.raw).caller) ?? {}),
  );
}
