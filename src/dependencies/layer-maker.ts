/**
 * Makes layers: packages are found and installed by a builder, and what it made becomes an image.
 *
 * What comes to the same lock is built once. Half of a layer has no name; what a build that failed left in the daemon is
 * removed when no other is under way. When a layer is made at all is layer-store.ts.
 */
import { ServiceError } from '../domain/errors.ts';
import type { Project } from '../domain/project.ts';
import {
  buildInContainer,
  type BuilderChannel,
  type BuilderEgress,
  type BuildJob,
  type Lock,
} from './builder/builder-session.ts';
import { digest, layerLabels, LAYER_FORMAT, type LayerImages } from './layer-images.ts';
import type { LayerShelf } from './layer-shelf.ts';

const TIDY_AGAIN_MS = 10_000;

/** The image a layer goes on. */
export interface LayerBase {
  readonly id: string;
  readonly reference: string;
  /** Versions by canonical name. */
  readonly packages: Readonly<Record<string, string>>;
}

export type LayerEvent =
  | { readonly kind: 'attached'; readonly cached: boolean; readonly durationMs: number }
  /** What will be in a layer is known; `name==version` of each. */
  | { readonly kind: 'locked'; readonly packages: readonly string[] }
  | { readonly kind: 'phase'; readonly phase: 'resolve' | 'install' | 'seal'; readonly durationMs: number }
  | {
      readonly kind: 'installed';
      readonly layer: string;
      readonly image: string;
      readonly caller: string;
      readonly lines: readonly string[];
      readonly bytes: number;
    }
  | { readonly kind: 'failed'; readonly code: string; readonly caller: string }
  | { readonly kind: 'evicted'; readonly layer: string; readonly bytes: number };

export interface LayerMakerOptions {
  readonly images: LayerImages;
  readonly shelf: LayerShelf;
  readonly constraints: readonly string[];
  readonly indexUrl: string;
  readonly indexHosts: readonly string[];
  readonly packagesMax: number;
  readonly filesMax: number;
  readonly layerBytesMax: number;
  readonly buildMsMax: number;
  /** A builder with the Python of this image. Throws requirements_not_supported when there is none. */
  readonly startBuilder: (base: LayerBase, signal: AbortSignal) => Promise<BuilderChannel>;
  readonly openEgress: () => BuilderEgress;
  /** Whether the index can be connected to at all. */
  readonly indexAnswers: () => Promise<boolean>;
  readonly readTree: (tar: AsyncIterable<Uint8Array>, signal: AbortSignal) => Promise<Project>;
  readonly observe: (event: LayerEvent) => void;
  /** Aborted: every build ends with its reason. */
  readonly closing: AbortSignal;
}

export class LayerMaker {
  readonly #options: LayerMakerOptions;
  readonly #building = new Map<string, Promise<void>>();
  /** Whether a build failed in the daemon, which may have made the image all the same. */
  #isUntidy = false;
  #tidying: Promise<void> | undefined;
  #sealing = 0;

  constructor(options: LayerMakerOptions) {
    this.#options = options;
  }

  /** Resolves when nothing is being built or removed. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#building.values());
    await this.#tidying;
  }

  /**
   * Makes the layer of these requirements, where there is none of the same lock yet.
   * @param request under which the layer is found again after a restart.
   * @returns its key; it is in use until the turn after this resolved.
   * @throws {ServiceError} as the builder does, installation_timeout, shutting_down.
   */
  async make(request: string, base: LayerBase, lines: readonly string[], caller: string): Promise<string> {
    const { buildMsMax, indexAnswers, observe, openEgress, shelf, startBuilder } = this.#options;
    const timeout = AbortSignal.timeout(buildMsMax);
    const signal = AbortSignal.any([timeout, this.#options.closing]);
    let channel: BuilderChannel | undefined;
    const egress = openEgress();
    const started = performance.now();
    let resolvedAt = started;
    try {
      if (!(await indexAnswers())) {
        throw new ServiceError('index_unreachable', 'The package index cannot be reached.');
      }
      channel = await startBuilder(base, signal);
      const opened = channel;
      // The container's end ends its frames, and so everything below.
      signal.addEventListener('abort', () => void opened.release(), { once: true });
      signal.throwIfAborted();
      let key = '';
      let elsewhere: Promise<void> | undefined;
      const mine = Promise.withResolvers<void>();
      mine.promise.catch(() => undefined);
      try {
        const { lock, tree } = await buildInContainer(opened, egress, this.#job(base, lines), {
          agree: (found) => {
            resolvedAt = performance.now();
            observe({ kind: 'phase', phase: 'resolve', durationMs: resolvedAt - started });
            observe({ kind: 'locked', packages: namesOf(found) });
            key = digest([LAYER_FORMAT, base.id, found.site, found.lines]);
            // Markers can leave nothing to install: the base is the layer.
            if (found.lines.length === 0) shelf.put({ key, imageId: base.id, packages: [], bytes: 0 });
            // Other requirements may have come to the same lock, before or right now.
            elsewhere = this.#building.get(key);
            if (shelf.has(key) || elsewhere) return false;
            this.#building.set(key, mine.promise);
            return true;
          },
          readTree: (tar) => this.#options.readTree(tar, signal),
        });
        let free: (() => void) | undefined;
        if (tree) {
          observe({ kind: 'phase', phase: 'install', durationMs: performance.now() - resolvedAt });
          free = await this.#seal(key, request, base, lock, tree, signal);
          const bytes = tree.contentBytes;
          observe({ kind: 'installed', layer: key, image: base.reference, caller, lines: lock.lines, bytes });
        } else await elsewhere;
        mine.resolve();
        // Those who wait for it take it before anything else happens; from then on it is in use by them.
        if (free) setImmediate(free);
        return key;
      } catch (error) {
        mine.reject(error);
        throw error;
      } finally {
        if (this.#building.get(key) === mine.promise) this.#building.delete(key);
        this.#tidyWhenIdle();
      }
    } catch (error) {
      if (this.#options.closing.aborted) throw this.#options.closing.reason;
      if (timeout.aborted) {
        throw new ServiceError('installation_timeout', 'The packages could not be installed in time.', {
          cause: error,
        });
      }
      throw error;
    } finally {
      egress.close();
      void channel?.release();
    }
  }

  #job(base: LayerBase, lines: readonly string[]): BuildJob {
    const { constraints, indexUrl, indexHosts, packagesMax, layerBytesMax, filesMax } = this.#options;
    return {
      requirements: lines,
      constraints,
      present: base.packages,
      indexUrl,
      indexHosts,
      packagesMax,
      bytesMax: layerBytesMax,
      filesMax,
    };
  }

  /** Makes the image. It is in use: whoever asked for it has it until they took it. @returns what ends that. */
  async #seal(
    key: string,
    request: string,
    base: LayerBase,
    lock: Lock,
    tree: Project,
    signal: AbortSignal,
  ): Promise<() => void> {
    const started = performance.now();
    const { images, observe, shelf } = this.#options;
    const packages = namesOf(lock);
    this.#sealing += 1;
    try {
      await this.#tidying;
      // An image of the same name may be on its way out.
      await shelf.left(key);
      const imageId = await images.seal({
        key,
        baseImageId: base.id,
        tree,
        site: lock.site,
        labels: layerLabels({ request, packages, bytes: tree.contentBytes }),
        signal,
      });
      const free = shelf.putInUse({ key, imageId, packages, bytes: tree.contentBytes });
      await shelf.makeRoom();
      observe({ kind: 'phase', phase: 'seal', durationMs: performance.now() - started });
      return free;
    } catch (error) {
      this.#isUntidy = true;
      // The daemon may have made it although its answer never came.
      await images.remove(key).catch(() => false);
      // What a failed build left; not beside another, whose images have no name yet.
      if (this.#sealing === 1) await images.sweep().catch(() => undefined);
      throw error;
    } finally {
      this.#sealing -= 1;
      await tree.dispose();
    }
  }

  #tidyWhenIdle(): void {
    const isIdle = this.#building.size === 0 && !this.#options.closing.aborted;
    if (this.#isUntidy && isIdle) this.#tidying ??= this.#tidy();
  }

  /** Removes images of builds that failed. What cannot be removed now is after a while, or a build. Never rejects. */
  async #tidy(): Promise<void> {
    const { images, shelf } = this.#options;
    try {
      await images.sweep();
      for (const { key } of await images.list()) if (!shelf.has(key)) await images.remove(key);
      this.#isUntidy = false;
    } catch {
      // The daemon is not well; nobody waits for this.
      setTimeout(() => {
        this.#tidyWhenIdle();
      }, TIDY_AGAIN_MS).unref();
    } finally {
      this.#tidying = undefined;
    }
  }
}

const namesOf = ({ packages }: Lock) => packages.map(({ name, version }) => `${name}==${version}`);
