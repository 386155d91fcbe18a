/**
 * The HTTP door: a Fastify server with every route of ours and every limit set.
 *
 * Each limit of the server is stated here, also where a default is already right:
 * the default is Fastify's or Node's decision, this file is ours.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import fastify, { LogController, type FastifyInstance } from 'fastify';
import { ServiceError } from '../domain/errors.ts';
import { deferContinue, Exchanges } from './exchanges.ts';
import {
  DEFAULT_CLOSE_GRACE_MS,
  DEFAULT_HEARTBEAT_MS,
  DEFAULT_STALL_TIMEOUT_MS,
  type HttpDependencies,
  type HttpSettings,
} from './http-settings.ts';
import { authenticate } from './plugins/authentication.ts';
import { answerBrokenConnections, endStalled } from './plugins/broken-connections.ts';
import { ErrorAnswers, handleErrors } from './plugins/error-handler.ts';
import { documentRoutes, rewriteDocsUrl } from './plugins/openapi.ts';
import { logRequests, RequestLog, requestIdOf } from './plugins/request-log.ts';
import { secureHeaders } from './plugins/security-headers.ts';
import { ProjectGate } from '../execution/project-gate.ts';
import { artifactRoutes } from './routes/artifacts.ts';
import { cancelExecutionRoute } from './routes/cancel-execution.ts';
import { createExecutionRoute } from './routes/create-execution.ts';
import { getExecutionRoute } from './routes/get-execution.ts';
import { listImagesRoute } from './routes/list-images.ts';
import { operationsRoutes } from './routes/operations.ts';
import type { RouteContext } from './routes/route-context.ts';
import { streamEventsRoute } from './routes/stream-events.ts';
import { usageRoute } from './routes/usage.ts';
import { webhookRoutes } from './routes/webhooks.ts';

const MIB = 1 << 20;
/** URL and headers together; what Node has, stated. Longer targets are a 414, more headers a 431. */
const HEADER_BYTES_MAX = 16 * 1024;
/** Nothing legitimate sends more; Node would silently drop those beyond its own limit. */
const HEADERS_MAX = 100;
/** Headers are small: whoever needs longer for them is holding the connection. */
const HEADERS_TIMEOUT_MS = 20_000;
/** Longer than the idle timeout of common proxies' upstream connections (nginx: 60 s), so they close first. */
const KEEP_ALIVE_MS = 72_000;
/** A connection is renewed now and then, which rebalances and bounds what one can hold. */
const REQUESTS_PER_SOCKET_MAX = 10_000;
/** Of a JSON body, beside a stdin in it: JSON is held in memory, several times while it is parsed. */
const JSON_BYTES_MAX = 16 * MIB;
const TCP_KEEP_ALIVE_MS = 30_000;

/** Another way in: registers routes of its own. See src/doors. */
export type Door = (app: FastifyInstance, context: RouteContext) => Promise<void>;

/** Builds the server, complete but not listening. */
export async function buildHttpServer(deps: HttpDependencies, doors: readonly Door[] = []): Promise<FastifyInstance> {
  const { settings } = deps;
  const exchanges = new Exchanges(settings.connectionsMax);
  const answers = new ErrorAnswers(exchanges);
  const requestLog = new RequestLog(exchanges, deps.observeRequest);
  const app = createServer(deps, exchanges, answers, requestLog);
  exchanges.watch(app.server);
  deferContinue(app.server);
  app.server.on('timeout', (socket: Socket) => {
    endStalled(exchanges, socket);
  });
  app.server.maxHeadersCount = 0;

  let isClosing = false;
  logRequests(app, requestLog);
  await secureHeaders(app);
  app.addHook('onRequest', (request, reply, done) => {
    if (isClosing) throw new ServiceError('shutting_down', 'The service is shutting down.', { retryAfterSeconds: 5 });
    if (request.raw.rawHeaders.length > 2 * HEADERS_MAX) {
      throw new ServiceError('headers_too_large', `A request may have at most ${String(HEADERS_MAX)} headers.`);
    }
    const ambiguity = ambiguityOf(request.raw);
    if (ambiguity !== undefined) {
      // What follows on the connection is no clearer.
      reply.header('connection', 'close');
      throw new ServiceError('invalid_request', ambiguity);
    }
    done();
  });
  await authenticate(app, exchanges, deps);
  handleErrors(app, answers);
  app.addHook('preParsing', (request, reply, payload, done) => {
    const exchange = exchanges.of(request.raw);
    if (exchange.awaitsContinue) reply.raw.writeContinue();
    exchange.awaitsContinue = false;
    done(null, payload);
  });
  app.addHook('preClose', async () => {
    isClosing = true;
    // Answers in progress are sent; then connections are closed whatever they do.
    await exchanges.idle(settings.closeGraceMs ?? DEFAULT_CLOSE_GRACE_MS);
  });

  const context: RouteContext = {
    ...deps,
    exchanges,
    answers,
    resultForms: new Map(),
    gate: new ProjectGate({
      limits: {
        ...settings.archiveLimits,
        bodyBytes: Math.min(settings.archiveLimits.bodyBytes, settings.bodyBytesMax),
      },
      spoolDirectory: settings.spoolDirectory,
      observe: (observation) => deps.observeArchive?.(observation),
    }),
    heartbeatMs: settings.heartbeatMs ?? DEFAULT_HEARTBEAT_MS,
    jsonBytesMax: jsonBytesMaxOf(settings),
  };
  // Outside POST /api/v1/exec a body means nothing, whatever type it says it has.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => {
    payload.resume();
    done(null);
  });
  await documentRoutes(app, deps.version);
  await createExecutionRoute(app, context);
  getExecutionRoute(app, context);
  cancelExecutionRoute(app, context);
  streamEventsRoute(app, context);
  artifactRoutes(app, context);
  listImagesRoute(app, context);
  webhookRoutes(app, context);
  usageRoute(app, context);
  operationsRoutes(app, context);
  for (const door of doors) await door(app, context);
  return app;
}

/** What Node's parser lets through and RFC 9112 does not: for whom a request is, and where it ends, must not depend on who reads it. */
function ambiguityOf({ rawHeaders, headers, httpVersionMajor, httpVersionMinor }: IncomingMessage): string | undefined {
  if (httpVersionMajor !== 1) return 'The request is not HTTP/1.1.';
  const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host').length;
  if (hosts > 1) return 'The request has more than one Host.';
  if (hosts === 0 && httpVersionMinor > 0) return 'The request has no Host.';
  const coding = headers['transfer-encoding'];
  if (coding === undefined || coding.toLowerCase() === 'chunked') return undefined;
  return 'The Transfer-Encoding may be chunked and nothing else.';
}

function jsonBytesMaxOf({ bodyBytesMax, stdinBytesMax }: HttpSettings): number {
  const stdinAsBase64 = Math.ceil((stdinBytesMax * 4) / 3);
  return Math.min(bodyBytesMax, JSON_BYTES_MAX + stdinAsBase64);
}

function createServer(
  deps: HttpDependencies,
  exchanges: Exchanges,
  answers: ErrorAnswers,
  requestLog: RequestLog,
): FastifyInstance {
  const { settings, logger } = deps;
  const { uploadTimeoutMs, trustProxy } = settings;
  return fastify({
    loggerInstance: logger,
    // request-log.ts writes the one line there is.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    rewriteUrl: ({ url = '' }) => rewriteDocsUrl(url),
    requestIdHeader: false,
    genReqId: requestIdOf,
    trustProxy: trustProxy.length === 0 ? false : [...trustProxy],
    // Fastify's default is 0, a body that never ends.
    requestTimeout: uploadTimeoutMs,
    // A socket that stands still while a body should come or an answer go; see endStalled.
    connectionTimeout: settings.stallTimeoutMs ?? DEFAULT_STALL_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxRequestsPerSocket: REQUESTS_PER_SOCKET_MAX,
    // For bodies that are buffered; streamed ones are counted where they are read.
    bodyLimit: jsonBytesMaxOf(settings),
    // Refused in an onRequest hook, in our own shape.
    return503OnClosing: false,
    forceCloseConnections: true,
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    // Longer than any target that fits the header limit: a long id is a 404 like any other.
    routerOptions: { maxParamLength: HEADER_BYTES_MAX, ignoreTrailingSlash: false, caseSensitive: true },
    http: {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: Math.min(HEADERS_TIMEOUT_MS, uploadTimeoutMs),
      requestTimeout: uploadTimeoutMs,
      connectionsCheckingInterval: Math.max(20, Math.min(1_000, Math.floor(uploadTimeoutMs / 4))),
      insecureHTTPParser: false,
      // What it says of a request without one is no problem document: see ambiguityOf.
      requireHostHeader: false,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
      noDelay: true,
    },
    clientErrorHandler: answerBrokenConnections(exchanges, ({ code, status }) => {
      logger.info({ code, status }, 'a connection sent no valid request');
      deps.observeRequest?.({ method: 'OTHER', route: 'unparsed', status, durationMs: 0, code });
    }),
    frameworkErrors: (error, request, reply) => {
      requestLog.begin(request, reply);
      answers.send(error, request, reply);
    },
  });
}
