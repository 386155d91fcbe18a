/**
 * What is kept warm, from the settings: which images, how many, with what imported.
 */
import { ConfigError, type Config } from '../config/config.ts';
import { ServiceError } from '../domain/errors.ts';
import type { SandboxShape } from '../domain/plan.ts';
import { normalizeReference } from '../policy/image-catalogue.ts';
import type { Lease } from '../sandbox/cold-start.ts';
import type { PoolTarget } from '../sandbox/pool-shelf.ts';
import { pairsOf } from './setting-pairs.ts';

/** How many sandboxes of one kind are kept: between these bounds, by demand. */
export interface PoolSize {
  readonly min: number;
  readonly max: number;
}

export interface PoolWish extends PoolSize {
  readonly image: string;
  readonly preimports: readonly string[];
}

const MODULE = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$/;
const MODULES_MAX = 16;
const SIZE_MAX = 256;

/** `4` or `2-8`. @throws {ConfigError} naming the setting. */
function sizeOf(text: string, setting: string): PoolSize {
  const [, least = '', most = least] = /^(\d{1,12})(?:-(\d{1,12}))?$/.exec(text) ?? [];
  const size = { min: Number(least), max: Number(most) };
  if (least === '' || size.max > SIZE_MAX || size.min > size.max) {
    throw new ConfigError(
      `${setting}: ${text} is not a number of sandboxes up to ${String(SIZE_MAX)}, nor a range of two`,
    );
  }
  return size;
}

/**
 * Everything that is to be kept warm.
 * @throws {ConfigError} naming the setting and the item that cannot be read.
 */
export function poolWishes(config: Config): readonly PoolWish[] {
  const wishes = plainWishes(config);
  const seen = new Set<string>();
  for (const item of config.PYEXEC_POOL_PREIMPORTS) {
    const [, image, modules, size] = /^([^=]+)=([^=:]+):([^=:]+)$/.exec(item) ?? [];
    if (image === undefined || modules === undefined || size === undefined) {
      throw new ConfigError(`PYEXEC_POOL_PREIMPORTS: ${item} is not of the form image=module+module:size`);
    }
    const preimports = modules.split('+');
    // __main__ is the program that is to come.
    const wrong = preimports.find((name) => name.length > 100 || !MODULE.test(name) || /^__main__(\.|$)/.test(name));
    if (wrong !== undefined) throw new ConfigError(`PYEXEC_POOL_PREIMPORTS: ${wrong} is not the name of a module`);
    if (new Set(preimports).size < preimports.length || preimports.length > MODULES_MAX) {
      throw new ConfigError(
        `PYEXEC_POOL_PREIMPORTS: ${item} names a module twice, or more than ${String(MODULES_MAX)}`,
      );
    }
    const key = `${normalizeReference(image)}=${[...preimports].sort().join('+')}`;
    if (seen.has(key)) throw new ConfigError(`PYEXEC_POOL_PREIMPORTS: ${key} is there twice`);
    seen.add(key);
    wishes.push({ image, preimports, ...sizeOf(size, 'PYEXEC_POOL_PREIMPORTS') });
  }
  return wishes;
}

/** One for every image, however it is spelled; the default image may be among those of PYEXEC_POOL_IMAGES. */
function plainWishes(config: Config): PoolWish[] {
  const wishes = new Map<string, PoolWish>();
  for (const [image, text] of pairsOf(config.PYEXEC_POOL_IMAGES, 'PYEXEC_POOL_IMAGES')) {
    const reference = normalizeReference(image);
    if (wishes.has(reference)) throw new ConfigError(`PYEXEC_POOL_IMAGES: ${reference} is there twice`);
    wishes.set(reference, { image, preimports: [], ...sizeOf(text, 'PYEXEC_POOL_IMAGES') });
  }
  const image = config.PYEXEC_DEFAULT_IMAGE;
  const size = sizeOf(config.PYEXEC_POOL_SIZE, 'PYEXEC_POOL_SIZE');
  const ofDefault = wishes.get(normalizeReference(image)) ?? { image, preimports: [], ...size };
  wishes.delete(normalizeReference(image));
  return [ofDefault, ...wishes.values()];
}

/**
 * What the pool is to hold for these wishes now.
 * @param shapeFor throws image_unavailable where the image is not on this machine.
 * @param onMissing takes a wish whose image is not: it is left out, and the others stay. Absent: it is an error.
 * @throws {ServiceError} as `shapeFor` does.
 */
export async function targetsOf(
  wishes: readonly PoolWish[],
  shapeFor: (wish: PoolWish) => Promise<SandboxShape>,
  onMissing?: (error: ServiceError) => void,
): Promise<readonly PoolTarget[]> {
  const targets: PoolTarget[] = [];
  for (const wish of wishes) {
    try {
      targets.push({ shape: await shapeFor(wish), min: wish.min, max: wish.max });
    } catch (error) {
      if (!onMissing || !(error instanceof ServiceError) || error.code !== 'image_unavailable') throw error;
      onMissing(error);
    }
  }
  return targets;
}

/**
 * Starts one sandbox of a shape, to see that its modules can be imported.
 * @throws {ConfigError} saying why not.
 */
export async function checkPreimports(
  { image, preimports }: PoolWish,
  shape: SandboxShape,
  start: (shape: SandboxShape, signal: AbortSignal) => Promise<Lease>,
): Promise<void> {
  try {
    const lease = await start(shape, new AbortController().signal);
    await lease.release();
  } catch (cause) {
    const reason = cause instanceof ServiceError && cause.cause instanceof Error ? cause.cause.message : String(cause);
    throw new ConfigError(`PYEXEC_POOL_PREIMPORTS: ${image} cannot be kept with ${preimports.join('+')}: ${reason}`, {
      cause,
    });
  }
}
