/**
 * The multipart body of /exec/sync and /exec/async, as python-executor reads it:
 * `tar` is a file part, `metadata` a plain field whatever its content type; other
 * parts are ignored. The archive is checked while it arrives.
 */
import type { FastifyRequest } from 'fastify';
import { ServiceError } from '../../domain/errors.ts';
import type { Project } from '../../domain/project.ts';
import type { Exchange } from '../../http/exchanges.ts';
import type { ProjectGate } from '../../execution/project-gate.ts';
import { ContractError } from './run-requests.ts';

const METADATA_BYTES_MAX = 32 << 20;
const PARTS_MAX = 1000;

const PARSER_OPTIONS = {
  // Read as streams, so that a JSON content type does not make a field something else.
  isPartAFile: () => true,
  throwFileSizeLimit: false,
  limits: { parts: PARTS_MAX, files: PARTS_MAX, fieldNameSize: 1000, headerPairs: 64, fileSize: Infinity },
};

/** @throws {ContractError} for a body that is not a form, before it is read. */
export function requireForm(contentType: string): void {
  if (!/^\s*multipart\/form-data\s*(;|$)/i.test(contentType)) {
    throw new ContractError(400, "parsing form: request Content-Type isn't multipart/form-data");
  }
  if (!/;\s*boundary=\s*(?:"[^"]+"|[^\s";])/i.test(contentType)) {
    throw new ContractError(400, 'parsing form: no multipart boundary param in Content-Type');
  }
}

export interface MultipartProject {
  readonly project: Project;
  readonly metadata: string;
}

/**
 * Reads the whole form.
 * @throws {ContractError} with the sentences of the contract, in its order.
 * @throws {ServiceError} for an archive that is refused, or a body that is too large.
 */
export async function readMultipartProject(
  request: FastifyRequest,
  { gate, exchange, bodyBytesMax }: { gate: ProjectGate; exchange: Exchange; bodyBytesMax: number },
): Promise<MultipartProject> {
  const overflow = new AbortController();
  const signal = AbortSignal.any([exchange.gone, overflow.signal]);
  let bytes = 0;
  const count = (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > bodyBytesMax + METADATA_BYTES_MAX) {
      overflow.abort(new ServiceError('body_too_large', `The form exceeds ${String(bodyBytesMax)} bytes.`));
    }
  };
  exchange.request.on('data', count);
  let project: Project | undefined;
  let metadata = queryMetadata(request.url);
  try {
    for await (const part of request.parts(PARSER_OPTIONS)) {
      signal.throwIfAborted();
      if (part.type !== 'file') continue;
      // Every part is read as a file; whether the client meant one, its name tells.
      const isFile = part.filename !== undefined && part.filename !== '';
      if (part.fieldname === 'tar' && isFile && !project) {
        project = await gate.readArchive(part.file, { gzip: 'detect', signal });
      } else if (part.fieldname === 'metadata' && !isFile && metadata === undefined) {
        metadata = await readText(part.file);
      } else {
        part.file.resume();
      }
    }
    if (!project) throw new ContractError(400, 'missing tar file: http: no such file');
    if (metadata === undefined || metadata === '') throw new ContractError(400, 'missing metadata');
    return { project, metadata };
  } catch (error) {
    await project?.dispose();
    exchange.request.unpipe();
    if (signal.aborted) throw signal.reason;
    if (error instanceof ServiceError || error instanceof ContractError) throw error;
    throw new ContractError(400, 'parsing form: the multipart body is damaged or ends too early');
  } finally {
    exchange.request.off('data', count);
  }
}

/** A `metadata` in the query string wins over the field. */
function queryMetadata(url: string): string | undefined {
  const start = url.indexOf('?');
  return start === -1 ? undefined : (new URLSearchParams(url.slice(start)).get('metadata') ?? undefined);
}

async function readText(part: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of part) {
    bytes += chunk.length;
    if (bytes > METADATA_BYTES_MAX) throw new ContractError(400, 'parsing form: multipart: message too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
