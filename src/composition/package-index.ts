/**
 * The package index, from the settings: where it is, who may be reached for it, by
 * which certificates and credentials, and what a builder is told of it.
 *
 * A builder asks in the clear and knows no secret: TLS, the operator's authorities
 * and the credentials are the egress gate's.
 */
import { getCACertificates } from 'node:tls';
import { ConfigError, type Config } from '../config/config.ts';
import { parseAuthority, sameDestination } from '../egress/destinations.ts';
import type { AllowedDestination } from '../egress/dialling.ts';
import { authorityOf } from '../egress/page-links.ts';
import { certificatesIn } from './certificates.ts';

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
  const url = new URL(config.PYEXEC_INDEX_URL);
  const isSecure = url.protocol === 'https:';
  const certificates = certificatesIn(config.PYEXEC_INDEX_CA_FILE, 'PYEXEC_INDEX_CA_FILE');
  const tls = certificates ? { certificates: [...getCACertificates('default'), ...certificates] } : {};
  const credentials = config.PYEXEC_INDEX_CREDENTIALS;
  if (credentials !== '' && !isSecure) {
    throw new ConfigError('PYEXEC_INDEX_CREDENTIALS: they are sent by TLS only; PYEXEC_INDEX_URL is not https');
  }
  const named = parseAuthority(url.host, isSecure ? 443 : 80);
  if (!named) throw new ConfigError('PYEXEC_INDEX_URL: the host is not one that can be connected to');
  const authorization =
    credentials === '' ? {} : { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` };
  const index: AllowedDestination = isSecure ? { ...named, tls: { ...tls, ...authorization } } : named;
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
