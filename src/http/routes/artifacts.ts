/**
 * GET /api/v1/executions/{id}/artifacts: what a run left, as a list or as a tar;
 * GET .../artifacts/{path}: one file of it.
 *
 * The content is a stranger's: no answer here may become a page. Everything but
 * plain pictures and text is for saving, nothing is sniffed or scripted, and a path
 * is looked up in the list of artifacts, never on a disk.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ServiceError } from '../../domain/errors.ts';
import { contentDisposition, SANDBOX_CSP } from '../response-forms/attachment.ts';
import { byteRange } from '../response-forms/byte-range.ts';
import { JSON_TYPE, negotiate } from '../response-forms/negotiate.ts';
import { getArtifactSchema, listArtifactsSchema } from '../schemas/route-schemas.ts';
import type { RouteContext } from './route-context.ts';

const LIST_URL = '/api/v1/executions/:id/artifacts';
const FILE_URL = `${LIST_URL}/*`;
const TAR_TYPE = 'application/x-tar';
/** An artifact never changes, but who may see it is asked anew each time. */
const CACHE_CONTROL = 'private, no-cache';

type ById = FastifyRequest<{ Params: { id: string; '*'?: string } }>;

export function artifactRoutes(app: FastifyInstance, context: RouteContext): void {
  const list = (request: ById, reply: FastifyReply) => listArtifacts(request, reply, context);
  const file = (request: ById, reply: FastifyReply) => getArtifact(request, reply, context);
  // Fastify's own HEAD would read the whole file, to answer nothing.
  app.get(LIST_URL, { schema: listArtifactsSchema, exposeHeadRoute: false }, list);
  app.head(LIST_URL, { schema: { hide: true } }, list);
  app.get(FILE_URL, { schema: getArtifactSchema, exposeHeadRoute: false }, file);
  app.head(FILE_URL, { schema: { hide: true } }, file);
}

function resultOf(request: ById, { executions, exchanges }: RouteContext) {
  const exchange = exchanges.of(request.raw);
  const execution = executions.get(request.params.id, exchange.caller);
  exchange.executionId = execution.id;
  return execution.result();
}

async function listArtifacts(request: ById, reply: FastifyReply, context: RouteContext): Promise<FastifyReply> {
  const form = negotiate(request.headers.accept, [JSON_TYPE, TAR_TYPE]);
  const result = resultOf(request, context);
  reply.header('cache-control', 'no-store').header('vary', 'accept');
  if (form === JSON_TYPE) {
    const { execution_id, status, artifacts = [], artifacts_skipped } = result;
    return reply.send({ execution_id, status, artifacts, ...(artifacts_skipped ? { artifacts_skipped } : {}) });
  }
  const tar = context.executions.artifacts.tar(result);
  reply
    .header('content-type', TAR_TYPE)
    .header('content-length', tar.bytes)
    .header('content-disposition', contentDisposition(`${result.execution_id}.tar`, TAR_TYPE));
  return request.method === 'HEAD' ? reply.send() : reply.send(await tar.read(0, tar.bytes));
}

async function getArtifact(request: ById, reply: FastifyReply, context: RouteContext): Promise<FastifyReply> {
  const result = resultOf(request, context);
  const { artifact, bytes, read } = context.executions.artifacts.file(result, request.params['*'] ?? '');
  const etag = `"${artifact.sha256}"`;
  reply
    .header('etag', etag)
    .header('accept-ranges', 'bytes')
    .header('cache-control', CACHE_CONTROL)
    .header('content-security-policy', SANDBOX_CSP);
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch, 'if-range': ifRange } = request.headers;
  if (ifMatch !== undefined && !names(ifMatch, [etag])) {
    throw new ServiceError('precondition_failed', `The file is ${etag}, which If-Match does not name.`);
  }
  if (ifNoneMatch !== undefined && names(ifNoneMatch, [etag, `W/${etag}`])) return reply.code(304).send();

  // A range is a thing of GET alone (RFC 9110, 14.2).
  const isRangeAsked = request.method === 'GET' && (ifRange === undefined || ifRange === etag);
  const asked = isRangeAsked ? request.headers.range : undefined;
  const range = byteRange(asked, bytes);
  if (range === 'unsatisfiable') {
    reply.header('content-range', `bytes */${String(bytes)}`);
    throw new ServiceError('range_not_satisfiable', `The file has ${String(bytes)} bytes.`);
  }
  const { start, end } = range ?? { start: 0, end: bytes };
  if (range) reply.code(206).header('content-range', `bytes ${String(start)}-${String(end - 1)}/${String(bytes)}`);
  const { media_type: type } = artifact;
  reply
    .header('content-type', type.startsWith('text/') ? `${type}; charset=utf-8` : type)
    .header('content-length', end - start)
    .header('content-disposition', contentDisposition(artifact.path, type));
  return request.method === 'HEAD' ? reply.send() : reply.send(await read(start, end));
}

/** Whether a list of tags names one of these, or all there are with `*` (RFC 9110, 13.1.1 and 13.1.2). */
function names(header: string, tags: readonly string[]): boolean {
  if (header.trim() === '*') return true;
  // A tag may hold a comma.
  return (header.match(/(?:W\/)?"[^"]*"/g) ?? []).some((tag) => tags.includes(tag));
}
