/**
 * A container that runs a tool of ours for a run, not the run itself: one conversation
 * in frames, then removed. Builders install packages, analyzers read sources.
 *
 * It has every guard a sandbox has and, like a sandbox, no network and no mount of
 * the host: what it gets comes through its stdin, what it made leaves through its
 * stdout. What is said in the frames is in src/dependencies/builder and
 * src/analysis/analyzer.
 */
import { ContainerLink } from './container-link.ts';
import type { DockerDaemon } from './docker-daemon.ts';
import { encodeFrame, type Frame } from './supervisor/protocol.ts';

export class ToolContainer {
  readonly #containerId: string;
  readonly #daemon: DockerDaemon;
  readonly #link: ContainerLink;

  private constructor(containerId: string, daemon: DockerDaemon, link: ContainerLink) {
    this.#containerId = containerId;
    this.#daemon = daemon;
    this.#link = link;
  }

  /** Attaches to a created container and starts it. @throws {DaemonError} when the daemon refuses or hangs. */
  static async start(containerId: string, daemon: DockerDaemon): Promise<ToolContainer> {
    return new ToolContainer(containerId, daemon, await ContainerLink.start(containerId, daemon));
  }

  send(type: number, payload: Uint8Array): void {
    this.#link.send(encodeFrame(type, payload));
  }

  /** Resolves when what was sent is on its way, or nobody takes it any more. */
  flushed(): Promise<void> {
    return this.#link.flushed();
  }

  /** What the container says, until it ends or is destroyed. */
  async *frames(): AsyncGenerator<Frame> {
    for (let frame = await this.#link.next(); frame; frame = await this.#link.next()) yield frame;
  }

  /** Closes the streams and removes the container. */
  async destroy(): Promise<void> {
    this.#link.close();
    await this.#daemon.remove(this.#containerId);
  }
}
