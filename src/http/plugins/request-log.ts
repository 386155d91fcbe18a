/**
 * Request ids, the one log line of every request, and its observation.
 *
 * The line is written when the exchange is over, however it ended. It holds ids,
 * the route's pattern, sizes and times; never the URL (a query can hold stdin),
 * headers, code, output or environment values.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ANONYMOUS, NOBODY } from '../../domain/caller.ts';
import { ERRORS } from '../../domain/errors.ts';
import { type Exchange, type Exchanges } from '../exchanges.ts';
import type { RequestObservation } from '../http-settings.ts';

/** Not a registered status: what logs and metrics show when the client left before its answer. */
const CLIENT_LEFT = 499;
const REQUEST_ID = /^[A-Za-z0-9][A-Za-z0-9._~+/=-]{0,127}$/;
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE']);

/** The caller's X-Request-Id where it is well formed, a new id otherwise. */
export function requestIdOf(request: IncomingMessage): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
}

interface Connection {
  readonly client: string;
  readonly request_bytes: number;
  readonly response_bytes: number;
}

export class RequestLog {
  readonly #exchanges: Exchanges;
  readonly #observe: ((observation: RequestObservation) => void) | undefined;

  constructor(exchanges: Exchanges, observe: ((observation: RequestObservation) => void) | undefined) {
    this.#exchanges = exchanges;
    this.#observe = observe;
  }

  /** Starts the exchange of a request and echoes its id. */
  begin(request: FastifyRequest, reply: FastifyReply): void {
    reply.header('x-request-id', request.id);
    // Read now: a closed socket has no address any more.
    const client = request.ip;
    const { socket } = request.raw;
    const before = { read: socket.bytesRead, written: socket.bytesWritten };
    this.#exchanges.begin(request.raw, reply.raw, (exchange) => {
      this.#end(exchange, request, {
        client,
        // Without a length: what came after the headers, as far as the connection can tell.
        request_bytes: Number(request.headers['content-length'] ?? socket.bytesRead - before.read),
        response_bytes: socket.bytesWritten - before.written,
      });
    });
  }

  #end(exchange: Exchange, request: FastifyRequest, connection: Connection): void {
    const { response, problem, failure, gone, caller } = exchange;
    const durationMs = Math.round((performance.now() - exchange.startedAt) * 100) / 100;
    // A problem was sent whole before the connection was left open for the rest of the body.
    const code = failure ?? problem?.code;
    const status = code ? ERRORS[code].status : gone.aborted ? CLIENT_LEFT : response.statusCode;
    const method = METHODS.has(request.method) ? request.method : 'OTHER';
    const route = (request.is404 ? undefined : request.routeOptions.url) ?? 'unmatched';
    const line = {
      method,
      route,
      status,
      duration_ms: durationMs,
      ...connection,
      // Unchecked claims are not logged: this is who was recognised.
      ...(caller.id === ANONYMOUS.id || caller.id === NOBODY.id ? {} : { caller: caller.id }),
      execution_id: exchange.executionId,
      code,
      ...(problem && ERRORS[problem.code].status >= 500 && problem.cause !== undefined ? { err: problem.cause } : {}),
    };
    if (status >= 500) request.log.error(line, 'request');
    else request.log.info(line, 'request');
    this.#observe?.({ method, route, status, durationMs, ...(code === undefined ? {} : { code }) });
  }
}

export function logRequests(app: FastifyInstance, log: RequestLog): void {
  app.addHook('onRequest', (request, reply, done) => {
    log.begin(request, reply);
    done();
  });
}
