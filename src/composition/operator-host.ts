/**
 * A host the operator names by a URL, from its settings: where it is, by which
 * certificates it is believed and which credentials it is sent.
 */
import { getCACertificates } from 'node:tls';
import { ConfigError } from '../config/config.ts';
import { parseAuthority } from '../egress/destinations.ts';
import type { AllowedDestination } from '../egress/dialling.ts';
import { certificatesIn } from './certificates.ts';

/** The settings of one host, by the beginning of their names: `PYEXEC_INDEX` for `PYEXEC_INDEX_URL` and the others. */
export interface HostSettings {
  readonly prefix: string;
  readonly url: string;
  readonly credentials: string;
  readonly caFile: string;
}

export interface OperatorHost {
  readonly url: URL;
  readonly destination: AllowedDestination;
  /** For other hosts that are believed by the same certificates. */
  readonly tls: { readonly certificates?: readonly string[] };
}

/** @throws {ConfigError} naming the setting that cannot be used. */
export function operatorHost({ prefix, url: text, credentials, caFile }: HostSettings): OperatorHost {
  const url = new URL(text);
  const isSecure = url.protocol === 'https:';
  const certificates = certificatesIn(caFile, `${prefix}_CA_FILE`);
  const tls = certificates ? { certificates: [...getCACertificates('default'), ...certificates] } : {};
  if (credentials !== '' && !isSecure) {
    throw new ConfigError(`${prefix}_CREDENTIALS: they are sent by TLS only; ${prefix}_URL is not https`);
  }
  const named = parseAuthority(url.host, isSecure ? 443 : 80);
  if (!named) throw new ConfigError(`${prefix}_URL: the host is not one that can be connected to`);
  const authorization =
    credentials === '' ? {} : { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` };
  return { url, tls, destination: isSecure ? { ...named, tls: { ...tls, ...authorization } } : named };
}
