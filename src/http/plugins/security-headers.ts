/**
 * Headers for browsers that meet this service: nothing it answers is a page to be
 * framed, sniffed or scripted. /docs replaces the policy with its own.
 *
 * No Strict-Transport-Security: whether there is TLS is known to the proxy that ends it.
 */
import helmet from '@fastify/helmet';
import type { FastifyInstance } from 'fastify';

export async function secureHeaders(app: FastifyInstance): Promise<void> {
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"], baseUri: ["'none'"], formAction: ["'none'"] },
    },
    strictTransportSecurity: false,
    // Answers are fetched by programs on other origins' behalf only through CORS, which is not offered.
    crossOriginResourcePolicy: { policy: 'same-origin' },
    xFrameOptions: { action: 'deny' },
    xXssProtection: false,
    xDownloadOptions: false,
    xPermittedCrossDomainPolicies: false,
    originAgentCluster: false,
    xDnsPrefetchControl: false,
  });
}
