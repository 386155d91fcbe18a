/**
 * GET /api/v1/images: what can be run, by the names requests may use, and what is in
 * it as far as the image's own labels say.
 */
import type { FastifyInstance } from 'fastify';
import { listImagesSchema } from '../schemas/route-schemas.ts';
import type { RouteContext } from './route-context.ts';

const PYTHON_LABEL = 'pyexec.python';
const PACKAGES_LABEL = 'pyexec.packages';

export function listImagesRoute(app: FastifyInstance, { executions, exchanges, images }: RouteContext): void {
  app.get('/api/v1/images', { schema: listImagesSchema, config: { access: 'caller' } }, async (request, reply) => {
    const { caller } = exchanges.of(request.raw);
    const usable = (await images()).filter(({ reference }) => executions.mayUseImage(caller, reference));
    const listed = usable.map(({ reference, id, labels, sizeBytes, isDefault }) => {
      const { [PACKAGES_LABEL]: packages, ...others } = labels;
      return {
        reference,
        id,
        default: isDefault,
        ...(others[PYTHON_LABEL] === undefined ? {} : { python: others[PYTHON_LABEL] }),
        ...(packages === undefined ? {} : { packages: packagesOf(packages) }),
        labels: others,
        size_bytes: sizeBytes,
      };
    });
    return reply.header('cache-control', 'no-store').send({ images: listed });
  });
}

/** Versions by package. A label is text anybody who builds images may write, so what is no version is left out. */
function packagesOf(label: string): Readonly<Record<string, string>> {
  try {
    const packages: unknown = JSON.parse(label);
    if (typeof packages !== 'object' || packages === null) return {};
    return Object.fromEntries(
      Object.entries(packages).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
    );
  } catch {
    return {};
  }
}
