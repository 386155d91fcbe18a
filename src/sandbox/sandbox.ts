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
import type { RunPlan, SandboxShape } from '../domain/plan.ts';
import type { Project } from '../domain/project.ts';
import { ContainerLink } from './container-link.ts';
import { startDeadline } from './deadline.ts';
import type { DockerDaemon } from './docker-daemon.ts';
import { relayFrames, type RunSink } from './run-frames.ts';
import { intakeBytes, sendRun } from './run-intake.ts';
import {
  compiledCommand,
  encodeFrame,
  FRAME,
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

export class Sandbox {
  readonly containerId: string;
  readonly shape: SandboxShape;
  readonly #daemon: DockerDaemon;
  readonly #link: ContainerLink;
  /** Known to the supervisor and not to the program: sent before the program is released, returned with the exit. */
  readonly #token = randomUUID();
  readonly #pings: Pings;
  #spent = false;
  #loading: Promise<void> | undefined;
  /** Whether all of the plan, the project and stdin has been given to the link. */
  #isSent = false;
  #isReleased = false;

  private constructor(
    shape: SandboxShape,
    daemon: DockerDaemon,
    containerId: string,
    link: ContainerLink,
    pings: Pings,
  ) {
    this.containerId = containerId;
    this.shape = shape;
    this.#daemon = daemon;
    this.#link = link;
    this.#pings = pings;
  }

  /**
   * Attaches to a created container and starts it.
   * @throws {DaemonError} when the daemon refuses or hangs.
   */
  static async start(containerId: string, shape: SandboxShape, daemon: DockerDaemon): Promise<Sandbox> {
    const pings = new Pings();
    const link = await ContainerLink.start(containerId, daemon, (frame) => pings.takes(frame));
    return new Sandbox(shape, daemon, containerId, link, pings);
  }

  get isAlive(): boolean {
    return !this.#link.isEnded;
  }

  /**
   * Waits until the supervisor is ready for a plan.
   * @throws {SandboxBroken} when it dies, speaks another protocol, or takes too long.
   */
  async handshake(): Promise<{ pythonVersion: string }> {
    const heard = startDeadline(HELLO_DEADLINE_MS, () => {
      this.#link.end(new SandboxBroken('no handshake in time'));
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
      this.#link.end(new SandboxBroken('no byte code in time'));
    }, HELLO_DEADLINE_MS);
    try {
      await this.#link.write(encodeFrame(FRAME.COMPILE));
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
    if (this.#link.isEnded) return false;
    // Its run is under way: what becomes of it is for `run` to tell.
    if (this.#loading || this.#pings.isAsking) return true;
    return this.#pings.ask(this.#link, withinMs);
  }

  /**
   * Begins to send the plan, the project and stdin, which `run` otherwise does first. The program does not
   * begin before `run` is called, and a sandbox that is loaded is spent. Resolves when the first bytes are
   * on their way. Never rejects: what goes wrong is for `run` to tell.
   */
  async load(plan: RunPlan, project: Project, signal: AbortSignal): Promise<void> {
    if (this.#loading) throw new Error('a sandbox runs one plan');
    const { promise: begun, resolve } = Promise.withResolvers<undefined>();
    this.#loading = this.#send(plan, project, signal, () => {
      resolve(undefined);
    });
    await Promise.race([begun, this.#loading.catch(() => undefined)]);
  }

  /**
   * Has the program begin: it is recorded that it does. Does nothing while not all of it was sent; `run` waits for that
   * and does it then.
   */
  release(): void {
    if (!this.#isSent || this.#isReleased || this.#link.isEnded) return;
    this.#isReleased = true;
    this.#link.send(encodeFrame(FRAME.RELEASE));
  }

  /**
   * Gives up a sandbox that is not to run: resolves when its project, if it was loaded, is not read any more. The
   * container is not removed.
   */
  async abandon(): Promise<void> {
    this.#link.close();
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
      setTimeout(() => {
        this.#link.close();
      }, 2_000).unref();
    };
    const timers: NodeJS.Timeout[] = [];
    let hasStarted: () => void = () => undefined;
    const cancel = () => {
      this.#link.send(encodeFrame(FRAME.CANCEL));
      timers.push(setTimeout(endByForce, CANCEL_GRACE_MS, 'cancelled'));
    };
    try {
      signal.throwIfAborted();
      signal.addEventListener('abort', cancel, { once: true });
      const bytes = intakeBytes(plan, project);
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
    this.#link.close();
    await this.#daemon.remove(this.containerId);
  }

  #send(plan: RunPlan, project: Project, signal: AbortSignal, onFirstWrite: () => void): Promise<void> {
    return sendRun(plan, project, {
      token: this.#token,
      write: (data) => {
        const done = this.#link.write(data);
        onFirstWrite();
        return done;
      },
      isOver: () => this.#link.isEnded || signal.aborted,
      onSent: () => {
        this.#isSent = true;
      },
    });
  }

  /** Why the stream ended without an exit frame. */
  async #explainSilence(hostCause: 'wall_ms' | 'cancelled' | undefined, wallMs: number): Promise<Ending> {
    if (hostCause) return { kind: 'backstop', cause: hostCause, wallMs };
    const state = await this.#daemon.stateOf(this.containerId).catch(() => undefined);
    if (state && !state.running && state.oomKilled) return { kind: 'out_of_memory' };
    throw this.#broken('the container ended without a report');
  }

  /** The next frame; undefined at the end of the stream. @throws {SandboxBroken} when the stream broke. */
  async #next(): Promise<Frame | undefined> {
    const frame = await this.#link.next();
    if (!frame && this.#link.failure) {
      throw this.#broken('the connection to the container broke', this.#link.failure);
    }
    return frame;
  }

  #broken(message: string, cause?: unknown): SandboxBroken {
    const said = this.#link.diagnostics.trim();
    return new SandboxBroken(said ? `${message}: ${said.slice(-500)}` : message, { cause });
  }
}

/** Questions to a supervisor whether it is there, and its answers, which come whenever they do. */
class Pings {
  #unanswered = 0;
  #onAnswer: (() => void) | undefined;

  /** Whether an answer is waited for. */
  get isAsking(): boolean {
    return this.#onAnswer !== undefined;
  }

  /** Whether the frame is an answer. */
  takes(frame: Frame): boolean {
    if (frame.type !== FRAME.PONG || this.#unanswered === 0) return false;
    this.#unanswered -= 1;
    this.#onAnswer?.();
    return true;
  }

  /** Whether an answer came in time. */
  async ask(link: ContainerLink, withinMs: number): Promise<boolean> {
    return new Promise<boolean>((resolve) => {
      const heard = startDeadline(withinMs, () => {
        this.#onAnswer = undefined;
        resolve(false);
      });
      this.#onAnswer = () => {
        this.#onAnswer = undefined;
        heard();
        resolve(true);
      };
      this.#unanswered += 1;
      link.send(encodeFrame(FRAME.PING));
    });
  }
}
