/** Certificates of the operator's authorities, from the file a setting names. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ConfigError } from '../config/config.ts';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM file, checked; undefined without one. @throws {ConfigError} naming the setting. */
export function certificatesIn(file: string, setting: string): readonly string[] | undefined {
  if (file === '') return undefined;
  try {
    const found = readFileSync(file, 'utf8').match(CERTIFICATE) ?? [];
    if (found.length === 0) throw new Error('it holds no certificate');
    return found.map((pem) => new X509Certificate(pem).toString());
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(`${setting}: ${file} cannot be used: ${reason}`, { cause });
  }
}
