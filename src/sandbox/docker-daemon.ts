/**
 * The Docker daemon as this service uses it: its containers here, its images in docker-images.ts, each call as
 * daemon-calls.ts does it.
 *
 * The archive endpoints are deliberately absent (CVE-2026-41567, -41568): nothing
 * is copied into or out of a container but through its attached streams.
 */
import { Socket } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import type Docker from 'dockerode';
import { DaemonCalls, DaemonError, expected, isList, type DaemonCallsOptions } from './daemon-calls.ts';
import { DockerImages } from './docker-images.ts';

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

type NullableSummary = Pick<Docker.ContainerInfo, 'Id' | 'Created'> & {
  readonly Names: readonly string[] | null;
  readonly Labels: Readonly<Record<string, string>> | null;
};

export class DockerDaemon {
  readonly images: DockerImages;
  readonly #calls: DaemonCalls;

  constructor(options: DaemonCallsOptions) {
    this.#calls = new DaemonCalls(options);
    this.images = new DockerImages(this.#calls);
  }

  /** @throws {DaemonError} when the daemon does not answer. */
  async ping(): Promise<void> {
    await this.#calls.do('ping', () => this.#calls.impatientDocker.ping());
  }

  /** Names of the OCI runtimes the daemon has. */
  async runtimes(): Promise<readonly string[]> {
    return this.#calls.do('info', async () => {
      const info: unknown = await this.#calls.impatientDocker.info();
      const runtimes = typeof info === 'object' && info !== null && 'Runtimes' in info ? info.Runtimes : undefined;
      if (typeof runtimes !== 'object' || runtimes === null) throw new Error('an answer that is not Docker’s');
      return Object.keys(runtimes);
    });
  }

  async create(options: Docker.ContainerCreateOptions): Promise<string> {
    return this.#calls.do('create', async (abortSignal) => {
      const { name, ...body } = options;
      // Left to itself dockerode sends all of it twice, the second time in the URL, which not every socket proxy takes.
      const request = { _query: { name }, _body: body, abortSignal };
      const { id } = await this.#calls.docker.createContainer(request);
      return expected(id, typeof id === 'string' && id !== '');
    });
  }

  /** The attached stdin, stdout and stderr of a container that was not started yet. */
  async attach(id: string): Promise<Duplex> {
    return this.#calls.do(
      'attach',
      async (abortSignal): Promise<Duplex> => {
        const stream = await this.#calls.docker.getContainer(id).attach({
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
    await this.#calls.do('start', (abortSignal) => this.#calls.docker.getContainer(id).start({ abortSignal }));
  }

  /** Changes the limits of a running container; it has them when this resolves. */
  async update(id: string, { memoryBytes, pids, cpus }: ContainerResources): Promise<void> {
    await this.#calls.do('update', async (abortSignal) => {
      const answer: unknown = await this.#calls.docker.getContainer(id).update({
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
      return await this.#calls.do('inspect', async (abortSignal) => {
        const { State } = await this.#calls.docker.getContainer(id).inspect({ abortSignal });
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
      await this.#calls.do('kill', (abortSignal) =>
        this.#calls.docker.getContainer(id).kill({ signal: 'SIGKILL', abortSignal }),
      );
    } catch (error) {
      if (error instanceof DaemonError && (error.statusCode === 404 || error.statusCode === 409)) return;
      throw error;
    }
  }

  /** Kills and removes a container with its anonymous volumes. Idempotent: gone, or being removed, is success. */
  async remove(id: string): Promise<void> {
    try {
      await this.#calls.do('remove', (abortSignal) =>
        this.#calls.docker.getContainer(id).remove({ force: true, v: true, abortSignal }),
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
    const containers = await this.#calls.do('list', async (abortSignal) => {
      const answer = await this.#calls.docker.listContainers({ all: true, filters: { label: [label] }, abortSignal });
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
    const events = await this.#calls.do('events', async (late) => {
      const request = { filters, abortSignal: AbortSignal.any([late, signal]) };
      return (await this.#calls.docker.getEvents(request)) as Readable;
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
}
