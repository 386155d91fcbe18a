/**
 * Answers for what never becomes a request: bytes that are not HTTP, headers that
 * are too large, requests that arrive too slowly. The same problem documents as
 * everywhere, written to the socket, which is closed after them.
 *
 * Where an answer is owed to an earlier request of the connection, or has begun,
 * nothing is written: it would be taken for that answer.
 */
import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { ServiceError } from '../../domain/errors.ts';
import type { Exchanges } from '../exchanges.ts';
import { PROBLEM_TYPE, problemOf } from './service-errors.ts';

interface ConnectionError extends Error {
  readonly code?: string;
  /** What was being parsed: a Buffer, whatever Fastify's types say. */
  readonly rawPacket?: unknown;
}

/** What a connection error means; undefined where there is nobody left to tell. */
function connectionProblem(error: ConnectionError): ServiceError | undefined {
  switch (error.code ?? '') {
    case 'ECONNRESET':
    case 'EPIPE':
      return undefined;
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ServiceError('request_timeout', 'The request did not arrive in time.');
    case 'HPE_HEADER_OVERFLOW':
      return isWithinRequestLine(error.rawPacket)
        ? new ServiceError('uri_too_long', 'The request target is too long.')
        : new ServiceError('headers_too_large', 'The request headers are too large.');
    case 'HPE_INVALID_EOF_STATE':
      return new ServiceError('invalid_request', 'The request ended before it was complete.');
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new ServiceError('body_too_large', 'The chunk extensions of the body are too large.');
    default:
      return new ServiceError('invalid_request', 'The request is not valid HTTP.');
  }
}

/** Whether the first line was still going on where the parser gave up. */
function isWithinRequestLine(packet: unknown): boolean {
  return Buffer.isBuffer(packet) && /^[A-Z]{1,20} /.test(packet.toString('latin1', 0, 24)) && !packet.includes('\n');
}

/** A handler for Fastify's `clientErrorHandler`. */
export function answerBrokenConnections(
  exchanges: Exchanges,
  observe: (problem: ServiceError) => void,
): (error: ConnectionError, socket: Socket) => void {
  return (error, socket) => {
    const problem = connectionProblem(error);
    if (problem && exchanges.onConnection(socket).size === 0) observe(problem);
    endWith(problem, exchanges, socket);
  };
}

/**
 * Ends a connection on which nothing has moved for too long: an answer that is not
 * read, a request that stopped (which gets its 408), no request at all. While an
 * answer is owed and not begun, a run is waited for, and silence is as it should be.
 */
export function endStalled(exchanges: Exchanges, socket: Socket): void {
  const inProgress = [...exchanges.onConnection(socket)];
  const isAnswering = inProgress.some(({ response }) => response.headersSent);
  if (!isAnswering && inProgress.some(({ request }) => request.complete)) return;
  const problem = new ServiceError('request_timeout', 'The request stopped arriving.');
  endWith(inProgress.length > 0 ? problem : undefined, exchanges, socket);
}

function endWith(problem: ServiceError | undefined, exchanges: Exchanges, socket: Socket): void {
  const inProgress = [...exchanges.onConnection(socket)];
  const isOwedElsewhere = inProgress.some(({ request, response }) => request.complete || response.headersSent);
  if (!problem || isOwedElsewhere || !socket.writable) {
    socket.destroy();
    return;
  }
  for (const exchange of inProgress) exchange.failure = problem.code;
  socket.end(rawAnswer(problem), () => {
    socket.destroy();
  });
}

function rawAnswer(problem: ServiceError): Buffer {
  const requestId = randomUUID();
  const body = JSON.stringify(problemOf(problem, requestId));
  const head = [
    `HTTP/1.1 ${String(problem.status)} ${STATUS_CODES[problem.status] ?? ''}`,
    `Content-Type: ${PROBLEM_TYPE}; charset=utf-8`,
    `Content-Length: ${String(Buffer.byteLength(body))}`,
    `X-Request-Id: ${requestId}`,
    'Cache-Control: no-store',
    'Connection: close',
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`);
}
