/**
 * Every request has a caller before anything else is done for it: before its route
 * is looked at, its body read or a 100 sent.
 *
 * Deny by default. A route says what it asks of its caller; one that says nothing
 * asks for `read` where it only answers and for `run` everywhere else, and a path
 * that is no route asks for a caller like any other.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { hasScope, type Caller, type Scope } from '../../domain/caller.ts';
import { NotRecognised, type Credentials } from '../../domain/credentials.ts';
import { ServiceError } from '../../domain/errors.ts';
import type { Exchanges } from '../exchanges.ts';
import type { HttpDependencies } from '../http-settings.ts';
import { rateLimits, type RateLimits } from './rate-limits.ts';

/** `open`: for everybody; `docs`, `metrics`: as the operator decides; `caller`: for whoever was recognised. */
type Access = 'open' | 'docs' | 'metrics' | 'caller' | Scope;

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
  }
}

type Options = Pick<HttpDependencies, 'identify' | 'openRoutes' | 'rateLimits' | 'observeRefusedCaller'>;

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** To be called before any route is registered. */
export async function authenticate(app: FastifyInstance, exchanges: Exchanges, options: Options): Promise<void> {
  const limits = await rateLimits(app, exchanges, options.rateLimits);
  app.addHook('onRoute', (route) => {
    // The routes of the documentation page are its package's, and cannot say it themselves.
    if (route.url === '/docs' || route.url.startsWith('/docs/')) route.config = { access: 'docs', ...route.config };
  });
  app.addHook('onRequest', async (request, reply) => {
    const access = accessOf(request);
    if (access === 'open' || options.openRoutes.includes(access)) return;
    const exchange = exchanges.of(request.raw);
    await limits.countAddress(request, reply);
    const caller = await recognised(request, reply, limits, options);
    exchanges.recognised(exchange, { ...caller, origin: { requestId: request.id, address: request.ip } });
    await limits.countCaller(request, reply);
    const scope = scopeOf(access);
    if (scope !== undefined && !hasScope(caller, scope)) {
      throw new ServiceError('forbidden', `This needs the scope ${scope}, which you do not have.`, {
        members: { scope },
      });
    }
  });
}

/** @throws {ServiceError} unauthenticated, and rate_limited instead where that came too often from this address. */
async function recognised(
  request: FastifyRequest,
  reply: FastifyReply,
  limits: RateLimits,
  { identify, observeRefusedCaller }: Options,
): Promise<Caller> {
  try {
    return await identify(credentialsOf(request));
  } catch (error) {
    if (!(error instanceof NotRecognised)) throw error;
    await limits.countFailure(request, reply);
    const { method, id: requestId, ip: address } = request;
    const route = (request.is404 ? undefined : request.routeOptions.url) ?? 'unmatched';
    observeRefusedCaller?.({ reason: error.reason, requestId, address, method, route });
    throw error;
  }
}

function accessOf(request: FastifyRequest): Access {
  if (request.is404) return 'caller';
  return request.routeOptions.config.access ?? (SAFE_METHODS.has(request.method) ? 'read' : 'run');
}

function scopeOf(access: Access): Scope | undefined {
  if (access === 'metrics') return 'admin';
  return access === 'run' || access === 'read' || access === 'admin' ? access : undefined;
}

/** From the lines as they were sent: Node joins some repeated headers and drops others. */
function credentialsOf(request: FastifyRequest): Credentials {
  const { rawHeaders, socket } = request.raw;
  return {
    peerAddress: socket.remoteAddress ?? '',
    header: (wanted) =>
      rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === wanted),
  };
}
