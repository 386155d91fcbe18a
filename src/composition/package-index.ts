/**
 * The package index, from the settings: where it is, who may be reached for it, by
 * which certificates and credentials, and what a builder is told of it.
 *
 * A builder asks in the clear and knows no secret: TLS, the operator's authorities
 * and the credentials are the egress gate's.
 */
import { ConfigError, type Config } from '../config/config.ts';
import { parseAuthority, sameDestination } from '../egress/destinations.ts';
import type { AllowedDestination } from '../egress/dialling.ts';
import { authorityOf } from '../egress/page-links.ts';
import { operatorHost } from './operator-host.ts';

export interface PackageIndexAccess {
  readonly index: AllowedDestination;
  /** The index and the further hosts of its files. */
  readonly allowed: readonly AllowedDestination[];
  /** The index as a builder asks for it. */
  readonly url: string;
  /** `host:port` of everything a builder may ask for. */
  readonly hosts: readonly string[];
}

/** @throws {ConfigError} naming the setting that cannot be used. */
export function packageIndexAccess(config: Config): PackageIndexAccess {
  const {
    url,
    tls,
    destination: index,
  } = operatorHost({
    prefix: 'PYEXEC_INDEX',
    url: config.PYEXEC_INDEX_URL,
    credentials: config.PYEXEC_INDEX_CREDENTIALS,
    caFile: config.PYEXEC_INDEX_CA_FILE,
  });
  const others = config.PYEXEC_INDEX_HOSTS.map((item): AllowedDestination => {
    const isPlain = item.startsWith('http://');
    const destination = parseAuthority(isPlain ? item.slice('http://'.length) : item, isPlain ? 80 : 443);
    if (!destination) throw new ConfigError(`PYEXEC_INDEX_HOSTS: ${item} is not of the form host or host:port`);
    return isPlain ? destination : { ...destination, tls };
  }).filter((other) => !sameDestination(other, index));
  const allowed = [index, ...others];
  return {
    index,
    allowed,
    url: `http://${authorityOf(index)}${url.pathname}`,
    hosts: allowed.map(authorityOf),
  };
}
