/**
 * Sentences of the service in the words of this door: its callers know
 * `config.timeout_seconds`, not `limits.wall_ms`. Pure.
 */
import type { ServiceError } from '../../domain/errors.ts';

const MIB = 2 ** 20;
const SHARES_PER_CORE = 1024;

/** What each limit is called here, and how many of its units one of ours is. */
const CONFIG_FIELDS: Readonly<Record<string, { readonly name: string; readonly perUnit: number }>> = {
  'limits.wall_ms': { name: 'config.timeout_seconds', perUnit: 1000 },
  'limits.memory_bytes': { name: 'config.memory_mb', perUnit: MIB },
  'limits.disk_bytes': { name: 'config.disk_mb', perUnit: MIB },
  'limits.cpus': { name: 'config.cpu_shares', perUnit: 1 / SHARES_PER_CORE },
};

/** A hint or sentence with the limits named as this door's requests name them. */
export function inWireWords(sentence: string): string {
  return sentence.replaceAll(/\blimits\.[a-z_]+/g, (name) => CONFIG_FIELDS[name]?.name ?? name);
}

/** The same refusal, saying which field of the request it is about and what it may be there. */
export function refusalInWireWords(error: ServiceError): string {
  const { field, minimum, maximum } = error.members;
  const known = typeof field === 'string' ? CONFIG_FIELDS[field] : undefined;
  if (known && typeof maximum === 'number') {
    return `${known.name} may be at most ${String(Math.floor(maximum / known.perUnit))}, the operator's maximum`;
  }
  if (known && typeof minimum === 'number') {
    return `${known.name} must be at least ${String(Math.ceil(minimum / known.perUnit))}`;
  }
  return inWireWords(error.message);
}
