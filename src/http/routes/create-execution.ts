/**
 * POST /api/v1/exec: runs a project, given in one of three forms, and answers in
 * one of three.
 *
 * What can be refused by the headers alone is refused before the body is read. A
 * program that fails is a 200 with its outcome; a failure of ours is a problem. A
 * client that leaves cancels its run, unless it detached it or did not wait for it.
 */
import multipart from '@fastify/multipart';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isErrorCode, ServiceError } from '../../domain/errors.ts';
import type { Execution } from '../../domain/execution.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { Submitted } from '../../execution/executions.ts';
import { ClientGone, type Exchange } from '../exchanges.ts';
import { unknownField } from '../request-forms/field-errors.ts';
import { idempotencyKeyOf } from '../request-forms/idempotency-key.ts';
import { readJsonForm } from '../request-forms/json-form.ts';
import { readMultipartForm } from '../request-forms/multipart-form.ts';
import { gzipOf, queryOf, RAW_ARCHIVE_TYPES, readRawArchive } from '../request-forms/raw-archive.ts';
import type { AskedProject, FormContext } from '../request-forms/request-form.ts';
import { eventStream, NDJSON, sendEvents, SERVER_SENT_EVENTS } from '../response-forms/event-stream.ts';
import { JSON_TYPE, NDJSON_TYPE, negotiate, SSE_TYPE } from '../response-forms/negotiate.ts';
import { parsePrefer } from '../response-forms/prefer.ts';
import { createExecutionSchema } from '../schemas/route-schemas.ts';
import type { RouteContext } from './route-context.ts';

const REQUEST_TYPES: ReadonlySet<string> = new Set([JSON_TYPE, 'multipart/form-data', ...RAW_ARCHIVE_TYPES]);
const RESPONSE_FORMS = [JSON_TYPE, NDJSON_TYPE, SSE_TYPE] as const;

export async function createExecutionRoute(app: FastifyInstance, context: RouteContext): Promise<void> {
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    await scope.register(multipart);
    scope.addContentTypeParser(
      JSON_TYPE,
      { parseAs: 'buffer', bodyLimit: context.jsonBytesMax },
      (_request, body, done) => {
        done(null, body);
      },
    );
    scope.addContentTypeParser([...RAW_ARCHIVE_TYPES], (_request, _payload, done) => {
      done(null);
    });
    scope.post('/api/v1/exec', {
      schema: createExecutionSchema,
      onRequest: (request, _reply, done) => {
        checkHeaders(request, context);
        done();
      },
      handler: (request, reply) => createExecution(request, reply, context),
    });
  });
}

/** Refuses what the headers alone condemn. */
function checkHeaders(request: FastifyRequest, { executions, settings, jsonBytesMax }: RouteContext): void {
  executions.refuseIfDraining();
  negotiate(request.headers.accept, RESPONSE_FORMS);
  idempotencyKeyOf(request.headers);
  const mediaType = mediaTypeOf(request);
  if (mediaType !== '' && !REQUEST_TYPES.has(mediaType)) {
    throw new ServiceError('unsupported_media_type', 'The Content-Type is not one of those accepted here.');
  }
  const encoding = request.headers['content-encoding'];
  if (RAW_ARCHIVE_TYPES.includes(mediaType)) gzipOf(mediaType, encoding);
  else if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity') {
    throw new ServiceError('unsupported_content_encoding', 'A Content-Encoding is accepted for archives only.');
  }
  const length = Number(request.headers['content-length'] ?? 0);
  const maximum = mediaType === JSON_TYPE ? jsonBytesMax : settings.bodyBytesMax;
  if (length > maximum) {
    throw new ServiceError('body_too_large', `The body may have at most ${String(maximum)} bytes.`, {
      members: { maximum },
    });
  }
}

function mediaTypeOf(request: FastifyRequest): string {
  return (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

async function createExecution(request: FastifyRequest, reply: FastifyReply, context: RouteContext): Promise<unknown> {
  const { executions, exchanges, heartbeatMs } = context;
  const exchange = exchanges.of(request.raw);
  const form = negotiate(request.headers.accept, RESPONSE_FORMS);
  const prefer = parsePrefer(request.headers['prefer']);
  const isAsync = form === JSON_TYPE && prefer.respondAsync;

  const { run, project, detach } = await readForm(request, exchange, context);
  const idempotencyKey = idempotencyKeyOf(request.headers);
  const submitted = await executions.submit(run, project, exchange.caller, {
    idempotencyKey,
    onRepeated: () => void reply.header('idempotency-replayed', 'true'),
    isToldAtEnd: form === JSON_TYPE && !isAsync && !detach,
  });
  exchange.executionId = submitted.id;
  reply.header('x-execution-id', submitted.id).header('cache-control', 'no-store');
  // Who gives a key means to come back for the answer.
  if (!detach && !isAsync && idempotencyKey === undefined) cancelWhenGone(exchange, submitted);

  if (isAsync) {
    const waitMs = prefer.waitMs ?? 0;
    const isEnded = waitMs > 0 && (await endedWithin(waitMs, submitted, exchange));
    reply.header('preference-applied', prefer.waitMs === undefined ? 'respond-async' : 'respond-async, wait');
    if (isEnded) return answerEnded(request, reply, submitted, context);
    return reply
      .code(202)
      .header('location', `/api/v1/executions/${submitted.id}`)
      .send(await submitted.snapshot());
  }
  if (form === JSON_TYPE) {
    await endedWithin(undefined, submitted, exchange);
    return answerEnded(request, reply, submitted, context);
  }
  const framing = form === NDJSON_TYPE ? NDJSON : SERVER_SENT_EVENTS;
  return sendEvents(reply, framing, eventStream(submitted, { framing, after: 0, heartbeatMs, exchange }));
}

async function readForm(request: FastifyRequest, exchange: Exchange, context: RouteContext): Promise<AskedProject> {
  const { gate, settings, jsonBytesMax } = context;
  const form: FormContext = { gate, exchange, bodyBytesMax: settings.bodyBytesMax, jsonBytesMax };
  const mediaType = mediaTypeOf(request);
  try {
    if (RAW_ARCHIVE_TYPES.includes(mediaType)) return await readRawArchive(mediaType, form);
    const [stray] = queryOf(request.url).keys();
    if (stray !== undefined) throw unknownField(stray);
    if (request.isMultipart()) return await readMultipartForm(request, form);
    if (Buffer.isBuffer(request.body)) return await readJsonForm(request.body, form);
    throw new ServiceError('missing_project', 'The request has no body.');
  } catch (error) {
    // A connection that broke under the upload has many names; to us it is one thing.
    const isBroken = request.raw.destroyed && !request.raw.complete;
    if (exchange.gone.aborted || isBroken) throw new ClientGone('the upload ended early', { cause: error });
    throw error;
  }
}

/** Ends the run when its client leaves. */
export function cancelWhenGone({ gone }: Exchange, submitted: Submitted): void {
  const cancel = () => {
    submitted.cancel('client_disconnected');
  };
  if (gone.aborted) cancel();
  else gone.addEventListener('abort', cancel, { once: true });
}

/**
 * Waits for the end of the run, at most `waitMs`.
 * @throws {ClientGone} when nobody waits for it any more.
 */
export async function endedWithin(
  waitMs: number | undefined,
  submitted: Submitted,
  { gone }: Exchange,
): Promise<boolean> {
  const left = Promise.withResolvers<'left'>();
  const onLeft = () => {
    left.resolve('left');
  };
  gone.addEventListener('abort', onLeft, { once: true });
  if (gone.aborted) onLeft();
  let timer: NodeJS.Timeout | undefined;
  const waited = new Promise<'waited'>((resolve) => {
    if (waitMs !== undefined) timer = setTimeout(resolve, waitMs, 'waited');
  });
  const first = await Promise.race([submitted.ended.then(() => 'ended' as const), left.promise, waited]);
  clearTimeout(timer);
  gone.removeEventListener('abort', onLeft);
  if (first === 'left') throw new ClientGone('the client left while the program ran');
  return first === 'ended';
}

/** 200 for whatever the program did, a problem for what we failed at. */
async function answerEnded(
  request: FastifyRequest,
  reply: FastifyReply,
  submitted: Submitted,
  context: RouteContext,
): Promise<FastifyReply> {
  const execution = await submitted.snapshot();
  const { advisories, execution_id, hint, outcome } = execution;
  if (outcome?.kind === 'queue_timeout') throw notStarted(execution, request, context);
  const failure = outcome && failureOf(outcome);
  if (!failure) return reply.send(execution);
  const members = { execution_id, outcome, ...(hint && { hint }), ...(advisories && { advisories }) };
  const error = new ServiceError(failure.code, failure.detail, { members });
  return context.answers.send(error, request, reply);
}

/** A run that waited too long for a place, as a refusal that says when to come again. */
export function notStarted(
  { execution_id, outcome, error = '' }: Execution,
  request: FastifyRequest,
  { executions, exchanges }: RouteContext,
): ServiceError {
  return new ServiceError('queue_timeout', `${error.replace(/^n/, 'N')}.`, {
    retryAfterSeconds: executions.retryAfterSeconds(exchanges.of(request.raw).caller),
    members: { execution_id, outcome },
  });
}

function failureOf(outcome: Outcome) {
  if (outcome.kind === 'interrupted')
    return { code: 'sandbox_failed' as const, detail: `Interrupted: ${outcome.reason}.` };
  if (outcome.kind !== 'infrastructure_error') return undefined;
  return { code: isErrorCode(outcome.code) ? outcome.code : ('sandbox_failed' as const), detail: outcome.detail };
}
