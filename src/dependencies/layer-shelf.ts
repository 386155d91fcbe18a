/**
 * The layers there are: which are in use, and which go when there are too many bytes.
 *
 * A layer is kept while a run uses it, and forgotten last-used-first. What it is made of, and by whom, is not known here.
 */

export interface Layer {
  readonly key: string;
  readonly imageId: string;
  /** `name==version` of everything in it. */
  readonly packages: readonly string[];
  readonly bytes: number;
}

/** A layer in use: it stays until it is released. */
export interface LayerLease {
  readonly key: string;
  /** The image to run, in place of the base. */
  readonly imageId: string;
  /** `name==version` of everything in it. */
  readonly packages: readonly string[];
  release(): void;
  /** Says that the daemon no longer has it. */
  lost(): void;
}

export interface LayerShelfOptions {
  readonly bytesMax: number;
  /** Removes the image. False when it is still in use. */
  readonly remove: (key: string) => Promise<boolean>;
  /** Ends whatever keeps a layer in use without a lease, before it goes. */
  readonly letGo: (key: string) => Promise<void>;
  readonly onEvicted: (layer: Layer) => void;
}

interface Place {
  readonly layer: Layer;
  users: number;
  usedAt: number;
}

export class LayerShelf {
  readonly #options: LayerShelfOptions;
  readonly #places = new Map<string, Place>();
  /** Layers that are being removed. */
  readonly #leaving = new Map<string, Promise<void>>();
  #makingRoom: Promise<void> = Promise.resolve();
  #clock = 0;

  constructor(options: LayerShelfOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#places.size;
  }

  get bytes(): number {
    let sum = 0;
    for (const { layer } of this.#places.values()) sum += layer.bytes;
    return sum;
  }

  get(key: string): Layer | undefined {
    return this.#places.get(key)?.layer;
  }

  has(key: string): boolean {
    return this.#places.has(key);
  }

  /** Adds a layer nobody uses. @param usedAt smaller: used longer ago; what is used from now on counts from 1. */
  put(layer: Layer, usedAt = 0): void {
    this.#places.set(layer.key, { layer, users: 0, usedAt });
  }

  /** Adds a layer that is in use from the beginning. @returns what ends that use. */
  putInUse(layer: Layer): () => void {
    const place: Place = { layer, users: 1, usedAt: (this.#clock += 1) };
    this.#places.set(layer.key, place);
    return () => {
      this.#free(place);
    };
  }

  /** Takes a layer into use, if there is one of this key. */
  lease(key: string): LayerLease | undefined {
    const place = this.#places.get(key);
    if (!place) return undefined;
    place.users += 1;
    place.usedAt = this.#clock += 1;
    let isHeld = true;
    const { imageId, packages } = place.layer;
    return {
      key,
      imageId,
      packages,
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#free(place);
      },
      lost: () => {
        if (this.#places.get(key) !== place) return;
        this.#places.delete(key);
        void this.#options.letGo(key);
      },
    };
  }

  /** Resolves when a layer of this key is not on its way out any more. */
  async left(key: string): Promise<void> {
    await this.#leaving.get(key);
  }

  /**
   * Forgets the layers that were used longest ago and are not in use, until the rest fits; one pass at a time. The one
   * used last stays, also where it alone does not fit. Never rejects.
   */
  makeRoom(): Promise<void> {
    this.#makingRoom = this.#makingRoom.then(async () => {
      for (const place of [...this.#places.values()].sort((a, b) => a.usedAt - b.usedAt).slice(0, -1)) {
        if (this.bytes <= this.#options.bytesMax) return;
        const { key } = place.layer;
        if (place.users > 0 || this.#places.get(key) !== place) continue;
        // Out of the list first: nobody can begin to use it while it goes.
        this.#places.delete(key);
        const leaving = this.#takeAway(place);
        this.#leaving.set(key, leaving);
        await leaving;
        this.#leaving.delete(key);
      }
    });
    return this.#makingRoom;
  }

  /** Resolves when nothing is on its way out. */
  async settled(): Promise<void> {
    await this.#makingRoom;
  }

  /** One use less. What was over the bound because it was in use can go now. */
  #free(place: Place): void {
    place.users -= 1;
    if (place.users === 0 && this.bytes > this.#options.bytesMax) void this.makeRoom();
  }

  /** Never rejects; a layer that cannot be removed is a layer still. */
  async #takeAway(place: Place): Promise<void> {
    const { letGo, onEvicted, remove } = this.#options;
    const { layer } = place;
    const isGone = await letGo(layer.key)
      .then(() => remove(layer.key))
      .catch(() => false);
    if (isGone) onEvicted(layer);
    else this.#places.set(layer.key, place);
  }
}
