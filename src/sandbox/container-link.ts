/**
 * The attached streams of one container, as frames in both directions.
 *
 * Frames wait for whoever reads them, and beyond a number of them the container does. What frames mean is not known
 * here, nor what becomes of the container.
 */
import type { Duplex } from 'node:stream';
import { AttachDemultiplexer } from './attach-demultiplexer.ts';
import type { DockerDaemon } from './docker-daemon.ts';
import { FrameDecoder, type Frame } from './supervisor/protocol.ts';

/** Frames that wait for whoever reads them, before the container has to. */
const WAITING_FRAMES_MAX = 64;
/** What the container writes to stderr that is kept for the log. */
const DIAGNOSTIC_BYTES_MAX = 4_096;

export class ContainerLink {
  readonly #socket: Duplex;
  readonly #frames: Frame[] = [];
  readonly #takes: (frame: Frame) => boolean;
  #onFrame: ((frame: Frame | undefined) => void) | undefined;
  #failure: Error | undefined;
  #isEnded = false;
  #diagnostics = '';

  private constructor(socket: Duplex, takes: (frame: Frame) => boolean) {
    this.#socket = socket;
    this.#takes = takes;
    const decoder = new FrameDecoder();
    const demultiplexer = new AttachDemultiplexer(
      (data) => {
        for (const frame of decoder.push(data)) this.#arrive(frame);
      },
      (data) => {
        if (this.#diagnostics.length < DIAGNOSTIC_BYTES_MAX) this.#diagnostics += data.toString('utf8');
      },
    );
    socket.on('data', (chunk: Buffer) => {
      try {
        demultiplexer.push(chunk);
      } catch (error) {
        this.end(error instanceof Error ? error : new Error(String(error)));
        socket.destroy();
      }
    });
    socket.on('error', (error) => {
      this.end(error);
    });
    for (const event of ['close', 'end']) {
      socket.on(event, () => {
        this.end();
      });
    }
  }

  /**
   * Attaches to a created container and starts it. Attaching comes first, so that
   * no byte can be missed (moby#20848).
   * @param takes sees each frame when it arrives; one it takes is not for `next`.
   * @throws {DaemonError} when the daemon refuses or hangs.
   */
  static async start(
    containerId: string,
    daemon: DockerDaemon,
    takes: (frame: Frame) => boolean = () => false,
  ): Promise<ContainerLink> {
    const socket = await daemon.attach(containerId);
    const link = new ContainerLink(socket, takes);
    try {
      await daemon.start(containerId);
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return link;
  }

  /** Whether nothing more comes and nothing more is sent. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Why it ended, where it broke. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** What the container wrote to stderr. */
  get diagnostics(): string {
    return this.#diagnostics;
  }

  /** The next frame, for one reader at a time; undefined at the end. */
  async next(): Promise<Frame | undefined> {
    const frame = this.#frames.shift();
    if (frame) {
      if (this.#frames.length === 0 && this.#socket.isPaused()) this.#socket.resume();
      return frame;
    }
    if (this.#isEnded) return undefined;
    return new Promise((resolve) => {
      this.#onFrame = resolve;
    });
  }

  /** Resolves when `data` may be used again, however it went: a connection that broke is told by `next`. */
  async write(data: Buffer): Promise<void> {
    if (this.#isEnded) return;
    const socket = this.#socket;
    await new Promise<void>((resolve) => {
      const done = () => {
        socket.off('close', done);
        resolve();
      };
      socket.on('close', done);
      socket.write(data, done);
      if (socket.closed) done();
    });
  }

  /** Sends what nobody waits for. */
  send(data: Buffer): void {
    if (!this.#isEnded && this.#socket.writable) this.#socket.write(data);
  }

  /** Resolves when what was sent is on its way, or nobody takes it any more. */
  async flushed(): Promise<void> {
    if (this.#isEnded || !this.#socket.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        this.#socket.off('drain', done).off('close', done);
        resolve();
      };
      this.#socket.on('drain', done).on('close', done);
    });
  }

  /** Whoever reads hears that nothing more comes. The streams stay open. */
  end(failure?: Error): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#failure = failure;
    this.#onFrame?.(undefined);
    this.#onFrame = undefined;
  }

  /** Ends it, and the streams with it. */
  close(): void {
    this.end();
    this.#socket.destroy();
  }

  #arrive(frame: Frame): void {
    if (this.#takes(frame)) return;
    if (this.#onFrame) {
      const onFrame = this.#onFrame;
      this.#onFrame = undefined;
      onFrame(frame);
      return;
    }
    this.#frames.push(frame);
    if (this.#frames.length >= WAITING_FRAMES_MAX) this.#socket.pause();
  }
}
