/**
 * The one place where an error becomes an answer: problem documents, the headers
 * their statuses ask for, and the answers for paths and methods that do not exist.
 *
 * An answer to a client that has left is not sent. Nothing is logged here; the
 * request's one line (request-log.ts) says what the problem was.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ServiceError } from '../../domain/errors.ts';
import { ClientGone, type Exchanges } from '../exchanges.ts';
import { asServiceError, PROBLEM_TYPE, problemOf } from './service-errors.ts';
import { isUnread, lingering } from './unread-body.ts';

/** What a 415 tells the client it could have sent (RFC 9110, 15.5.16). */
const ACCEPTED_TYPES =
  'multipart/form-data, application/json, application/x-tar, application/tar, application/x-gtar, application/gzip, application/x-gzip, application/octet-stream';

/** When to try again where the error does not say. */
const RETRY_AFTER_SECONDS = 5;

export class ErrorAnswers {
  readonly #exchanges: Exchanges;

  constructor(exchanges: Exchanges) {
    this.#exchanges = exchanges;
  }

  /**
   * Answers `thrown`, whatever it is.
   * @param form a door with an error body of its own says what it is; without one, a problem document.
   */
  send(
    thrown: unknown,
    request: FastifyRequest,
    reply: FastifyReply,
    form?: { readonly bodyOf: (error: ServiceError) => unknown },
  ): FastifyReply {
    const exchange = this.#exchanges.of(request.raw);
    if (thrown instanceof ClientGone || exchange.gone.aborted || request.raw.socket.destroyed) {
      reply.hijack();
      reply.raw.destroy();
      return reply;
    }
    const error = asServiceError(thrown);
    exchange.problem = { code: error.code, cause: error.cause };
    const document = form ? form.bodyOf(error) : problemOf(error, request.id);
    const body = Buffer.from(JSON.stringify(document));
    reply
      .code(error.status)
      .header('content-type', `${form ? 'application/json' : PROBLEM_TYPE}; charset=utf-8`)
      .header('x-error-code', error.code)
      .header('cache-control', 'no-store');
    this.#statusHeaders(error, reply);
    if (!isUnread(request.raw)) return reply.send(body);
    reply.header('connection', 'close');
    // A client that waits for a 100 has sent nothing, and will not.
    if (exchange.awaitsContinue) return reply.send(body);
    return reply.header('content-length', body.length).send(lingering(body, request.raw));
  }

  #statusHeaders(error: ServiceError, reply: FastifyReply): void {
    const isBusy = error.status === 429 || error.status === 503;
    const retryAfterSeconds = error.retryAfterSeconds ?? (isBusy ? RETRY_AFTER_SECONDS : undefined);
    if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds);
    if (error.code === 'unauthenticated') reply.header('www-authenticate', 'Bearer realm="pyexec"');
    if (error.code === 'forbidden') {
      const scope = String(error.members['scope']);
      reply.header('www-authenticate', `Bearer realm="pyexec", error="insufficient_scope", scope="${scope}"`);
    }
    if (error.code === 'method_not_allowed') reply.header('allow', String(error.members['allow']));
    if (error.code === 'unsupported_media_type') reply.header('accept', ACCEPTED_TYPES);
    if (error.code === 'unsupported_content_encoding') reply.header('accept-encoding', 'gzip');
  }
}

/** Registers `answers` for everything thrown, and refuses what is not a route before its body is read. */
export function handleErrors(app: FastifyInstance, answers: ErrorAnswers): void {
  const routes = new KnownRoutes();
  app.addHook('onRoute', ({ url, method }) => {
    routes.add(url, method);
  });
  app.setErrorHandler((error, request, reply) => answers.send(error, request, reply));
  app.addHook('onRequest', async (request, reply) => {
    if (!request.is404) return;
    const path = request.url.split('?')[0] ?? '';
    const allow = path === '*' ? 'GET, HEAD, POST, DELETE, OPTIONS' : routes.methodsFor(path);
    if (allow === undefined) throw new ServiceError('route_not_found', 'There is no such route.');
    if (request.method === 'OPTIONS') return reply.code(204).header('allow', allow).send();
    throw new ServiceError('method_not_allowed', `This route answers ${allow}.`, { members: { allow } });
  });
  // Reached by no request: the hook above has answered. Fastify wants a handler all the same.
  app.setNotFoundHandler(() => {
    throw new ServiceError('route_not_found', 'There is no such route.');
  });
}

/** Which methods a path answers. */
class KnownRoutes {
  readonly #methods = new Map<string, { readonly pattern: RegExp; readonly methods: Set<string> }>();

  add(url: string, method: string | readonly string[]): void {
    let known = this.#methods.get(url);
    if (!known) {
      const source = url
        .split('/')
        .map((part) =>
          part === '*'
            ? '.*'
            : part.startsWith(':')
              ? '[^/]+'
              : part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`),
        )
        .join('/');
      this.#methods.set(url, (known = { pattern: new RegExp(`^${source}$`), methods: new Set() }));
    }
    for (const one of typeof method === 'string' ? [method] : method) known.methods.add(one);
  }

  methodsFor(path: string): string | undefined {
    const found = [...this.#methods.values()].filter(({ pattern }) => pattern.test(path));
    if (found.length === 0) return undefined;
    return [...new Set(found.flatMap(({ methods }) => [...methods])), 'OPTIONS'].join(', ');
  }
}
