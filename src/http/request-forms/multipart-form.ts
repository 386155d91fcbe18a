/**
 * The request form browsers and HTTP libraries produce: a part `tar` and,
 * optionally, a part `metadata` with the options as JSON, in either order.
 *
 * Every part is read as a stream whatever its headers say, so the archive is
 * checked while it arrives and nothing is buffered that has no cap of its own. Any
 * other part, or a second one of the same name, is refused at its header.
 */
import type { FastifyRequest } from 'fastify';
import { ServiceError } from '../../domain/errors.ts';
import type { Project } from '../../domain/project.ts';
import { invalidField, unknownField } from './field-errors.ts';
import type { AskedProject, FormContext } from './request-form.ts';
import { parseRunOptions, type AskedRun } from './run-options.ts';
import { parseStrictJson } from './strict-json.ts';

const PARSER_OPTIONS = {
  // Fields and files differ in nothing but a header the client chose.
  isPartAFile: () => true,
  // Sizes are counted here, part by part and in total.
  throwFileSizeLimit: false,
  limits: { parts: 4, files: 4, fieldNameSize: 100, headerPairs: 32, fileSize: Infinity },
};

/** @throws {ServiceError} invalid_multipart, body_too_large, unknown_field, missing_project and those of the parts. */
export async function readMultipartForm(request: FastifyRequest, context: FormContext): Promise<AskedProject> {
  const { exchange, gate, bodyBytesMax, jsonBytesMax } = context;
  const overflow = new AbortController();
  const signal = AbortSignal.any([exchange.gone, overflow.signal]);
  const counting = countBytes(context, overflow);
  let project: Project | undefined;
  let asked: AskedRun | undefined;
  try {
    const parts = request.parts(PARSER_OPTIONS)[Symbol.asyncIterator]();
    for (;;) {
      const step = await abortable(parts.next(), signal);
      if (step.done) break;
      const part = step.value;
      if (part.type !== 'file') throw invalidField(part.fieldname, 'is not a part that can be read');
      switch (part.fieldname) {
        case 'tar':
          if (project) throw invalidField('tar', 'is there twice');
          project = await gate.readArchive(part.file, { gzip: 'detect', signal });
          break;
        case 'metadata':
          if (asked) throw invalidField('metadata', 'is there twice');
          asked = parseRunOptions(await readJson(part.file, Math.min(jsonBytesMax, bodyBytesMax), signal));
          break;
        default:
          // Typed as a string, but undefined where the part has no name.
          throw unknownField(String(part.fieldname));
      }
    }
    if (!project) throw new ServiceError('missing_project', 'The form has no part "tar".');
    return { ...(asked ?? parseRunOptions({})), project };
  } catch (error) {
    await project?.dispose();
    // Nobody reads the parts any more: what still comes must not reach the parser.
    exchange.request.unpipe();
    throw asFormError(error, signal);
  } finally {
    counting.stop();
  }
}

/** Aborts `overflow` when the body as a whole, framing included, is too large: the parser counts only parts. */
function countBytes({ exchange, bodyBytesMax }: FormContext, overflow: AbortController) {
  let bytes = 0;
  const onData = (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > bodyBytesMax) {
      overflow.abort(new ServiceError('body_too_large', `The form exceeds ${String(bodyBytesMax)} bytes as sent.`));
    }
  };
  exchange.request.on('data', onData);
  return { stop: () => exchange.request.off('data', onData) };
}

async function readJson(part: AsyncIterable<Buffer>, bytesMax: number, signal: AbortSignal): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const iterator = part[Symbol.asyncIterator]();
  for (;;) {
    const step = await abortable(iterator.next(), signal);
    if (step.done) break;
    bytes += step.value.length;
    if (bytes > bytesMax) {
      throw new ServiceError('body_too_large', `The part "metadata" exceeds ${String(bytesMax)} bytes.`);
    }
    chunks.push(step.value);
  }
  return parseStrictJson(Buffer.concat(chunks), 'The part "metadata"');
}

/** `promise`, or the signal's reason when that is aborted first. */
async function abortable<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  // First of all: an unhandled rejection ends the process, and this one may be left behind.
  promise.catch(() => undefined);
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => {
    aborted.reject(signal.reason as Error);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** What the multipart parser throws has many shapes and the caller's text in it; ours has one. */
function asFormError(error: unknown, signal: AbortSignal): unknown {
  if (error instanceof ServiceError) return error;
  if (signal.aborted) return signal.reason;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'FST_PARTS_LIMIT':
    case 'FST_FILES_LIMIT':
    case 'FST_FIELDS_LIMIT':
      return new ServiceError('invalid_multipart', 'The form has more parts than "tar" and "metadata".');
    case 'FST_PROTO_VIOLATION':
      return new ServiceError('unknown_field', 'The form has a part with a name that is not known here.');
    default:
      return new ServiceError('invalid_multipart', 'The multipart body is damaged or ends too early.', {
        cause: error,
      });
  }
}
