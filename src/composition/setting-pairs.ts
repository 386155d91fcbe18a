/**
 * Settings that are lists of `key=value`.
 */
import { ConfigError, type Config } from '../config/config.ts';

/** The pairs of a list of `key=value`. @throws {ConfigError} naming the item that is none. */
export function pairsOf(items: readonly string[], setting: string): readonly (readonly [string, string])[] {
  return items.map((item) => {
    const equals = item.lastIndexOf('=');
    if (equals < 1 || equals === item.length - 1)
      throw new ConfigError(`${setting}: ${item} is not of the form key=value`);
    return [item.slice(0, equals), item.slice(equals + 1)] as const;
  });
}

/** Images to keep warm, with how many of each. */
export function poolSizesOf(config: Config): ReadonlyMap<string, number> {
  const sizes = new Map([[config.PYEXEC_DEFAULT_IMAGE, config.PYEXEC_POOL_SIZE]]);
  for (const [reference, size] of pairsOf(config.PYEXEC_POOL_IMAGES, 'PYEXEC_POOL_IMAGES')) {
    if (!/^\d{1,3}$/.test(size)) throw new ConfigError(`PYEXEC_POOL_IMAGES: ${size} is not a number of sandboxes`);
    sizes.set(reference, Number(size));
  }
  return sizes;
}
