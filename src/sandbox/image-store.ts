/**
 * The images on this machine, asked of the daemon. What a name means is remembered
 * for a short while, so that a request does not pay for asking; nothing is pulled.
 */
import { ServiceError } from '../domain/errors.ts';
import { asUnavailable } from './daemon-calls.ts';
import { type DockerDaemon } from './docker-daemon.ts';

const REMEMBER_MS = 10_000;

export interface LocalImage {
  readonly reference: string;
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly sizeBytes: number;
}

export class ImageStore {
  readonly #daemon: DockerDaemon;
  readonly #known = new Map<string, { readonly image: LocalImage; readonly until: number }>();

  constructor(daemon: DockerDaemon) {
    this.#daemon = daemon;
  }

  /**
   * The local image `reference` names.
   * @throws {ServiceError} image_unavailable when it is not on this machine, sandbox_unavailable when the daemon does not tell.
   */
  async find(reference: string): Promise<LocalImage> {
    const known = this.#known.get(reference);
    if (known && known.until > performance.now()) return known.image;
    try {
      const found = await this.#daemon.images.find(reference);
      if (!found) {
        this.#known.delete(reference);
        throw new ServiceError('image_unavailable', `The image ${reference} is not on this machine.`, {
          members: { image: reference },
        });
      }
      const image = { reference, ...found };
      this.#known.set(reference, { image, until: performance.now() + REMEMBER_MS });
      return image;
    } catch (error) {
      throw asUnavailable(error);
    }
  }

  /** Every local image with a name. @throws {ServiceError} sandbox_unavailable when the daemon does not tell. */
  async list(): Promise<
    readonly {
      readonly reference: string;
      readonly id: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly sizeBytes: number;
    }[]
  > {
    try {
      return await this.#daemon.images.listTagged();
    } catch (error) {
      throw asUnavailable(error);
    }
  }
}
