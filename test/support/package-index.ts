/**
 * A real package index on loopback (PEP 503 and 592), serving wheels the test made,
 * and misbehaving where it is told to. It remembers what it was asked for.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Certificate } from './certificates.ts';
import type { Wheel } from './wheels.ts';

export interface IndexFile {
  readonly name: string;
  readonly filename: string;
  readonly content: Buffer;
  /** What the page says; another than the file's own is a lie. */
  readonly sha256: string;
  readonly isYanked?: boolean;
}

export type Misbehaviour = (request: IncomingMessage, response: ServerResponse) => boolean;

export interface PackageIndexOptions {
  /** With this it speaks TLS, and its pages name files by their whole address. */
  readonly certificate?: Certificate;
  /** `user:password` that every request must bring. */
  readonly credentials?: string;
  /** Where pages say that files are; absent: here. */
  readonly filesAt?: string;
}

export class PackageIndex implements AsyncDisposable {
  readonly #files: IndexFile[] = [];
  readonly #options: PackageIndexOptions;
  readonly #server;
  /** Targets of all requests, in order. */
  readonly requests: string[] = [];
  /** Answers a request itself when it returns true. */
  misbehave: Misbehaviour = () => false;
  /** Requests that did not bring the credentials. */
  refused = 0;

  private constructor(options: PackageIndexOptions) {
    this.#options = options;
    const { certificate } = options;
    const answer = (request: IncomingMessage, response: ServerResponse) => {
      this.#answer(request, response);
    };
    this.#server = certificate ? createTlsServer(certificate, answer) : createServer(answer);
  }

  static open(...files: readonly (Wheel | IndexFile)[]): Promise<PackageIndex> {
    return PackageIndex.openAs({}, ...files);
  }

  static async openAs(options: PackageIndexOptions, ...files: readonly (Wheel | IndexFile)[]): Promise<PackageIndex> {
    const index = new PackageIndex(options);
    index.add(...files);
    await new Promise<void>((resolve) => index.#server.listen(0, '127.0.0.1', resolve));
    return index;
  }

  add(...files: readonly (Wheel | IndexFile)[]): void {
    this.#files.push(...files);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get origin(): string {
    return `${this.#options.certificate ? 'https' : 'http'}://127.0.0.1:${String(this.port)}`;
  }

  get url(): string {
    return `${this.origin}/simple`;
  }

  /** The settings of a service that installs from here and nowhere else. */
  get settings(): Record<string, string> {
    return {
      PYEXEC_PACKAGES: 'any',
      PYEXEC_INDEX_URL: this.url,
      PYEXEC_INDEX_HOSTS: '',
      PYEXEC_INDEX_PRIVATE: 'true',
    };
  }

  /** How often files (not pages) were asked for. */
  get downloads(): number {
    return this.requests.filter((target) => target.startsWith('/files/')).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const target = request.url ?? '';
    this.requests.push(target);
    const { certificate, credentials, filesAt } = this.#options;
    if (this.misbehave(request, response)) return;
    if (
      credentials !== undefined &&
      request.headers.authorization !== `Basic ${Buffer.from(credentials).toString('base64')}`
    ) {
      this.refused += 1;
      response.writeHead(401, { 'www-authenticate': 'Basic realm="index"' }).end('who are you?');
      return;
    }
    const files = filesAt ?? (certificate ? this.origin : '');
    const page = /^\/simple\/([a-z0-9-]+)\/$/.exec(target)?.[1];
    const named = this.#files.filter(({ name }) => name.toLowerCase().replaceAll(/[-_.]+/g, '-') === page);
    if (page !== undefined && named.length > 0) {
      const links = named.map(({ filename, sha256, isYanked }) => {
        const yanked = isYanked ? ' data-yanked="broken"' : '';
        return `<a href="${files}/files/${filename}#sha256=${sha256}"${yanked}>${filename}</a>`;
      });
      response
        .setHeader('content-type', 'text/html')
        .end(`<!DOCTYPE html><html><body>${links.join('\n')}</body></html>`);
      return;
    }
    const file = this.#files.find(({ filename }) => target === `/files/${filename}`);
    if (!file) {
      response.writeHead(404).end();
      return;
    }
    response.setHeader('content-length', file.content.length).end(request.method === 'HEAD' ? undefined : file.content);
  }
}
