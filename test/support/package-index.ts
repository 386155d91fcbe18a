/**
 * A real package index on loopback (PEP 503 and 592), serving wheels the test made,
 * and misbehaving where it is told to. It remembers what it was asked for.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
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

export class PackageIndex implements AsyncDisposable {
  readonly #files: IndexFile[] = [];
  readonly #server = createServer((request, response) => {
    this.#answer(request, response);
  });
  /** Targets of all requests, in order. */
  readonly requests: string[] = [];
  /** Answers a request itself when it returns true. */
  misbehave: Misbehaviour = () => false;

  static async open(...files: readonly (Wheel | IndexFile)[]): Promise<PackageIndex> {
    const index = new PackageIndex();
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

  get url(): string {
    return `http://127.0.0.1:${String(this.port)}/simple`;
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
    if (this.misbehave(request, response)) return;
    const page = /^\/simple\/([a-z0-9-]+)\/$/.exec(target)?.[1];
    const named = this.#files.filter(({ name }) => name.toLowerCase().replaceAll(/[-_.]+/g, '-') === page);
    if (page !== undefined && named.length > 0) {
      const links = named.map(({ filename, sha256, isYanked }) => {
        const yanked = isYanked ? ' data-yanked="broken"' : '';
        return `<a href="/files/${filename}#sha256=${sha256}"${yanked}>${filename}</a>`;
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
