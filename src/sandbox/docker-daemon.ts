/**
 * The Docker daemon as this service uses it: every call has a deadline, is
 * measured, and fails as a DaemonError whose message never reaches a caller.
 *
 * The archive endpoints are deliberately absent (CVE-2026-41567, -41568): nothing
 * is copied into or out of a container but through its attached streams.
 */
import { subscribe } from 'node:diagnostics_channel';
import { Agent, type ClientRequest, type IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
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

export interface ContainerSummary {
  readonly id: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAtS: number;
}

/** The limits of a container that can be changed while it runs. */
export interface ContainerResources {
  readonly memoryBytes: number;
  readonly pids: number;
  readonly cpus: number;
}

export interface ContainerState {
  readonly running: boolean;
  readonly oomKilled: boolean;
  readonly exitCode: number;
}

function statusCodeOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('statusCode' in error)) return undefined;
  return typeof error.statusCode === 'number' ? error.statusCode : undefined;
}

/** @throws {Error} when an answer with the status of a success is not what that call answers. */
function expected<T>(answer: T, isExpected: boolean): T {
  if (!isExpected) throw new Error('an answer that is not Docker’s');
  return answer;
}

/** Whether it is a list of things with an id. */
function isList(answer: unknown): boolean {
  const hasId = (item: unknown) =>
    typeof item === 'object' && item !== null && 'Id' in item && typeof item.Id === 'string';
  return Array.isArray(answer) && answer.every(hasId);
}

type NullableSummary = Pick<Docker.ContainerInfo, 'Id' | 'Created'> & {
  readonly Names: readonly string[] | null;
  readonly Labels: Readonly<Record<string, string>> | null;
};

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

export class DockerDaemon {
  readonly #docker: Docker;
  /** For the calls that cannot be aborted. */
  readonly #impatientDocker: Docker;
  readonly #deadlineMs: Readonly<Record<DaemonCall, number>>;
  readonly #observe: DaemonObserver;

  constructor(options: {
    socketPath: string;
    observe: DaemonObserver;
    deadlineMs?: Readonly<Partial<Record<DaemonCall, number>>>;
  }) {
    const { socketPath } = options;
    this.#deadlineMs = { ...DEADLINE_MS, ...options.deadlineMs };
    // Its types know no agent.
    const connection = { socketPath, agent: watchedAgent() };
    this.#docker = new Docker(connection);
    const { ping, info, inspect_image } = this.#deadlineMs;
    this.#impatientDocker = new Docker({ ...connection, timeout: Math.max(ping, info, inspect_image) });
    this.#observe = options.observe;
  }

  async #call<T>(call: DaemonCall, run: (signal: AbortSignal) => Promise<T>, discard?: (late: T) => void): Promise<T> {
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

  /** @throws {DaemonError} when the daemon does not answer. */
  async ping(): Promise<void> {
    await this.#call('ping', () => this.#impatientDocker.ping());
  }

  /** Names of the OCI runtimes the daemon has. */
  async runtimes(): Promise<readonly string[]> {
    return this.#call('info', async () => {
      const info: unknown = await this.#impatientDocker.info();
      const runtimes = typeof info === 'object' && info !== null && 'Runtimes' in info ? info.Runtimes : undefined;
      if (typeof runtimes !== 'object' || runtimes === null) throw new Error('an answer that is not Docker’s');
      return Object.keys(runtimes);
    });
  }

  /** The id and labels of a local image; undefined when it is not on this machine. Never pulls. */
  async findImage(
    reference: string,
  ): Promise<{ id: string; labels: Readonly<Record<string, string>>; sizeBytes: number } | undefined> {
    try {
      return await this.#call('inspect_image', async () => {
        const image = await this.#impatientDocker.getImage(reference).inspect();
        expected(image, typeof image.Id === 'string');
        return { id: image.Id, labels: image.Config.Labels ?? {}, sizeBytes: image.Size };
      });
    } catch (error) {
      if (error instanceof DaemonError && error.statusCode === 404) return undefined;
      throw error;
    }
  }

  /** Every tagged local image, one entry per tag. */
  async listImages(): Promise<
    readonly { reference: string; id: string; labels: Readonly<Record<string, string>>; sizeBytes: number }[]
  > {
    const images = await this.#call('list_images', async (abortSignal) => {
      const answer = await this.#docker.listImages({ abortSignal });
      return expected(answer, isList(answer));
    });
    return images.flatMap(({ Id, RepoTags, Labels, Size }) =>
      (RepoTags ?? [])
        .filter((reference) => !reference.includes('<none>'))
        .map((reference) => ({ reference, id: Id, labels: Labels ?? {}, sizeBytes: Size })),
    );
  }

  async create(options: Docker.ContainerCreateOptions): Promise<string> {
    return this.#call('create', async (abortSignal) => {
      const { name, ...body } = options;
      // Left to itself dockerode sends all of it twice, the second time in the URL, which not every socket proxy takes.
      const request = { _query: { name }, _body: body, abortSignal };
      const { id } = await this.#docker.createContainer(request);
      return expected(id, typeof id === 'string' && id !== '');
    });
  }

  /** The attached stdin, stdout and stderr of a container that was not started yet. */
  async attach(id: string): Promise<Duplex> {
    return this.#call(
      'attach',
      async (abortSignal): Promise<Duplex> => {
        const stream = await this.#docker.getContainer(id).attach({
          stream: true,
          hijack: true,
          stdin: true,
          stdout: true,
          stderr: true,
          abortSignal,
        });
        if (stream instanceof Socket) return stream;
        // An answer without an upgrade: its body is not the container's stream.
        (stream as Duplex).on('error', () => undefined).destroy();
        throw new Error('the connection was not handed over');
      },
      (late) => {
        late.destroy();
      },
    );
  }

  async start(id: string): Promise<void> {
    await this.#call('start', (abortSignal) => this.#docker.getContainer(id).start({ abortSignal }));
  }

  /** Changes the limits of a running container; it has them when this resolves. */
  async update(id: string, { memoryBytes, pids, cpus }: ContainerResources): Promise<void> {
    await this.#call('update', async (abortSignal) => {
      const answer: unknown = await this.#docker.getContainer(id).update({
        Memory: memoryBytes,
        MemorySwap: memoryBytes,
        PidsLimit: pids,
        NanoCpus: Math.round(cpus * 1e9),
        abortSignal,
      });
      // A program is never let loose on limits it may not have.
      expected(answer, typeof answer === 'object' && answer !== null && 'Warnings' in answer);
    });
  }

  /** Undefined when the container is gone. */
  async stateOf(id: string): Promise<ContainerState | undefined> {
    try {
      return await this.#call('inspect', async (abortSignal) => {
        const { State } = await this.#docker.getContainer(id).inspect({ abortSignal });
        expected(State, typeof State.Running === 'boolean');
        return { running: State.Running, oomKilled: State.OOMKilled, exitCode: State.ExitCode };
      });
    } catch (error) {
      if (error instanceof DaemonError && error.statusCode === 404) return undefined;
      throw error;
    }
  }

  /** Ends a container at once. One that is not running any more counts as done. */
  async kill(id: string): Promise<void> {
    try {
      await this.#call('kill', (abortSignal) => this.#docker.getContainer(id).kill({ signal: 'SIGKILL', abortSignal }));
    } catch (error) {
      if (error instanceof DaemonError && (error.statusCode === 404 || error.statusCode === 409)) return;
      throw error;
    }
  }

  /** Kills and removes a container with its anonymous volumes. Idempotent: gone, or being removed, is success. */
  async remove(id: string): Promise<void> {
    try {
      await this.#call('remove', (abortSignal) =>
        this.#docker.getContainer(id).remove({ force: true, v: true, abortSignal }),
      );
    } catch (error) {
      if (error instanceof DaemonError) {
        if (error.statusCode === 404) return;
        if (error.statusCode === 409 && /already in progress/i.test(error.message)) return;
      }
      throw error;
    }
  }

  /** Every container, running or not, that has the label. */
  async listByLabel(label: string): Promise<readonly ContainerSummary[]> {
    const containers = await this.#call('list', async (abortSignal) => {
      const answer = await this.#docker.listContainers({ all: true, filters: { label: [label] }, abortSignal });
      return expected(answer, isList(answer));
    });
    // A container that is being removed may have neither names nor labels any more.
    return containers.map(({ Id, Names, Labels, Created }: NullableSummary) => ({
      id: Id,
      name: (Names?.[0] ?? '').replace(/^\//, ''),
      labels: Labels ?? {},
      createdAtS: Created,
    }));
  }

  /**
   * Tells the id of each container with the label that somebody pauses from now on.
   * Resolves when the daemon ends it, or `signal` does.
   * @throws {DaemonError} when the daemon does not begin to, or the connection breaks.
   */
  async watchPauses(label: string, onPause: (id: string) => void, signal: AbortSignal): Promise<void> {
    const filters = JSON.stringify({ type: ['container'], event: ['pause'], label: [label] });
    const events = await this.#call('events', async (late) => {
      const request = { filters, abortSignal: AbortSignal.any([late, signal]) };
      return (await this.#docker.getEvents(request)) as Readable;
    });
    try {
      let begun = '';
      for await (const chunk of events) {
        const lines = (begun + String(chunk)).split('\n');
        begun = lines.pop() ?? '';
        for (const line of lines) {
          const event: unknown = JSON.parse(line);
          if (typeof event === 'object' && event !== null && 'id' in event) onPause(String(event.id));
        }
      }
    } catch (error) {
      if (!signal.aborted) throw new DaemonError('events', 'the connection broke', undefined, error);
    } finally {
      events.destroy();
    }
  }

  /**
   * Builds an image from a context, without a network. It has its name when this resolves. It may have it, too, when
   * this fails: the answer may be what was lost.
   * @param options.signal aborted: the build is broken off.
   * @returns the image id.
   */
  async buildImage(
    context: Readable,
    options: {
      readonly name: string;
      readonly dockerfile: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly signal: AbortSignal;
    },
  ): Promise<string> {
    return this.#call('build', async (late) => {
      const { name, dockerfile, labels, signal } = options;
      const abortSignal = AbortSignal.any([late, signal]);
      const answer = await this.#docker.buildImage(context, {
        t: name,
        dockerfile,
        labels: { ...labels },
        networkmode: 'none',
        forcerm: true,
        nocache: true,
        version: '1',
        abortSignal,
      });
      let said = '';
      for await (const chunk of answer) said = (said + String(chunk)).slice(-8192);
      const failure = /"error"\s*:\s*"([^"]{0,500})/.exec(said)?.[1];
      if (failure !== undefined) throw new Error(failure);
      const { Id } = await this.#impatientDocker.getImage(name).inspect();
      return expected(Id, typeof Id === 'string');
    });
  }

  /** Every local image with the label, named or not. */
  async listImagesByLabel(
    label: string,
  ): Promise<readonly { id: string; names: readonly string[]; labels: Readonly<Record<string, string>> }[]> {
    const images = await this.#call('list_images', async (abortSignal) => {
      const answer = await this.#docker.listImages({ filters: { label: [label] }, abortSignal });
      return expected(answer, isList(answer));
    });
    return images.map(({ Id, RepoTags, Labels }) => ({
      id: Id,
      names: (RepoTags ?? []).filter((name) => !name.includes('<none>')),
      labels: Labels ?? {},
    }));
  }

  /** Removes an image by name or id with the unnamed ones it was made of. False when it is in use; gone is success. */
  async removeImage(reference: string): Promise<boolean> {
    try {
      await this.#call('remove_image', (abortSignal) => this.#docker.getImage(reference).remove({ abortSignal }));
      return true;
    } catch (error) {
      if (error instanceof DaemonError && error.statusCode === 404) return true;
      if (error instanceof DaemonError && error.statusCode === 409) return false;
      throw error;
    }
  }
}
