/**
 * A container that runs a tool of ours for a run, not the run itself: one conversation
 * in frames, then removed. Builders install packages, analyzers read sources.
 *
 * It has every guard a sandbox has and, like a sandbox, no network and no mount of
 * the host: what it gets comes through its stdin, what it made leaves through its
 * stdout. What is said in the frames is in src/dependencies/builder and
 * src/analysis/analyzer.
 */
import type { Duplex } from 'node:stream';
import { AttachDemultiplexer } from './attach-demultiplexer.ts';
import type { DockerDaemon } from './docker-daemon.ts';
import { encodeFrame, FrameDecoder, type Frame } from './supervisor/protocol.ts';

/** Frames that wait for whoever reads them, before the container has to. */
const WAITING_FRAMES_MAX = 64;

export class ToolContainer {
  readonly #containerId: string;
  readonly #daemon: DockerDaemon;
  readonly #socket: Duplex;
  readonly #frames: Frame[] = [];
  #wake: () => void = () => undefined;
  #ended = false;

  private constructor(containerId: string, daemon: DockerDaemon, socket: Duplex) {
    this.#containerId = containerId;
    this.#daemon = daemon;
    this.#socket = socket;
    const decoder = new FrameDecoder();
    const demultiplexer = new AttachDemultiplexer(
      (data) => {
        for (const frame of decoder.push(data)) this.#frames.push(frame);
        if (this.#frames.length > WAITING_FRAMES_MAX) socket.pause();
        this.#wake();
      },
      () => undefined,
    );
    socket.on('data', (chunk: Buffer) => {
      try {
        demultiplexer.push(chunk);
      } catch {
        this.#end();
      }
    });
    for (const event of ['end', 'close', 'error']) {
      socket.on(event, () => {
        this.#end();
      });
    }
  }

  /** Attaches to a created container and starts it. @throws {DaemonError} when the daemon refuses or hangs. */
  static async start(containerId: string, daemon: DockerDaemon): Promise<ToolContainer> {
    const socket = await daemon.attach(containerId);
    const container = new ToolContainer(containerId, daemon, socket);
    try {
      await daemon.start(containerId);
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return container;
  }

  send(type: number, payload: Uint8Array): void {
    if (!this.#ended && this.#socket.writable) this.#socket.write(encodeFrame(type, payload));
  }

  /** Resolves when what was sent is on its way, or nobody takes it any more. */
  async flushed(): Promise<void> {
    if (this.#ended || !this.#socket.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        this.#socket.off('drain', done).off('close', done);
        resolve();
      };
      this.#socket.on('drain', done).on('close', done);
    });
  }

  /** What the container says, until it ends or is destroyed. */
  async *frames(): AsyncGenerator<Frame> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame) {
        if (this.#frames.length === 0 && this.#socket.isPaused()) this.#socket.resume();
        yield frame;
        continue;
      }
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Closes the streams and removes the container. */
  async destroy(): Promise<void> {
    this.#end();
    await this.#daemon.remove(this.#containerId);
  }

  #end(): void {
    this.#ended = true;
    this.#socket.destroy();
    this.#wake();
  }
}
