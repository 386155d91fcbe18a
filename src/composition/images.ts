/**
 * The room of images: which of those on this machine may be run, by whom.
 */
import type { Config } from '../config/config.ts';
import type { Caller } from '../domain/caller.ts';
import { ServiceError } from '../domain/errors.ts';
import { imageMatcher, isReference, normalizeReference } from '../policy/image-catalogue.ts';
import { defaultImageOf, mayUseImage } from '../policy/within-caller.ts';
import type { ImageStore, LocalImage } from '../sandbox/image-store.ts';

export type OfferedImage = LocalImage & { readonly isDefault: boolean };

export interface OfferedImages {
  /**
   * The image a caller asked for, or the one that is its default.
   * @throws {ServiceError} image_not_allowed, image_unavailable, sandbox_unavailable.
   */
  resolve(asked: string | undefined, caller: Caller): Promise<LocalImage>;
  /** Those the operator allows. @throws {ServiceError} sandbox_unavailable. */
  list(): Promise<readonly OfferedImage[]>;
}

export function offeredImages(config: Config, imageStore: ImageStore): OfferedImages {
  const isAllowed = imageMatcher(config.PYEXEC_ALLOWED_IMAGES);
  const defaultReference = normalizeReference(config.PYEXEC_DEFAULT_IMAGE);
  const mayRun = (reference: string) => normalizeReference(reference) === defaultReference || isAllowed(reference);
  return {
    resolve: async (asked, caller) => {
      const reference = asked ?? defaultImageOf(caller, config.PYEXEC_DEFAULT_IMAGE);
      if (!mayUseImage(caller, reference)) {
        throw new ServiceError('image_not_allowed', 'Your credentials do not allow this image; see /api/v1/images.');
      }
      if (reference === config.PYEXEC_DEFAULT_IMAGE) return imageStore.find(reference);
      if (!isReference(reference) || !mayRun(reference)) {
        throw new ServiceError('image_not_allowed', 'The image is not one the operator allows; see /api/v1/images.');
      }
      // In full, so that the daemon cannot take it for the beginning of an image id.
      return { ...(await imageStore.find(normalizeReference(reference))), reference };
    },
    list: async () =>
      (await imageStore.list())
        .filter(({ reference }) => mayRun(reference))
        .map((image) => ({ ...image, isDefault: normalizeReference(image.reference) === defaultReference })),
  };
}
