/**
 * Every request has a caller before anything else is done for it: before its route
 * is looked at, its body read or a 100 sent.
 *
 * Deny by default. A route says what it asks of its caller; one that says nothing
 * asks for `read` where it only answers and for `run` everywhere else, and a path
 * that is no route asks for a caller like any other.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { hasScope, type Caller, type Scope } from '../../domain/caller.ts';
import type { Credentials } from '../../domain/credentials.ts';
import { ServiceError } from '../../domain/errors.ts';
import type { Exchanges } from '../exchanges.ts';

/** `open`: for everybody; `docs`, `metrics`: as the operator decides; `caller`: for whoever was recognised. */
type Access = 'open' | 'docs' | 'metrics' | 'caller' | Scope;

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
  }
}

export interface AuthenticationOptions {
  readonly identify: (credentials: Credentials) => Promise<Caller>;
  /** Which of `docs` and `metrics` are for everybody. */
  readonly openRoutes: readonly string[];
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** To be called before any route is registered. */
export function authenticate(app: FastifyInstance, exchanges: Exchanges, options: AuthenticationOptions): void {
  const { identify, openRoutes } = options;
  app.addHook('onRoute', (route) => {
    // The routes of the documentation page are its package's, and cannot say it themselves.
    if (route.url === '/docs' || route.url.startsWith('/docs/')) route.config = { access: 'docs', ...route.config };
  });
  app.addHook('onRequest', async (request) => {
    const access = accessOf(request);
    if (access === 'open' || openRoutes.includes(access)) return;
    const exchange = exchanges.of(request.raw);
    const caller = await identify(credentialsOf(request));
    exchange.caller = { ...caller, origin: { requestId: request.id, address: request.ip } };
    const scope = scopeOf(access);
    if (scope !== undefined && !hasScope(caller, scope)) {
      throw new ServiceError('forbidden', `This needs the scope ${scope}, which you do not have.`, {
        members: { scope },
      });
    }
  });
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
