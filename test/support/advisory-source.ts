/**
 * A real source of advisories on loopback, in the form of OSV: POST /v1/querybatch and
 * GET /v1/vulns/{id}. It knows what the test told it, misbehaves where it is told to,
 * and remembers what it was asked.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Certificate } from './certificates.ts';

export interface TestAdvisory {
  readonly id: string;
  /** Versions by package that the source lists it for. */
  readonly affects: Readonly<Record<string, readonly string[]>>;
  readonly modified?: string;
  /** More of the document that describes it, or other than what is made of the rest. */
  readonly document?: Readonly<Record<string, unknown>>;
}

/** An advisory about one version of one package that is fixed in another. */
export function advisory(
  id: string,
  packageName: string,
  version: string,
  fixed: string | undefined,
  document: Readonly<Record<string, unknown>> = {},
): TestAdvisory {
  const events = [{ introduced: '0' }, ...(fixed === undefined ? [] : [{ fixed }])];
  return {
    id,
    affects: { [packageName]: [version] },
    document: {
      summary: `what ${id} is`,
      affected: [{ package: { name: packageName, ecosystem: 'PyPI' }, ranges: [{ type: 'ECOSYSTEM', events }] }],
      ...document,
    },
  };
}

export interface AskedBatch {
  readonly queries: readonly {
    readonly package: { readonly name: string; readonly ecosystem: string };
    readonly version: string;
    readonly page_token?: string;
  }[];
}

/** Answers a request itself when it returns true, or a promise of anything. */
export type Misbehaviour = (
  request: IncomingMessage,
  response: ServerResponse,
  body: string,
) => boolean | Promise<unknown>;

export interface AdvisorySourceOptions {
  readonly certificate?: Certificate;
  /** `user:password` that every request must bring. */
  readonly credentials?: string;
  /** What its paths begin with. */
  readonly base?: string;
}

export class AdvisorySource implements AsyncDisposable {
  readonly #options: AdvisorySourceOptions;
  readonly #server;
  #advisories: readonly TestAdvisory[] = [];
  /** Method and target of all requests, in order. */
  readonly requests: string[] = [];
  readonly batches: AskedBatch[] = [];
  misbehave: Misbehaviour = () => false;
  /** Requests that did not bring the credentials. */
  refused = 0;
  connections = 0;
  /** Vulnerabilities of one query a page holds. */
  pageSize = Infinity;

  private constructor(options: AdvisorySourceOptions) {
    this.#options = options;
    const answer = (request: IncomingMessage, response: ServerResponse) => {
      void this.#answer(request, response);
    };
    const { certificate } = options;
    this.#server = certificate ? createTlsServer(certificate, answer) : createServer(answer);
    this.#server.on('connection', () => (this.connections += 1));
  }

  static open(...advisories: readonly TestAdvisory[]): Promise<AdvisorySource> {
    return AdvisorySource.openAs({}, ...advisories);
  }

  static async openAs(options: AdvisorySourceOptions, ...advisories: readonly TestAdvisory[]): Promise<AdvisorySource> {
    const source = new AdvisorySource(options);
    source.knows(...advisories);
    await new Promise<void>((resolve) => source.#server.listen(0, '127.0.0.1', resolve));
    return source;
  }

  /** What it knows from now on. */
  knows(...advisories: readonly TestAdvisory[]): void {
    this.#advisories = advisories;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    const { base = '', certificate } = this.#options;
    return `${certificate ? 'https' : 'http'}://127.0.0.1:${String(this.port)}${base}`;
  }

  /** The settings of a service that asks here. */
  get settings(): Record<string, string> {
    return { PYEXEC_ADVISORIES_URL: this.url, PYEXEC_ADVISORIES_PRIVATE: 'true' };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { base = '', credentials } = this.#options;
    this.requests.push(`${request.method ?? ''} ${request.url ?? ''}`);
    let body = '';
    for await (const part of request as AsyncIterable<Buffer>) body += part.toString();
    if (await this.misbehave(request, response, body)) return;
    const expected = credentials === undefined ? undefined : `Basic ${Buffer.from(credentials).toString('base64')}`;
    if (expected !== undefined && request.headers.authorization !== expected) {
      this.refused += 1;
      response.writeHead(401).end();
      return;
    }
    const target = request.url ?? '';
    if (request.method === 'POST' && target === `${base}/v1/querybatch`) {
      const batch = JSON.parse(body) as AskedBatch;
      this.batches.push(batch);
      sendJson(response, { results: batch.queries.map((query) => this.#found(query)) });
      return;
    }
    const id = request.method === 'GET' && target.startsWith(`${base}/v1/vulns/`) ? target.split('/').at(-1) : '';
    const known = this.#advisories.find((one) => one.id === decodeURIComponent(id ?? ''));
    if (known) sendJson(response, { id: known.id, modified: modifiedOf(known), ...known.document });
    else response.writeHead(404).end('{"code":5,"message":"Bug not found."}');
  }

  #found({ package: { ecosystem, name }, version, page_token }: AskedBatch['queries'][number]) {
    const vulns = this.#advisories
      .filter(({ affects }) => ecosystem === 'PyPI' && affects[name]?.includes(version))
      .map((one) => ({ id: one.id, modified: modifiedOf(one) }));
    const first = Number(page_token ?? 0);
    const last = first + this.pageSize;
    return {
      ...(vulns.length > 0 ? { vulns: vulns.slice(first, last) } : {}),
      ...(vulns.length > last ? { next_page_token: String(last) } : {}),
    };
  }
}

const modifiedOf = ({ modified = '2024-01-01T00:00:00Z' }: TestAdvisory) => modified;

export function sendJson(response: ServerResponse, value: unknown): true {
  response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
  return true;
}
