/**
 * The layers there are, and the way to one: a lock for the requirements, an image
 * for the lock.
 *
 * A layer is an image of the daemon that was complete when it got its name. It is
 * known by what it is made of (base image, lock), never changed, built once however
 * many ask at the same time, kept while a run uses it, and forgotten last-used-first
 * when there are too many bytes. The daemon's labels are all the state there is: a
 * new process finds the layers of the one before, and half of a layer has no name.
 */
import { ServiceError } from '../domain/errors.ts';
import { abortable } from './abortable.ts';
import { digest, LAYER_FORMAT, layerOf } from './layer-images.ts';
import { LayerMaker, type LayerBase, type LayerMakerOptions } from './layer-maker.ts';
import { LayerShelf, type Layer, type LayerLease } from './layer-shelf.ts';
import { checkAllowed, mayAskFor, type PackagePolicy } from './package-policy.ts';
import type { Requirement } from './requirements.ts';

const REFUSAL_REMEMBERED_MS = 30_000;
/** What says nothing about the requirements: the next request is tried anew. */
const PASSING: ReadonlySet<string> = new Set([
  'shutting_down',
  'queue_full',
  'sandbox_unavailable',
  'image_unavailable',
  'storage_full',
  'storage_unavailable',
]);

/** How many builders run at one time, and whose turn it is. */
export interface BuildPlaces {
  /** @throws {ServiceError} queue_full. */
  reserve(
    signal: AbortSignal,
    ticket: { readonly callerId: string },
  ): {
    /** Resolves when the place is free; rejects when the signal is aborted first. */
    readonly ready: Promise<void>;
    readonly release: () => void;
  };
}

export interface LayerStoreOptions extends Omit<LayerMakerOptions, 'shelf' | 'closing'> {
  readonly policy: PackagePolicy;
  readonly totalBytesMax: number;
  /** How long a resolution holds; a newer version on the index is found after that. */
  readonly lockMsMax: number;
  readonly places: BuildPlaces;
  /** Ends whatever keeps a layer in use without a lease, before it goes. */
  readonly letGo: (key: string) => Promise<void>;
}

/** What a request is resolved and built by, for all who wait for it. */
interface Resolving {
  readonly key: Promise<string>;
  waiting: number;
  hasBegun: boolean;
  /** Ends it before it has begun: nobody waits for it any more. */
  readonly abandon: AbortController;
}

export class LayerStore {
  readonly #options: LayerStoreOptions;
  readonly #shelf: LayerShelf;
  readonly #maker: LayerMaker;
  /** What requests come to: a layer, for a while. */
  readonly #resolved = new Map<string, { readonly key: string; readonly until: number }>();
  readonly #refused = new Map<string, { readonly error: ServiceError; readonly until: number }>();
  readonly #resolving = new Map<string, Resolving>();
  readonly #closing = new AbortController();

  constructor(options: LayerStoreOptions) {
    const { images, letGo, observe, totalBytesMax } = options;
    this.#options = options;
    this.#shelf = new LayerShelf({
      bytesMax: totalBytesMax,
      remove: (key) => images.remove(key),
      letGo,
      onEvicted: ({ key, bytes }) => {
        observe({ kind: 'evicted', layer: key, bytes });
      },
    });
    this.#maker = new LayerMaker({ ...options, shelf: this.#shelf, closing: this.#closing.signal });
  }

  get count(): number {
    return this.#shelf.count;
  }

  get bytes(): number {
    return this.#shelf.bytes;
  }

  /** @throws {ServiceError} requirements_not_supported, requirements_not_allowed. */
  check(requirements: readonly Requirement[]): void {
    checkAllowed(requirements, this.#options.policy);
  }

  /** Those of the names that may be asked for: a guess is never a reason to refuse a run. */
  permitted(names: readonly string[]): readonly string[] {
    return names.filter((name) => mayAskFor(name, this.#options.policy));
  }

  /** Finds the layers an earlier process left, and removes what it did not finish. */
  async recover(): Promise<void> {
    const { images, lockMsMax } = this.#options;
    await images.sweep();
    const now = Date.now();
    for (const image of await images.list()) {
      const found = layerOf(image);
      if (!found) {
        await images.remove(image.key);
        continue;
      }
      const { layer, request, resolvedAt } = found;
      this.#shelf.put(layer, resolvedAt - now);
      const until = performance.now() + resolvedAt + lockMsMax - now;
      if (request !== undefined && until > performance.now()) this.#resolved.set(request, { key: layer.key, until });
    }
    await this.#shelf.makeRoom();
  }

  /**
   * The layer for these requirements on this image, where there is one this moment.
   * @param isWanted asked before it is taken, with `name==version` of everything in it.
   */
  found(
    base: LayerBase,
    requirements: readonly Requirement[],
    isWanted: (packages: readonly string[]) => boolean,
  ): LayerLease | undefined {
    const started = performance.now();
    const layer = this.#known(this.#requestOf(base, requirements));
    if (!layer || !isWanted(layer.packages)) return undefined;
    this.#options.observe({ kind: 'attached', cached: true, durationMs: performance.now() - started });
    return this.#shelf.lease(layer.key);
  }

  /**
   * The layer for these requirements on this image, built if there is none.
   * @param signal aborted: the caller stops waiting; a build others may want goes on.
   * @throws {ServiceError} as the builder does, queue_full, installation_timeout.
   */
  async prepare(
    base: LayerBase,
    requirements: readonly Requirement[],
    caller: string,
    signal: AbortSignal,
  ): Promise<LayerLease> {
    const started = performance.now();
    const lines = requirements.map(({ line }) => line);
    const { observe } = this.#options;
    const request = this.#requestOf(base, requirements);
    // Twice, because a layer may be evicted between the end of its build and its first use.
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const layer = this.#known(request);
      const lease = layer && this.#shelf.lease(layer.key);
      if (lease) {
        observe({ kind: 'attached', cached: attempt === 0, durationMs: performance.now() - started });
        return lease;
      }
      const refused = this.#refused.get(request);
      if (refused && refused.until > performance.now()) throw refused.error;
      await this.#resolve(request, base, lines, caller, signal);
    }
    throw new ServiceError('overloaded', 'The layers in use leave no room for another one.', { retryAfterSeconds: 10 });
  }

  /** Ends every build. Resolves when none is left. */
  async close(): Promise<void> {
    this.#closing.abort(new ServiceError('shutting_down', 'The service is shutting down.'));
    await Promise.allSettled([...this.#resolving.values()].map(({ key }) => key));
    await this.#maker.settled();
    await this.#shelf.settled();
  }

  #requestOf(base: LayerBase, requirements: readonly Requirement[]): string {
    const { constraints, indexUrl } = this.#options;
    return digest([LAYER_FORMAT, base.id, indexUrl, constraints, requirements.map(({ line }) => line)]);
  }

  /** What a request came to, as long as that holds. */
  #known(request: string): Layer | undefined {
    const known = this.#resolved.get(request);
    return known && known.until > performance.now() ? this.#shelf.get(known.key) : undefined;
  }

  /**
   * One resolution per request at a time, whoever asks. One that waits for its place goes with the last who waits for
   * it; one that has begun is seen through: who gave up waiting finds it there the next time.
   */
  async #resolve(
    request: string,
    base: LayerBase,
    lines: readonly string[],
    caller: string,
    signal: AbortSignal,
  ): Promise<void> {
    const resolving = this.#resolving.get(request) ?? this.#beginResolving(request, base, lines, caller);
    resolving.waiting += 1;
    try {
      await abortable(resolving.key, signal);
    } finally {
      resolving.waiting -= 1;
      if (resolving.waiting === 0 && !resolving.hasBegun) {
        this.#forgetResolving(request, resolving);
        resolving.abandon.abort(new Error('nobody waits for these packages any more'));
      }
    }
  }

  #beginResolving(request: string, base: LayerBase, lines: readonly string[], caller: string): Resolving {
    const abandon = new AbortController();
    const key = this.#inPlace(caller, abandon.signal, () => {
      resolving.hasBegun = true;
      return this.#make(request, base, lines, caller);
    })
      .catch((error: unknown) => {
        if (abandon.signal.aborted) throw error;
        const code = error instanceof ServiceError ? error.code : 'internal';
        this.#options.observe({ kind: 'failed', code, caller });
        if (error instanceof ServiceError && !PASSING.has(code)) {
          // No longer than its callers are told to wait before they try again.
          const rememberedMs = Math.min(REFUSAL_REMEMBERED_MS, (error.retryAfterSeconds ?? Infinity) * 1000);
          this.#refused.set(request, { error, until: performance.now() + rememberedMs });
          this.#forgetOld();
        }
        throw error;
      })
      .finally(() => {
        this.#forgetResolving(request, resolving);
      });
    key.catch(() => undefined);
    const resolving: Resolving = { key, waiting: 0, hasBegun: false, abandon };
    this.#resolving.set(request, resolving);
    return resolving;
  }

  #forgetResolving(request: string, resolving: Resolving): void {
    if (this.#resolving.get(request) === resolving) this.#resolving.delete(request);
  }

  /** A build in its place, when its caller's turn has come. */
  async #inPlace<T>(caller: string, abandoned: AbortSignal, build: () => Promise<T>): Promise<T> {
    const signal = AbortSignal.any([abandoned, this.#closing.signal]);
    const place = this.#options.places.reserve(signal, { callerId: caller });
    try {
      await place.ready;
      signal.throwIfAborted();
      return await build();
    } finally {
      place.release();
    }
  }

  async #make(request: string, base: LayerBase, lines: readonly string[], caller: string): Promise<string> {
    const key = await this.#maker.make(request, base, lines, caller);
    this.#resolved.set(request, { key, until: performance.now() + this.#options.lockMsMax });
    this.#forgetOld();
    return key;
  }

  #forgetOld(): void {
    const now = performance.now();
    for (const [request, { until }] of this.#resolved) if (until <= now) this.#resolved.delete(request);
    for (const [request, { until }] of this.#refused) if (until <= now) this.#refused.delete(request);
  }
}
