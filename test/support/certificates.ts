/** Certificates made with openssl, for receivers over TLS: an authority, and what it signs. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export class Authority {
  readonly #directory = mkdtempSync(join(tmpdir(), 'pyexec-ca-'));
  /** The file of its own certificate. */
  readonly file = join(this.#directory, 'ca.pem');

  constructor() {
    this.#openssl('req', '-x509', ...NEW_KEY, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=test', '-days', '2');
  }

  get certificate(): string {
    return readFileSync(this.file, 'utf8');
  }

  /** A certificate for `names` (`DNS:host`, `IP:address`), good for so many days; those of -1 are over. */
  sign(names: readonly string[], days = 2): Certificate {
    const subject = ['-subj', '/CN=receiver', '-addext', `subjectAltName=${names.join(',')}`];
    this.#openssl('req', '-new', ...NEW_KEY, '-keyout', 'leaf.key', '-out', 'leaf.csr', ...subject);
    const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-copy_extensions', 'copyall'];
    this.#openssl('x509', '-req', '-in', 'leaf.csr', ...by, '-days', String(days), '-out', 'leaf.pem');
    const read = (name: string) => readFileSync(join(this.#directory, name), 'utf8');
    return { cert: read('leaf.pem'), key: read('leaf.key') };
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true });
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.#directory, stdio: ['ignore', 'ignore', 'pipe'] });
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
