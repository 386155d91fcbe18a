/**
 * Makes containers: create, attach, start, handshake; and unmakes them.
 *
 * Every container is in the registry from before it exists until the daemon says
 * that it is gone, so the reaper can tell a live one from an orphan. At most a
 * few are made at a time, because the daemon gets slower, not faster, with more.
 */
import { randomUUID } from 'node:crypto';
import { ServiceError } from '../domain/errors.ts';
import type { SandboxShape } from '../domain/plan.ts';
import { ToolContainer } from './tool-container.ts';
import { LABEL } from './container-labels.ts';
import { containerSpec, type ContainerSettings } from './container-spec.ts';
import { DaemonError } from './daemon-calls.ts';
import { type DockerDaemon } from './docker-daemon.ts';
import { Sandbox, SandboxBroken } from './sandbox.ts';
import { StartDrought } from './start-drought.ts';
import { UidAllocator } from './uid-allocator.ts';

/** Images whose byte code is kept, some 80 KiB each. */
const IMAGES_MAX = 64;
const REMOVE_ATTEMPTS = 6;
const REMOVE_BACKOFF_MS = 250;
/**
 * A removal begins this much after the end of its run: the answer goes out first, and the engine, which notices
 * an end late, would otherwise start a process to kill what is dead. That is a tenth of all that can be run.
 */
const REMOVE_AFTER_MS = 80;

export interface SandboxHostOptions {
  readonly daemon: DockerDaemon;
  readonly settings: ContainerSettings;
  readonly instance: string;
  /** Containers being created or started at one time. */
  readonly concurrentStarts: number;
  /** How long a container may exist at most; after that any server may remove it. */
  readonly lifetimeMsMax: number;
  readonly observe: (event: SandboxEvent) => void;
}

export type SandboxEvent =
  | { readonly kind: 'started'; readonly durationMs: number; readonly runtime: string }
  | { readonly kind: 'removed'; readonly durationMs: number }
  | { readonly kind: 'remove_failed'; readonly error: Error }
  | { readonly kind: 'orphan_reaped'; readonly containerId: string };

/** A sandbox in use, and the way to give it back. */
export interface Lease {
  readonly sandbox: Sandbox;
  /** Removes the container. Resolves when it is gone or the reaper has it; never rejects. */
  release(): Promise<void>;
}

export class SandboxHost {
  readonly boot = randomUUID();
  readonly #options: SandboxHostOptions;
  readonly #uids = new UidAllocator();
  /** Names of the containers that are being made, in use, or being removed. */
  readonly #live = new Set<string>();
  readonly #removals = new Set<Promise<void>>();
  readonly #waiting: { readonly since: number; readonly go: () => void; readonly fail: (error: Error) => void }[] = [];
  readonly #drought = new StartDrought();
  /** The command for each image once it is compiled, or that there is none; undefined while it is asked for. */
  readonly #commands = new Map<string, readonly string[] | undefined>();
  #starting = 0;

  constructor(options: SandboxHostOptions) {
    this.#options = options;
  }

  get liveCount(): number {
    return this.#live.size;
  }

  /** Names of the containers that are being made, in use or being removed, as of now. */
  get liveNames(): ReadonlySet<string> {
    return new Set(this.#live);
  }

  /**
   * A started sandbox of this shape whose supervisor answered.
   * @throws {ServiceError} sandbox_unavailable, image_unavailable.
   */
  async start(shape: SandboxShape, signal: AbortSignal): Promise<Lease> {
    await this.#startSlot();
    try {
      signal.throwIfAborted();
      return await this.#start(shape);
    } finally {
      this.#freeStartSlot();
    }
  }

  /**
   * A started tool: a container with the guards of a sandbox and another command.
   * @throws {ServiceError} sandbox_unavailable, image_unavailable.
   */
  async startTool(
    shape: SandboxShape,
    command: readonly string[],
  ): Promise<{ readonly container: ToolContainer; release(): Promise<void> }> {
    await this.#startSlot();
    try {
      const settings = { ...this.#options.settings, command };
      const { opened, release } = await this.#make(shape, settings, (id) =>
        ToolContainer.start(id, this.#options.daemon),
      );
      return { container: opened, release };
    } finally {
      this.#freeStartSlot();
    }
  }

  /** Resolves when every removal under way has ended. */
  async settled(): Promise<void> {
    while (this.#removals.size > 0) await Promise.all(this.#removals);
  }

  async #startSlot(): Promise<void> {
    if (this.#starting >= this.#options.concurrentStarts) {
      await new Promise<void>((go, fail) => this.#waiting.push({ since: performance.now(), go, fail }));
      return;
    }
    this.#starting += 1;
  }

  #freeStartSlot(): void {
    // The place passes on without becoming free in between.
    const next = this.#waiting.shift();
    if (next) next.go();
    else this.#starting -= 1;
  }

  /** Those who wait long enough to have seen nothing start need not try it themselves. */
  #failWaiting(failure: Error): void {
    for (let next = this.#waiting[0]; next && this.#drought.concerns(next.since); next = this.#waiting[0]) {
      this.#waiting.shift();
      next.fail(failure);
    }
  }

  async #start(shape: SandboxShape): Promise<Lease> {
    const { daemon, settings, observe } = this.#options;
    const started = performance.now();
    const command = this.#commands.get(shape.imageId) ?? settings.command;
    const { opened, release } = await this.#make(shape, { ...settings, command }, async (id) => {
      const sandbox = await Sandbox.start(id, shape, daemon);
      try {
        await sandbox.handshake();
        if (this.#isToCompile(shape)) await this.#compile(shape.imageId, sandbox);
      } catch (error) {
        // Its streams alone: of two removals at one time the second returns before the container is gone.
        void sandbox.abandon();
        throw error;
      }
      return sandbox;
    });
    observe({ kind: 'started', durationMs: performance.now() - started, runtime: shape.runtime });
    return { sandbox: opened, release };
  }

  /** An image is asked once, by its first container. One that was made for packages is not worth the time. */
  #isToCompile({ imageId, layer }: SandboxShape): boolean {
    return layer === undefined && !this.#commands.has(imageId) && this.#commands.size < IMAGES_MAX;
  }

  async #compile(imageId: string, sandbox: Sandbox): Promise<void> {
    this.#commands.set(imageId, undefined);
    this.#commands.set(imageId, await sandbox.compile());
  }

  /** A container with a name, a uid and a place in the registry, until it is released. */
  async #make<Opened extends { destroy(): Promise<void> }>(
    shape: SandboxShape,
    settings: ContainerSettings,
    open: (containerId: string) => Promise<Opened>,
  ): Promise<{ opened: Opened; release: () => Promise<void> }> {
    const { daemon, instance, lifetimeMsMax } = this.#options;
    const name = `pyexec-${randomUUID()}`;
    const uid = this.#uids.take();
    const expires = Math.ceil((Date.now() + lifetimeMsMax) / 1000);
    const labels = { [LABEL.instance]: instance, [LABEL.boot]: this.boot, [LABEL.expires]: String(expires) };
    this.#live.add(name);
    let containerId: string | undefined;
    let opened: Opened;
    try {
      containerId = await daemon.create(containerSpec(shape, { name, labels, uid }, settings));
      opened = await open(containerId);
    } catch (error) {
      // By name: the daemon may have made it although its answer never came.
      void this.#remove(name, uid, () => daemon.remove(containerId ?? name));
      const failure = startFailure(error);
      this.#failWaiting(failure);
      throw failure;
    }
    this.#drought.succeeded();
    let released: Promise<void> | undefined;
    return { opened, release: () => (released ??= this.#remove(name, uid, () => opened.destroy(), REMOVE_AFTER_MS)) };
  }

  #remove(name: string, uid: number, attempt: () => Promise<void>, afterMs = 0): Promise<void> {
    const removal = this.#removeWithRetries(name, uid, attempt, afterMs);
    this.#removals.add(removal);
    void removal.finally(() => this.#removals.delete(removal));
    return removal;
  }

  async #removeWithRetries(name: string, uid: number, attempt: () => Promise<void>, afterMs: number): Promise<void> {
    const { observe } = this.#options;
    if (afterMs > 0) await new Promise((resolve) => setTimeout(resolve, afterMs));
    const started = performance.now();
    for (let tried = 1; ; tried += 1) {
      try {
        await attempt();
        this.#uids.release(uid);
        observe({ kind: 'removed', durationMs: performance.now() - started });
        break;
      } catch (error) {
        if (tried === REMOVE_ATTEMPTS) {
          // Out of the registry it is an orphan, which the reaper goes on trying to remove; its uid stays taken.
          observe({ kind: 'remove_failed', error: error instanceof Error ? error : new Error(String(error)) });
          break;
        }
        await new Promise((resolve) => setTimeout(resolve, REMOVE_BACKOFF_MS * 2 ** tried));
      }
    }
    this.#live.delete(name);
  }
}

function startFailure(error: unknown): Error {
  if (error instanceof DaemonError) {
    if (error.call === 'create' && error.statusCode === 404) {
      return new ServiceError('image_unavailable', 'The image has disappeared from this machine.', { cause: error });
    }
    return new ServiceError('sandbox_unavailable', 'The container engine did not start a sandbox.', {
      cause: error,
      retryAfterSeconds: 5,
    });
  }
  if (error instanceof SandboxBroken) {
    return new ServiceError('sandbox_unavailable', 'The sandbox did not become ready.', {
      cause: error,
      retryAfterSeconds: 5,
    });
  }
  return error instanceof Error ? error : new Error(String(error));
}
