/**
 * Every request in progress, by its connection: what must be known about it below
 * Fastify, where connections end and bytes do not parse.
 *
 * A client counts as gone when its connection closes before the answer is complete.
 * What becomes of one that only shuts down its sending side is in half-closed.ts.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { NOBODY, type Caller } from '../domain/caller.ts';
import { ServiceError, type ErrorCode } from '../domain/errors.ts';
import { Connections } from './connections.ts';
import { probeHalfClosed, type Probed } from './half-closed.ts';

/** What of the connections one caller may keep busy; the rest stays for the others. */
const CALLER_SHARE = 3 / 4;

/** Nobody is left to read the answer. Never shown to anybody. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

export interface Exchange extends Probed {
  readonly startedAt: number;
  /** Aborted, with a ClientGone, when the client left before the answer was complete. */
  readonly gone: AbortSignal;
  /** Who asks; set by plugins/authentication.ts before anything else is done. */
  caller: Caller;
  /** Whether the client waits for a 100 before it sends the body. */
  awaitsContinue: boolean;
  /** What was answered instead, when the connection failed below Fastify. */
  failure: ErrorCode | undefined;
  /** For the log: which execution this was about. */
  executionId: string | undefined;
  /** For the log: what the problem document said, and why. */
  problem: { readonly code: ErrorCode; readonly cause: unknown } | undefined;
}

interface Ending {
  readonly leave: AbortController;
  readonly onEnd: (exchange: Exchange) => void;
}

export class Exchanges {
  readonly #connections: Connections;
  readonly #callerMax: number;
  readonly #bySocket = new WeakMap<Socket, Set<Exchange>>();
  readonly #byRequest = new WeakMap<IncomingMessage, Exchange>();
  readonly #counted = new WeakSet<Exchange>();
  readonly #endings = new WeakMap<Exchange, Ending>();
  /** How many each caller has in progress. */
  readonly #ofCallers = new Map<string, number>();
  #count = 0;
  #onIdle: () => void = () => undefined;

  /** @param connectionsMax connections at one time; requests of one caller may be three quarters of that. */
  constructor(connectionsMax: number) {
    this.#connections = new Connections(connectionsMax);
    this.#callerMax = Math.ceil(connectionsMax * CALLER_SHARE);
  }

  /** Watches the connections of `server`. To be called before it listens. */
  watch(server: Server): void {
    this.#connections.watch(server);
    // Node's default is to close a connection whose client has nothing more to send. It has no type.
    Object.assign(server, { httpAllowHalfOpen: true });
    server.on('connection', (socket: Socket) => {
      socket.once('end', () => {
        probeHalfClosed(socket, () => this.onConnection(socket).values().next().value);
      });
      // An answer that waits behind another is told nothing by Node when its connection ends.
      socket.once('close', () => {
        for (const exchange of this.onConnection(socket)) this.#end(exchange);
      });
    });
  }

  /** Starts an exchange. `onEnd` is called once, when it is over, however it ended. */
  begin(request: IncomingMessage, response: ServerResponse, onEnd: (exchange: Exchange) => void): Exchange {
    const leave = new AbortController();
    const exchange: Exchange = {
      request,
      response,
      startedAt: performance.now(),
      gone: leave.signal,
      probe: () => {
        if (!response.headersSent) response.writeContinue();
      },
      caller: NOBODY,
      awaitsContinue: awaitingContinue.has(request),
      failure: undefined,
      executionId: undefined,
      problem: undefined,
    };
    this.#endings.set(exchange, { leave, onEnd });
    this.#byRequest.set(request, exchange);
    const onSocket = this.#bySocket.get(request.socket) ?? new Set();
    this.#bySocket.set(request.socket, onSocket.add(exchange));
    this.#connections.busy(request.socket);
    this.#count += 1;
    response.once('close', () => {
      this.#end(exchange);
    });
    if (request.socket.destroyed) this.#end(exchange);
    return exchange;
  }

  /**
   * Says who asks.
   * @throws {ServiceError} rate_limited when the caller has too many requests in progress.
   */
  recognised(exchange: Exchange, caller: Caller): void {
    exchange.caller = caller;
    const inProgress = this.#ofCallers.get(caller.id) ?? 0;
    if (inProgress >= this.#callerMax) {
      throw new ServiceError('rate_limited', 'You have too many requests in progress.', { retryAfterSeconds: 1 });
    }
    this.#ofCallers.set(caller.id, inProgress + 1);
    this.#counted.add(exchange);
  }

  of(request: IncomingMessage): Exchange {
    const exchange = this.#byRequest.get(request);
    if (!exchange) throw new Error('this request was never begun');
    return exchange;
  }

  onConnection(socket: Socket): ReadonlySet<Exchange> {
    return this.#bySocket.get(socket) ?? new Set();
  }

  /** Resolves when no exchange is in progress, at the latest after `timeoutMs`. */
  async idle(timeoutMs: number): Promise<void> {
    if (this.#count === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #end(exchange: Exchange): void {
    const { socket } = exchange.request;
    const isFirst = this.#bySocket.get(socket)?.delete(exchange) ?? false;
    const ending = this.#endings.get(exchange);
    if (!isFirst || !ending) return;
    this.#count -= 1;
    if (this.onConnection(socket).size === 0) this.#connections.rests(socket);
    if (this.#counted.has(exchange)) this.#forget(exchange.caller.id);
    if (!exchange.response.writableFinished) ending.leave.abort(new ClientGone('the client left'));
    ending.onEnd(exchange);
    if (this.#count === 0) this.#onIdle();
  }

  #forget(callerId: string): void {
    const inProgress = (this.#ofCallers.get(callerId) ?? 1) - 1;
    if (inProgress === 0) this.#ofCallers.delete(callerId);
    else this.#ofCallers.set(callerId, inProgress);
  }
}

const awaitingContinue = new WeakSet<IncomingMessage>();

/**
 * Lets requests with `Expect: 100-continue` through without the 100: it is sent
 * when a route starts to read the body, so that what is refused by its headers
 * alone is never uploaded. Other expectations are ignored (RFC 9110, 10.1.1).
 */
export function deferContinue(server: Server): void {
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    awaitingContinue.add(request);
    server.emit('request', request, response);
  });
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    server.emit('request', request, response);
  });
}
