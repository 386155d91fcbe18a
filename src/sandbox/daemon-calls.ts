/**
 * Calls of the Docker daemon: each has a deadline, is measured, and fails as a
 * DaemonError whose message never reaches a caller.
 *
 * Which calls there are is docker-daemon.ts and docker-images.ts.
 */
import { subscribe } from 'node:diagnostics_channel';
import { Agent, type ClientRequest, type IncomingMessage } from 'node:http';
import Docker from 'dockerode';
import { ServiceError } from '../domain/errors.ts';
import { startDeadline } from './deadline.ts';

export type DaemonCall =
  | 'ping'
  | 'info'
  | 'inspect_image'
  | 'list_images'
  | 'create'
  | 'update'
  | 'attach'
  | 'start'
  | 'inspect'
  | 'kill'
  | 'remove'
  | 'list'
  | 'events'
  | 'build'
  | 'remove_image';

/** How long the daemon may take for each call before it counts as hung. */
const DEADLINE_MS: Readonly<Record<DaemonCall, number>> = {
  ping: 3_000,
  info: 20_000,
  inspect_image: 10_000,
  list_images: 10_000,
  create: 20_000,
  update: 10_000,
  attach: 10_000,
  start: 30_000,
  inspect: 5_000,
  kill: 10_000,
  remove: 30_000,
  list: 10_000,
  events: 10_000,
  build: 300_000,
  remove_image: 30_000,
};

/** The daemon refused a call, was not there, or did not answer in time. */
export class DaemonError extends Error {
  override readonly name = 'DaemonError';
  readonly call: DaemonCall;
  /** The daemon's HTTP status; undefined when it did not answer. */
  readonly statusCode: number | undefined;

  constructor(call: DaemonCall, message: string, statusCode: number | undefined, cause?: unknown) {
    super(`${call}: ${message}`, { cause });
    this.call = call;
    this.statusCode = statusCode;
  }
}

/** What a failed call is to a caller of ours who asked for something else; any other error is as it is. */
export function asUnavailable(error: unknown): unknown {
  if (!(error instanceof DaemonError)) return error;
  return new ServiceError('sandbox_unavailable', 'The container engine does not answer.', {
    cause: error,
    retryAfterSeconds: 5,
  });
}

/** Hears about every finished daemon call; telemetry subscribes here. */
export type DaemonObserver = (call: DaemonCall, durationMs: number, failed: boolean) => void;

export interface DaemonCallsOptions {
  readonly socketPath: string;
  readonly observe: DaemonObserver;
  readonly deadlineMs?: Readonly<Partial<Record<DaemonCall, number>>>;
}

function statusCodeOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('statusCode' in error)) return undefined;
  return typeof error.statusCode === 'number' ? error.statusCode : undefined;
}

/** @throws {Error} when an answer with the status of a success is not what that call answers. */
export function expected<T>(answer: T, isExpected: boolean): T {
  if (!isExpected) throw new Error('an answer that is not Docker’s');
  return answer;
}

/** Whether it is a list of things with an id. */
export function isList(answer: unknown): boolean {
  const hasId = (item: unknown) =>
    typeof item === 'object' && item !== null && 'Id' in item && typeof item.Id === 'string';
  return Array.isArray(answer) && answer.every(hasId);
}

/** Those whose answers are watched. */
const agents = new WeakSet<Agent>();

// docker-modem does not hear an answer break off in its middle: it would wait for the rest until the deadline.
subscribe('http.client.response.finish', (message) => {
  const { request, response } = message as { readonly request: ClientRequest; readonly response: IncomingMessage };
  const { agent } = request as unknown as { readonly agent?: unknown };
  if (!(agent instanceof Agent) || !agents.has(agent)) return;
  response.once('close', () => {
    if (!response.complete) request.emit('error', new Error('the answer broke off'));
  });
});

/** As Node's own. */
function watchedAgent(): Agent {
  const agent = new Agent({ keepAlive: true, scheduling: 'lifo', timeout: 5_000 });
  agents.add(agent);
  return agent;
}

export class DaemonCalls {
  readonly docker: Docker;
  /** For the calls that cannot be aborted. */
  readonly impatientDocker: Docker;
  readonly #deadlineMs: Readonly<Record<DaemonCall, number>>;
  readonly #observe: DaemonObserver;

  constructor({ socketPath, observe, deadlineMs }: DaemonCallsOptions) {
    this.#deadlineMs = { ...DEADLINE_MS, ...deadlineMs };
    // Its types know no agent.
    const connection = { socketPath, agent: watchedAgent() };
    this.docker = new Docker(connection);
    const { ping, info, inspect_image } = this.#deadlineMs;
    this.impatientDocker = new Docker({ ...connection, timeout: Math.max(ping, info, inspect_image) });
    this.#observe = observe;
  }

  /**
   * Does a call.
   * @param run is given a signal that is aborted at the deadline.
   * @param discard gets an answer that came after it.
   * @throws {DaemonError}
   */
  async do<T>(call: DaemonCall, run: (signal: AbortSignal) => Promise<T>, discard?: (late: T) => void): Promise<T> {
    const started = performance.now();
    const controller = new AbortController();
    let answered: () => void = () => undefined;
    let late = false;
    const deadline = new Promise<never>((_, reject) => {
      answered = startDeadline(this.#deadlineMs[call], () => {
        late = true;
        controller.abort();
        reject(new DaemonError(call, `no answer within ${String(this.#deadlineMs[call])} ms`, undefined));
      });
    });
    const answer = run(controller.signal);
    answer.then(
      (value) => {
        if (late) discard?.(value);
      },
      () => undefined,
    );
    let failed = true;
    try {
      const value = await Promise.race([answer, deadline]);
      failed = false;
      return value;
    } catch (error) {
      if (error instanceof DaemonError) throw error;
      const message = error instanceof Error ? error.message : String(error);
      throw new DaemonError(call, message, statusCodeOf(error), error);
    } finally {
      answered();
      this.#observe(call, performance.now() - started, failed);
    }
  }
}
