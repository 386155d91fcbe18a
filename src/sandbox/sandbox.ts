/**
 * One container, spent once: started, given one plan, ended, removed.
 *
 * What is reported was observed: an ending comes from the supervisor's exit
 * frame, or, when that never came, from the daemon's word about the container.
 * Anything else is a SandboxBroken, never an exit code.
 *
 * This file does not decide when containers are made or kept: see cold-start.ts.
 */
import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { RunInput } from '../domain/inputs.ts';
import type { RunPlan, SandboxShape } from '../domain/plan.ts';
import type { Project } from '../domain/project.ts';
import { AttachDemultiplexer } from './attach-demultiplexer.ts';
import { startDeadline } from './deadline.ts';
import type { DockerDaemon } from './docker-daemon.ts';
import { relayFrames, type RunSink } from './run-frames.ts';
import { FrameWriter } from './supervisor/frame-writer.ts';
import {
  compiledCommand,
  encodeFrame,
  encodeJsonFrame,
  FRAME,
  FrameDecoder,
  parseHello,
  PROTOCOL_VERSION,
  ProtocolError,
  type ExitReport,
  type Frame,
} from './supervisor/protocol.ts';

/** How long after its own deadline the supervisor may take to report, before the host kills the container. */
const BACKSTOP_GRACE_MS = 5_000;
/** How much longer it may take where there are artifacts to collect (ARTIFACT_DEADLINE_S, and their way here). */
const ARTIFACT_GRACE_MS = 5_000;
/** How long a cancelled run has to report by itself. */
const CANCEL_GRACE_MS = 700;
const HELLO_DEADLINE_MS = 30_000;
/** How long a program may take to be started once it has a sandbox: usually it is milliseconds. */
const START_DEADLINE_MS = 20_000;
/** What a sandbox takes in at least while it is sent a run. */
const INTAKE_BYTES_PER_MS_MIN = 1024;
/** The supervisor's own diagnostics that are kept for the log. */
const DIAGNOSTIC_BYTES_MAX = 4_096;
/** Frames are joined to writes of this size. */
const WRITE_BYTES = 256 * 1024;
/** What the frames of a small run need beside its request, project and stdin. */
const SMALL_RUN_BYTES = 1024;
/** The sandbox stopped telling the truth, or telling anything: nothing can be said about the program. */
export class SandboxBroken extends Error {
  override readonly name = 'SandboxBroken';
}

/** How the run ended, as observed. */
export type Ending =
  | { readonly kind: 'reported'; readonly report: ExitReport }
  /** The container died by the memory limit before it could report. */
  | { readonly kind: 'out_of_memory' }
  /** The host had to end the container, because the supervisor did not. */
  | { readonly kind: 'backstop'; readonly cause: 'wall_ms' | 'cancelled'; readonly wallMs: number };

/** One of many inputs: the length of a head, the head, its stdin, its files. */
function inputFrame({ args, stdin, overlay }: RunInput): Buffer {
  const head = Buffer.from(JSON.stringify({ args, stdinBytes: stdin.length }));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(head.length);
  return encodeFrame(FRAME.INPUT, Buffer.concat([length, head, stdin, ...(overlay ? [overlay.tar] : [])]));
}

function inputBytesOf({ inputs }: RunPlan): number {
  return (inputs?.list ?? []).reduce((sum, { stdin }) => sum + stdin.length, 0);
}

type Waiter = { readonly resolve: (frame: Frame | undefined) => void };

export class Sandbox {
  readonly containerId: string;
  readonly shape: SandboxShape;
  readonly #daemon: DockerDaemon;
  readonly #socket: Duplex;
  /** Known to the supervisor and not to the program: sent before the program is released, returned with the exit. */
  readonly #token = randomUUID();
  readonly #decoder = new FrameDecoder();
  readonly #frames: Frame[] = [];
  #waiter: Waiter | undefined;
  #failure: Error | undefined;
  #ended = false;
  #diagnostics = '';
  #spent = false;
  #loading: Promise<void> | undefined;
  /** Whether all of the plan, the project and stdin has been given to the socket. */
  #isSent = false;
  #isReleased = false;
  #onFirstWrite: () => void = () => undefined;
  /** How many PINGs were not answered yet. */
  #pings = 0;
  /** While an answer is waited for. */
  #onPong: (() => void) | undefined;

  private constructor(containerId: string, shape: SandboxShape, daemon: DockerDaemon, socket: Duplex) {
    this.containerId = containerId;
    this.shape = shape;
    this.#daemon = daemon;
    this.#socket = socket;
    const demultiplexer = new AttachDemultiplexer(
      (data) => {
        for (const frame of this.#decoder.push(data)) this.#arrive(frame);
      },
      (data) => {
        if (this.#diagnostics.length < DIAGNOSTIC_BYTES_MAX) this.#diagnostics += data.toString('utf8');
      },
    );
    socket.on('data', (chunk: Buffer) => {
      try {
        demultiplexer.push(chunk);
      } catch (error) {
        this.#end(error instanceof Error ? error : new Error(String(error)));
        socket.destroy();
      }
    });
    socket.on('error', (error) => {
      this.#end(error);
    });
    socket.on('close', () => {
      this.#end(undefined);
    });
    socket.on('end', () => {
      this.#end(undefined);
    });
  }

  /**
   * Attaches to a created container and starts it. Attaching comes first, so that
   * no byte can be missed (moby#20848).
   * @throws {DaemonError} when the daemon refuses or hangs.
   */
  static async start(containerId: string, shape: SandboxShape, daemon: DockerDaemon): Promise<Sandbox> {
    const socket = await daemon.attach(containerId);
    const sandbox = new Sandbox(containerId, shape, daemon, socket);
    try {
      await daemon.start(containerId);
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return sandbox;
  }

  /** The supervisor's own complaints, for the log. */
  get diagnostics(): string {
    return this.#diagnostics;
  }

  get isAlive(): boolean {
    return !this.#ended;
  }

  /**
   * Waits until the supervisor is ready for a plan.
   * @throws {SandboxBroken} when it dies, speaks another protocol, or takes too long.
   */
  async handshake(): Promise<{ pythonVersion: string }> {
    const heard = startDeadline(HELLO_DEADLINE_MS, () => {
      this.#end(new SandboxBroken('no handshake in time'));
    });
    try {
      const frame = await this.#next();
      if (frame?.type !== FRAME.HELLO) throw this.#broken('the supervisor did not start');
      const hello = parseHello(frame);
      if (hello.protocol !== PROTOCOL_VERSION) throw new SandboxBroken('the supervisor speaks another protocol');
      if (hello.problem !== '') throw new SandboxBroken(hello.problem);
      return { pythonVersion: hello.python };
    } catch (error) {
      throw error instanceof SandboxBroken ? error : this.#broken('the handshake failed', error);
    } finally {
      heard();
    }
  }

  /**
   * The command of later containers of this image, which start faster; undefined where there is none.
   * To be called after the handshake, before anything of a caller is there.
   * @throws {SandboxBroken} as `handshake` does.
   */
  async compile(): Promise<readonly string[] | undefined> {
    const timer = setTimeout(() => {
      this.#end(new SandboxBroken('no byte code in time'));
    }, HELLO_DEADLINE_MS);
    try {
      await this.#write(encodeFrame(FRAME.COMPILE));
      const frame = await this.#next();
      if (frame?.type !== FRAME.CODE) throw this.#broken('the supervisor sent no byte code');
      return compiledCommand(frame.payload);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Whether the supervisor of a sandbox that waits answers in time. One that was paused, or stopped by a signal, does
   * not, although its streams are open. The sandbox may be given its plan meanwhile.
   */
  async answers(withinMs: number): Promise<boolean> {
    if (this.#ended) return false;
    // Its run is under way: what becomes of it is for `run` to tell.
    if (this.#loading || this.#onPong) return true;
    return new Promise<boolean>((resolve) => {
      const heard = startDeadline(withinMs, () => {
        this.#onPong = undefined;
        resolve(false);
      });
      this.#onPong = () => {
        this.#onPong = undefined;
        heard();
        resolve(true);
      };
      this.#pings += 1;
      void this.#write(encodeFrame(FRAME.PING));
    });
  }

  /**
   * Begins to send the plan, the project and stdin, which `run` otherwise does first. The program does not
   * begin before `run` is called, and a sandbox that is loaded is spent. Resolves when the first bytes are
   * on their way. Never rejects: what goes wrong is for `run` to tell.
   */
  async load(plan: RunPlan, project: Project, signal: AbortSignal): Promise<void> {
    if (this.#loading) throw new Error('a sandbox runs one plan');
    const { promise: begun, resolve } = Promise.withResolvers<undefined>();
    this.#onFirstWrite = () => {
      resolve(undefined);
    };
    this.#loading = this.#send(plan, project, signal);
    await Promise.race([begun, this.#loading.catch(() => undefined)]);
  }

  /**
   * Has the program begin: it is recorded that it does. Does nothing while not all of it was sent; `run` waits for that
   * and does it then.
   */
  release(): void {
    if (!this.#isSent || this.#isReleased || this.#ended) return;
    this.#isReleased = true;
    void this.#write(encodeFrame(FRAME.RELEASE));
  }

  /**
   * Gives up a sandbox that is not to run: resolves when its project, if it was loaded, is not read any more. The
   * container is not removed.
   */
  async abandon(): Promise<void> {
    this.#end(undefined);
    this.#socket.destroy();
    await this.#loading?.catch(() => undefined);
  }

  /**
   * Runs the plan, the one it was loaded with, and resolves when its ending is known. The container is not
   * removed: `destroy` does that, off the caller's path.
   * @param signal aborted: the run is cancelled.
   * @throws {ServiceError} project_too_large when the project does not fit.
   * @throws {SandboxBroken} when no honest ending can be had.
   */
  async run(plan: RunPlan, project: Project, sink: RunSink, signal: AbortSignal): Promise<Ending> {
    if (this.#spent) throw new Error('a sandbox runs one plan');
    this.#spent = true;
    const started = performance.now();
    let hostCause: 'wall_ms' | 'cancelled' | 'never_started' | undefined;
    const endByForce = (cause: 'wall_ms' | 'cancelled' | 'never_started') => {
      hostCause ??= cause;
      this.#daemon.kill(this.containerId).catch(() => undefined);
      // Whatever the daemon does, nobody waits longer for this container.
      setTimeout(() => this.#socket.destroy(), 2_000).unref();
    };
    const timers: NodeJS.Timeout[] = [];
    let hasStarted: () => void = () => undefined;
    const cancel = () => {
      this.#socket.write(encodeFrame(FRAME.CANCEL));
      timers.push(setTimeout(endByForce, CANCEL_GRACE_MS, 'cancelled'));
    };
    try {
      signal.throwIfAborted();
      signal.addEventListener('abort', cancel, { once: true });
      const bytes = project.tarBytes + plan.stdin.length + inputBytesOf(plan);
      // A sandbox somebody paused, or whose processes get no time, is alive and says nothing.
      hasStarted = startDeadline(START_DEADLINE_MS + bytes / INTAKE_BYTES_PER_MS_MIN, () => {
        endByForce('never_started');
      });
      const ending = relayFrames(plan, sink, {
        token: this.#token,
        next: () => this.#next(),
        onStarted: () => {
          hasStarted();
          const graceMs = BACKSTOP_GRACE_MS + (plan.artifacts ? ARTIFACT_GRACE_MS : 0);
          timers.push(setTimeout(endByForce, (plan.inputs?.limits.wallMs ?? plan.limits.wall_ms) + graceMs, 'wall_ms'));
        },
        broken: (detail) => new SandboxBroken(detail),
      });
      ending.catch(() => undefined);
      if (!this.#loading) void this.load(plan, project, signal);
      await this.#loading;
      if (!signal.aborted) this.release();
      const report = await ending;
      if (report) return { kind: 'reported', report };
      if (signal.aborted) hostCause ??= 'cancelled';
      if (hostCause === 'never_started') throw this.#broken('the program was not started in time');
      return await this.#explainSilence(hostCause, performance.now() - started);
    } catch (error) {
      if (error instanceof ProtocolError) throw this.#broken('the supervisor broke the protocol', error);
      throw error;
    } finally {
      signal.removeEventListener('abort', cancel);
      hasStarted();
      for (const timer of timers) clearTimeout(timer);
    }
  }

  /** Closes the streams and removes the container; resolves when it is gone. */
  async destroy(): Promise<void> {
    this.#end(undefined);
    this.#socket.destroy();
    await this.#daemon.remove(this.containerId);
  }

  /** Sends plan, project and stdin: of a small run in one write. */
  async #send(plan: RunPlan, project: Project, signal: AbortSignal): Promise<void> {
    const { entryPoint, args, environment, commandChain, wantsLastValue, limits, onOverflow } = plan;
    const request = encodeJsonFrame(FRAME.RUN, {
      token: this.#token,
      entry: entryPoint,
      args,
      environment,
      commandChain,
      wantsLastValue,
      limits,
      onOverflow,
      artifacts: plan.artifacts ?? null,
      displays: plan.displays ?? null,
      inputs: plan.inputs
        ? {
            stopOnFailure: plan.inputs.stopOnFailure,
            wallMs: plan.inputs.limits.wallMs,
            outputBytes: plan.inputs.limits.outputBytes,
          }
        : null,
    });
    const bytes = request.length + project.tarBytes + plan.stdin.length + SMALL_RUN_BYTES;
    const writer = new FrameWriter(Math.min(WRITE_BYTES, bytes), (data) => this.#write(data));
    const isOver = () => this.#ended || signal.aborted;
    await writer.frame(request);
    for (const input of plan.inputs?.list ?? []) {
      if (isOver()) break;
      await writer.frame(inputFrame(input));
    }
    for (let position = 0; position < project.tarBytes && !isOver();) {
      const at = position;
      position += await writer.payload(FRAME.ARCHIVE, (room) => project.readInto(room, at));
    }
    for (let offset = 0; offset < plan.stdin.length && !isOver();) {
      const at = offset;
      offset += await writer.payload(FRAME.STDIN, (room) => {
        const part = plan.stdin.subarray(at, at + room.length);
        room.set(part);
        return part.length;
      });
    }
    if (isOver()) return;
    const flushed = writer.flush();
    this.#isSent = true;
    await flushed;
  }

  /** Why the stream ended without an exit frame. */
  async #explainSilence(hostCause: 'wall_ms' | 'cancelled' | undefined, wallMs: number): Promise<Ending> {
    if (hostCause) return { kind: 'backstop', cause: hostCause, wallMs };
    const state = await this.#daemon.stateOf(this.containerId).catch(() => undefined);
    if (state && !state.running && state.oomKilled) return { kind: 'out_of_memory' };
    throw this.#broken('the container ended without a report');
  }

  #arrive(frame: Frame): void {
    if (frame.type === FRAME.PONG && this.#pings > 0) {
      this.#pings -= 1;
      this.#onPong?.();
      return;
    }
    if (this.#waiter) {
      const { resolve } = this.#waiter;
      this.#waiter = undefined;
      resolve(frame);
      return;
    }
    this.#frames.push(frame);
    if (this.#frames.length >= 64) this.#socket.pause();
  }

  /** The next frame; undefined at the end of the stream. */
  async #next(): Promise<Frame | undefined> {
    const frame = this.#frames.shift();
    if (frame) {
      if (this.#frames.length === 0 && this.#socket.isPaused()) this.#socket.resume();
      return frame;
    }
    if (this.#failure) throw this.#broken('the connection to the container broke', this.#failure);
    if (this.#ended) return undefined;
    const next = await new Promise<Frame | undefined>((resolve) => {
      this.#waiter = { resolve };
    });
    if (next === undefined && this.#failure) {
      throw this.#broken('the connection to the container broke', this.#failure);
    }
    return next;
  }

  #end(failure: Error | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#waiter?.resolve(undefined);
    this.#waiter = undefined;
  }

  /** Resolves when `data` may be used again, however it went: a connection that broke ends the run elsewhere. */
  async #write(data: Buffer): Promise<void> {
    if (this.#ended) return;
    const socket = this.#socket;
    await new Promise<void>((resolve) => {
      const done = () => {
        socket.off('close', done);
        resolve();
      };
      socket.on('close', done);
      socket.write(data, done);
      this.#onFirstWrite();
      if (socket.closed) done();
    });
  }

  #broken(message: string, cause?: unknown): SandboxBroken {
    const said = this.#diagnostics.trim();
    return new SandboxBroken(said ? `${message}: ${said.slice(-500)}` : message, { cause });
  }
}
