/**
 * python-executor's routes: /exec/sync, /exec/async and /eval, so that its clients
 * change a URL and nothing else. Fetching and ending an execution by id are the
 * same routes as ours; docs/COMPATIBILITY.md has the differences.
 *
 * Errors are an object with one field, `error`. A run that fails is a 200; one for
 * which no place became free in time is refused like one for which there was none.
 */
import multipart from '@fastify/multipart';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { neededPackages } from '../../dependencies/imported-packages.ts';
import { ServiceError } from '../../domain/errors.ts';
import type { RunRequest } from '../../domain/plan.ts';
import type { Project } from '../../domain/project.ts';
import type { Submitted, SubmitOptions } from '../../execution/executions.ts';
import { ClientGone } from '../../http/exchanges.ts';
import { asServiceError } from '../../http/plugins/service-errors.ts';
import { idempotencyKeyOf } from '../../http/request-forms/idempotency-key.ts';
import { cancelWhenGone, endedWithin, notStarted } from '../../http/routes/create-execution.ts';
import type { RouteContext } from '../../http/routes/route-context.ts';
import { firstJsonValue, LenientJsonError, parseObject } from './lenient-json.ts';
import { readMultipartProject, requireForm } from './multipart-project.ts';
import { imageForVersion, imagesByVersion } from './python-versions.ts';
import { resultForm } from './result-form.ts';
import { ContractError, evalRequestOf, refuseLargeCode, runRequestOfMetadata } from './run-requests.ts';
import { toolDefinitions, type ToolFacts } from './tool-definitions.ts';
import { redirectTrailingSlashes } from './trailing-slashes.ts';
import { asyncSchema, evalSchema, syncSchema, toolsSchema } from './wire-schemas.ts';
import { refusalInWireWords } from './wire-words.ts';

export interface PythonExecutorSettings {
  /** `version=image` pairs for `python_version`. */
  readonly pythonImages: readonly (readonly [string, string])[];
  readonly detectsImports: boolean;
  /** What a tool's description says about a run. */
  readonly toolFacts: ToolFacts;
}

/** Its name in the records: by it an execution is shown in its form, after a restart too. */
const DOOR = 'python-executor';

/** `-` opts out of everything. */
function requirementsOf(text: string): { readonly requirements?: string } {
  return ['', '-'].includes(text.trim()) ? {} : { requirements: text };
}

export function pythonExecutorDoor(settings: PythonExecutorSettings) {
  return async (app: FastifyInstance, context: RouteContext): Promise<void> => {
    context.resultForms.set(DOOR, (execution, facts) => ({ ...resultForm(execution), ...facts }));
    app.get<{ Querystring: { format?: string } }>(
      '/api/v1/tools',
      { schema: toolsSchema, config: { access: 'caller' } },
      (request, reply) => reply.send(toolDefinitions(request.query.format ?? 'openai', settings.toolFacts)),
    );
    await app.register(async (scope) => {
      scope.setErrorHandler((error, request, reply) => answerError(error, request, reply, context));
      scope.removeAllContentTypeParsers();
      await scope.register(multipart);
      scope.addContentTypeParser('*', (_request, _payload, done) => {
        done(null);
      });
      scope.addHook('onRequest', (request, _reply, done) => {
        context.executions.refuseIfDraining();
        idempotencyKeyOf(request.headers);
        requireForm(request.headers['content-type'] ?? '');
        done();
      });
      scope.post('/api/v1/exec/sync', { schema: syncSchema }, (request, reply) =>
        execute(request, reply, context, 'sync'),
      );
      scope.post('/api/v1/exec/async', { schema: asyncSchema }, (request, reply) =>
        execute(request, reply, context, 'async'),
      );
    });
    await app.register(async (scope) => {
      scope.setErrorHandler((error, request, reply) => answerError(error, request, reply, context));
      scope.removeAllContentTypeParsers();
      // JSON under any content type, as `curl -d` sends it, and under what is none.
      scope.addHook('onRequest', (request, _reply, done) => {
        context.executions.refuseIfDraining();
        idempotencyKeyOf(request.headers);
        request.raw.headers['content-type'] = 'application/json';
        done();
      });
      scope.addContentTypeParser(
        '*',
        { parseAs: 'buffer', bodyLimit: context.jsonBytesMax },
        (_request, body, done) => {
          done(null, body);
        },
      );
      scope.post('/api/v1/eval', { schema: evalSchema }, (request, reply) =>
        evaluate(request, reply, context, settings),
      );
    });
    redirectTrailingSlashes(app);
  };
}

async function execute(
  request: FastifyRequest,
  reply: FastifyReply,
  context: RouteContext,
  mode: 'sync' | 'async',
): Promise<unknown> {
  const { executions, exchanges, gate, settings } = context;
  const exchange = exchanges.of(request.raw);
  const { project, metadata } = await readMultipartProject(request, {
    gate,
    exchange,
    bodyBytesMax: settings.bodyBytesMax,
  });
  let asked: ReturnType<typeof runRequestOfMetadata>;
  try {
    asked = named('parsing metadata', () => runRequestOfMetadata(parseObject(metadata)));
  } catch (error) {
    await project.dispose();
    throw error;
  }
  const run = { ...asked.run, ...requirementsOf(asked.requirements) };
  const submitted = await executions.submit(run, project, exchange.caller, {
    form: { door: DOOR },
    isToldAtEnd: mode === 'sync',
    ...keyed(request, reply),
  });
  exchange.executionId = submitted.id;
  if (mode === 'async') return reply.code(202).send({ execution_id: submitted.id });
  return answerWhenEnded(request, reply, submitted, context);
}

async function evaluate(
  request: FastifyRequest,
  reply: FastifyReply,
  context: RouteContext,
  { pythonImages, detectsImports }: PythonExecutorSettings,
): Promise<unknown> {
  const { executions, exchanges, gate, images } = context;
  const exchange = exchanges.of(request.raw);
  const text = Buffer.isBuffer(request.body) ? request.body.toString('utf8') : '';
  const asked = named('invalid JSON', () => evalRequestOf(parseObject(firstJsonValue(text))));
  let run: RunRequest = asked.run;
  if (asked.pythonVersion !== undefined) {
    const available = imagesByVersion(await images(), pythonImages);
    run = { ...run, image: imageForVersion(asked.pythonVersion, available) };
  }
  refuseLargeCode(asked.files);
  const project: Project = await gate.buildFromFiles(
    asked.files.map(({ path, content }) => ({ path, content: Buffer.from(content, 'utf8') })),
    exchange.gone,
  );
  const packages =
    detectsImports && asked.requirements.trim() !== '-'
      ? neededPackages(new Map(asked.files.map(({ path, content }) => [path, content])))
      : [];
  run = { ...run, ...requirementsOf(asked.requirements), suggestedPackages: packages };
  const form = { door: DOOR, ...(packages.length > 0 ? { facts: { detected_packages: packages } } : {}) };
  const submitted = await executions.submit(run, project, exchange.caller, {
    form,
    isToldAtEnd: true,
    ...keyed(request, reply),
  });
  exchange.executionId = submitted.id;
  return answerWhenEnded(request, reply, submitted, context);
}

/** The key of a request that may be repeated, and the header that says that it was. */
function keyed(request: FastifyRequest, reply: FastifyReply): SubmitOptions {
  return {
    idempotencyKey: idempotencyKeyOf(request.headers),
    onRepeated: () => void reply.header('idempotency-replayed', 'true'),
  };
}

/** What is wrong with JSON or its fields, under the prefix the contract has for it. */
function named<T>(prefix: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof LenientJsonError ? new ContractError(400, `${prefix}: ${error.message}`) : error;
  }
}

async function answerWhenEnded(
  request: FastifyRequest,
  reply: FastifyReply,
  submitted: Submitted,
  context: RouteContext,
): Promise<unknown> {
  const exchange = context.exchanges.of(request.raw);
  if (idempotencyKeyOf(request.headers) === undefined) cancelWhenGone(exchange, submitted);
  await endedWithin(undefined, submitted, exchange);
  const execution = await submitted.snapshot();
  if (execution.outcome?.kind === 'queue_timeout') throw notStarted(execution, request, context);
  return reply.header('cache-control', 'no-store').send({ ...resultForm(execution), ...submitted.form?.facts });
}

/** One field, `error`; our code goes into a header. */
function answerError(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  context: RouteContext,
): FastifyReply {
  const exchange = context.exchanges.of(request.raw);
  if (thrown instanceof ClientGone || exchange.gone.aborted) return context.answers.send(thrown, request, reply);
  let error: ServiceError;
  if (thrown instanceof ContractError) {
    error = new ServiceError(thrown.status === 413 ? 'body_too_large' : 'invalid_request', thrown.message);
  } else error = asServiceError(thrown);
  return context.answers.send(error, request, reply, { bodyOf: (refusal) => ({ error: refusalInWireWords(refusal) }) });
}
