/**
 * Settings that are lists of `key=value`.
 */
import { ConfigError } from '../config/config.ts';

/** The pairs of a list of `key=value`. @throws {ConfigError} naming the item that is none. */
export function pairsOf(items: readonly string[], setting: string): readonly (readonly [string, string])[] {
  return items.map((item) => {
    const equals = item.lastIndexOf('=');
    if (equals < 1 || equals === item.length - 1)
      throw new ConfigError(`${setting}: ${item} is not of the form key=value`);
    return [item.slice(0, equals), item.slice(equals + 1)] as const;
  });
}
