/**
 * GET /api/v1/executions/{id}/events: the events after a position, then those that
 * follow, until the terminal one. Following is watching: leaving cancels nothing.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Submitted } from '../../execution/executions.ts';
import { eventStream, NDJSON, sendEvents, SERVER_SENT_EVENTS } from '../response-forms/event-stream.ts';
import { NDJSON_TYPE, negotiate, SSE_TYPE } from '../response-forms/negotiate.ts';
import { invalidField, unknownField } from '../request-forms/field-errors.ts';
import { queryOf } from '../request-forms/raw-archive.ts';
import { streamEventsSchema } from '../schemas/route-schemas.ts';
import type { RouteContext } from './route-context.ts';

const URL_PATTERN = '/api/v1/executions/:id/events';

type ById = FastifyRequest<{ Params: { id: string } }>;

export function streamEventsRoute(app: FastifyInstance, context: RouteContext): void {
  const handler = (request: ById, reply: FastifyReply) => streamEvents(request, reply, context);
  // Fastify's own HEAD would follow the execution to its end, to answer nothing.
  app.get(URL_PATTERN, { schema: streamEventsSchema, exposeHeadRoute: false }, handler);
  app.head(URL_PATTERN, { schema: { hide: true } }, handler);
}

async function streamEvents(request: ById, reply: FastifyReply, context: RouteContext): Promise<FastifyReply> {
  const { executions, exchanges, heartbeatMs } = context;
  const form = negotiate(request.headers.accept, [NDJSON_TYPE, SSE_TYPE]);
  const after = positionOf(request);
  const exchange = exchanges.of(request.raw);
  const execution = executions.get(request.params.id, exchange.caller);
  exchange.executionId = execution.id;
  reply.header('x-execution-id', execution.id);
  const framing = form === NDJSON_TYPE ? NDJSON : SERVER_SENT_EVENTS;
  if (request.method === 'HEAD') return reply.header('content-type', framing.contentType).send();
  if (form === SSE_TYPE && (await hasNothingToCome(execution, after))) return reply.code(204).send();
  return sendEvents(reply, framing, eventStream(execution, { framing, after, heartbeatMs, exchange }));
}

/**
 * Whether the execution has ended and there is no event after `after`. An
 * EventSource reconnects until it is answered 204 (WHATWG HTML, 9.2.3).
 */
async function hasNothingToCome(execution: Submitted & { readonly status: string }, after: number): Promise<boolean> {
  if (after === 0 || execution.status === 'pending' || execution.status === 'running') return false;
  const following = new AbortController();
  const first = await execution.follow(after, following.signal).next();
  following.abort();
  return first.done === true;
}

/**
 * The last event the reader has. A reconnecting EventSource repeats its URL and
 * sends Last-Event-ID, so the header is the newer of the two.
 */
function positionOf(request: FastifyRequest): number {
  const query = queryOf(request.url);
  for (const name of query.keys()) if (name !== 'after') throw unknownField(name);
  const given = query.getAll('after');
  if (given.length > 1) throw invalidField('after', 'can be given once only');
  const header = request.headers['last-event-id'];
  const positions: [string, string | undefined][] = [
    ['after', given[0]],
    ['Last-Event-ID', typeof header === 'string' && header !== '' ? header : undefined],
  ];
  let after = 0;
  for (const [name, text] of positions) {
    if (text === undefined) continue;
    if (!/^\d{1,15}$/.test(text)) throw invalidField(name, 'is not the number of an event');
    after = Number(text);
  }
  return after;
}
