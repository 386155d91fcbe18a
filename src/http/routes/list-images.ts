/**
 * GET /api/v1/images: what can be run, by the names requests may use.
 */
import type { FastifyInstance } from 'fastify';
import { listImagesSchema } from '../schemas/route-schemas.ts';
import type { RouteContext } from './route-context.ts';

export function listImagesRoute(app: FastifyInstance, { images }: RouteContext): void {
  app.get('/api/v1/images', { schema: listImagesSchema }, async (_request, reply) => {
    const listed = (await images()).map(({ reference, id, labels, sizeBytes }) => ({
      reference,
      id,
      labels,
      size_bytes: sizeBytes,
    }));
    return reply.header('cache-control', 'no-store').send({ images: listed });
  });
}
