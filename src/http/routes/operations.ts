/**
 * What operators and their tools ask: alive, ready, counted.
 *
 * /health says that this process answers and depends on nothing else; /ready says
 * whether a run would be accepted now.
 */
import type { FastifyInstance } from 'fastify';
import { healthSchema, isolationSchema, metricsSchema, readySchema } from '../schemas/route-schemas.ts';
import type { RouteContext } from './route-context.ts';

export function operationsRoutes(app: FastifyInstance, { readiness, renderMetrics, isolation }: RouteContext): void {
  app.get('/health', { schema: healthSchema, config: { access: 'open' } }, async (_request, reply) =>
    reply.header('cache-control', 'no-store').send({ status: 'ok' }),
  );
  app.get('/ready', { schema: readySchema, config: { access: 'open' } }, async (_request, reply) => {
    const { ready, checks } = await readiness();
    return reply
      .code(ready ? 200 : 503)
      .header('cache-control', 'no-store')
      .send({ ready, checks });
  });
  app.get('/api/v1/security', { schema: isolationSchema, config: { access: 'caller' } }, async (_request, reply) =>
    reply.header('cache-control', 'no-store').send(await isolation()),
  );
  app.get('/metrics', { schema: metricsSchema, config: { access: 'metrics' } }, async (_request, reply) => {
    const { contentType, body } = await renderMetrics();
    return reply.header('cache-control', 'no-store').header('content-type', contentType).send(body);
  });
}
