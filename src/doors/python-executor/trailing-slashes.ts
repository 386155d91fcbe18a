/**
 * A path of this door with a slash too many is sent to the path without it: 301 for
 * GET, 307 for what has a body or an effect. The query stays, the body is not read.
 */
import type { FastifyInstance } from 'fastify';

const PATHS: readonly (readonly ['GET' | 'POST' | 'DELETE', string])[] = [
  ['GET', '/health'],
  ['POST', '/api/v1/eval'],
  ['POST', '/api/v1/exec/sync'],
  ['POST', '/api/v1/exec/async'],
  ['GET', '/api/v1/executions/:id'],
  ['DELETE', '/api/v1/executions/:id'],
];

export function redirectTrailingSlashes(app: FastifyInstance): void {
  for (const [method, path] of PATHS) {
    app.route({
      method,
      url: `${path}/`,
      schema: { hide: true },
      ...(path === '/health' ? { config: { access: 'open' as const } } : {}),
      onRequest: async (request, reply) => {
        const [target = '', ...query] = request.url.split('?');
        const location = [target.slice(0, -1), ...query].join('?');
        return reply.redirect(location, method === 'GET' ? 301 : 307);
      },
      // Never reached: the hook has answered.
      handler: (_request, reply) => reply.code(404).send(),
    });
  }
}
