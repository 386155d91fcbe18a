/**
 * The way out for those who have no network: an HTTP proxy that reaches the
 * destinations on its list and nothing else.
 *
 * It listens nowhere. A connection is handed to it as a stream, by whoever relays
 * it out of a container; it takes `GET http://host:port/…`, which it asks for by TLS
 * where the destination has it, with the operator's certificates and credentials; and
 * `CONNECT host:port` for destinations whose TLS is the client's own. Every request is
 * decided by itself, on its canonical destination. Redirects are the client's to
 * follow, through here.
 */
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { parseAuthority, sameDestination, type Destination } from './destinations.ts';
import { addressOf, dial, NoWay, type AllowedDestination, type EgressRules } from './dialling.ts';
import { authorityOf, isPage, linksInTheClear } from './page-links.ts';
import { NoPage, wholePage } from './whole-page.ts';

/** One line of the access log. */
export interface EgressAccess {
  readonly host: string;
  readonly port: number;
  readonly method: string;
  readonly verdict: 'allowed' | 'refused' | 'unreachable';
  /** Of the answer, where it can be seen: not in a tunnel. */
  readonly status?: number;
  readonly bytes: number;
  readonly durationMs: number;
  /**
   * Why there is no answer or no use in it: what the system says (`ECONNREFUSED`,
   * `SELF_SIGNED_CERT_IN_CHAIN`, …), or `CUT_OFF`, `NOT_HTTP` of a redirect, and those of a page.
   */
  readonly problem?: string;
}

const IDLE_TIMEOUT_MS = 30_000;
const CONNECTIONS_MAX = 64;
/** Headers of a request that are passed on. Cookies and credentials of the client are not among them. */
const PASSED_HEADERS = ['accept', 'cache-control', 'if-modified-since', 'if-none-match', 'range', 'user-agent'];
/** Headers about the connection rather than the answer, and what is not the client's to know. */
const HOP_HEADERS = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  // A client that waits as long as it is told to holds its place that long.
  'retry-after',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** The way out of one client, with its own count of bytes. */
export class EgressGate {
  readonly #rules: EgressRules;
  readonly #observe: (access: EgressAccess) => void;
  readonly #server: Server;
  readonly #streams = new Set<Duplex>();
  #bytes = 0;
  #bytesSent = 0;
  #overflowed = false;
  #isClosed = false;

  constructor(rules: EgressRules, observe: (access: EgressAccess) => void) {
    this.#rules = rules;
    this.#observe = observe;
    this.#server = createServer({ insecureHTTPParser: false, maxHeaderSize: 16_384, requireHostHeader: false });
    this.#server.on('request', (request, response) => void this.#forward(request, response));
    this.#server.on('connect', (request: IncomingMessage, client: Duplex, head: Buffer) => {
      void this.#tunnel(request, client, head);
    });
    this.#server.on('upgrade', (_request: IncomingMessage, client: Duplex) => client.destroy());
    this.#server.on('clientError', (_error, client) => {
      if (client.writable) client.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
      else client.destroy();
    });
  }

  /** Whether more bytes came than the rules allow, or a page without end; everything ends when that happens. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  /** Bytes that went to the client. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Serves one connection of the client. */
  accept(stream: Duplex): void {
    if (this.#overflowed || this.#streams.size >= CONNECTIONS_MAX) {
      stream.destroy();
      return;
    }
    this.#track(stream);
    this.#server.emit('connection', stream);
  }

  /** Ends every connection. */
  close(): void {
    this.#isClosed = true;
    for (const stream of this.#streams) stream.destroy();
    this.#server.close();
  }

  #track(stream: Duplex): void {
    this.#streams.add(stream);
    stream.on('error', () => stream.destroy());
    stream.once('close', () => this.#streams.delete(stream));
  }

  /** Counts what goes either way; past the cap every connection ends. */
  #count(towards: 'client' | 'server', bytes: number): void {
    if (towards === 'client') this.#bytes += bytes;
    else this.#bytesSent += bytes;
    if (this.#bytes > this.#rules.bytesMax || this.#bytesSent > this.#rules.bytesSentMax) this.#overflow();
  }

  #overflow(): void {
    this.#overflowed = true;
    this.close();
  }

  async #tunnel(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    const log = this.#logger(request, parseAuthority(request.url ?? ''));
    const destination = log.destination;
    if (!destination) {
      client.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
      log.done('refused');
      return;
    }
    let upstream: Socket;
    try {
      const known = this.#rules.allowed.find((allowed) => sameDestination(allowed, destination));
      if (known?.tls) throw new NoWay('refused', 'the gate speaks TLS with it');
      upstream = await dial(destination, this.#rules);
    } catch (error) {
      const verdict = error instanceof NoWay ? error.verdict : 'unreachable';
      client.end(
        `HTTP/1.1 ${verdict === 'refused' ? '403 Forbidden' : '502 Bad Gateway'}\r\nConnection: close\r\n\r\n`,
      );
      log.done(verdict);
      return;
    }
    this.#track(upstream);
    upstream.setTimeout(IDLE_TIMEOUT_MS, () => upstream.destroy());
    upstream.on('data', (chunk: Buffer) => {
      log.bytes += chunk.length;
      this.#count('client', chunk.length);
    });
    client.on('data', (chunk: Buffer) => {
      this.#count('server', chunk.length);
    });
    upstream.once('close', () => {
      client.end();
      log.done('allowed');
    });
    client.once('close', () => upstream.destroy());
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    if (head.length > 0) upstream.write(head);
    upstream.pipe(client, { end: false });
    client.pipe(upstream);
  }

  async #forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const target = targetOf(request);
    const log = this.#logger(request, target?.destination);
    const answer = (status: number, verdict: 'refused' | 'unreachable') => {
      response.writeHead(status, { connection: 'close', 'content-length': 0 }).end();
      log.done(verdict);
    };
    request.resume();
    if (!target || hasTwoHosts(request)) {
      answer(400, 'refused');
      return;
    }
    let found: Found;
    try {
      found = await addressOf(target.destination, this.#rules);
    } catch (error) {
      const verdict = error instanceof NoWay ? error.verdict : 'unreachable';
      answer(verdict === 'refused' ? 403 : 502, verdict);
      return;
    }
    const outgoing = ask(request, target, found);
    outgoing.once('socket', (socket) => {
      this.#track(socket);
    });
    outgoing.once('timeout', () => outgoing.destroy());
    outgoing.once('error', (error) => {
      if (log.isDone) return;
      log.problem = 'code' in error ? String(error.code) : error.name;
      if (response.headersSent) {
        response.destroy();
        log.done('allowed');
      } else answer(502, 'unreachable');
    });
    outgoing.once('response', (incoming) => {
      this.#answer(request, incoming, response, target, log);
    });
    response.once('close', () => outgoing.destroy());
    outgoing.end();
  }

  /** Passes an answer on, where it is one that can be used. */
  #answer(
    request: IncomingMessage,
    incoming: IncomingMessage,
    response: ServerResponse,
    target: Target,
    log: AccessLog,
  ): void {
    const { allowed } = this.#rules;
    const status = incoming.statusCode ?? 502;
    const headers: IncomingHttpHeaders = Object.fromEntries(
      Object.entries(incoming.headers).filter(([name]) => !HOP_HEADERS.has(name)),
    );
    log.status = status;
    incoming.on('data', (chunk: Buffer) => {
      log.bytes += chunk.length;
      this.#count('client', chunk.length);
    });
    const useless = (problem: string) => {
      // A client that went away needs no reason.
      if (!response.destroyed && !this.#isClosed) log.problem ??= problem;
      log.done('allowed');
      incoming.destroy();
      // A body that was cut must not look complete to the client.
      if (response.headersSent) response.destroy();
      else response.writeHead(502, { connection: 'close', 'content-length': 0 }).end();
    };
    incoming.on('error', () => undefined);
    if (headers.location !== undefined) {
      if (!leadsToHttp(headers.location, target)) {
        useless('NOT_HTTP');
        return;
      }
      headers.location = linksInTheClear(headers.location, allowed);
    }
    if (request.method !== 'GET' || status !== 200 || !isPage(headers)) {
      incoming.once('end', () => {
        log.done('allowed');
      });
      incoming.once('error', () => {
        useless('CUT_OFF');
      });
      incoming.pipe(response.writeHead(status, headers));
      return;
    }
    wholePage(incoming).then(
      (page) => {
        // Byte by byte: whatever else is in it stays as it is.
        const passed = Buffer.from(linksInTheClear(page.toString('latin1'), allowed), 'latin1');
        delete headers['content-encoding'];
        response.writeHead(200, { ...headers, 'content-length': passed.length }).end(passed);
        log.done('allowed');
      },
      (error: unknown) => {
        const problem = error instanceof NoPage ? error.problem : 'CUT_OFF';
        useless(problem);
        if (problem === 'PAGE_TOO_LONG') this.#overflow();
      },
    );
  }

  #logger(request: IncomingMessage, destination: Destination | undefined): AccessLog {
    const started = performance.now();
    const observe = this.#observe;
    let isDone = false;
    return {
      destination,
      bytes: 0,
      status: undefined,
      problem: undefined,
      get isDone() {
        return isDone;
      },
      done(verdict: EgressAccess['verdict']) {
        if (isDone) return;
        isDone = true;
        const { host, port } = destination ?? { host: '', port: 0 };
        const method = request.method ?? '';
        const status = this.status === undefined ? {} : { status: this.status };
        const problem = this.problem === undefined ? {} : { problem: this.problem };
        const durationMs = performance.now() - started;
        observe({ host, port, method, verdict, ...status, bytes: this.bytes, durationMs, ...problem });
      },
    };
  }
}

/** A line of the access log while it is written. */
interface AccessLog {
  readonly destination: Destination | undefined;
  bytes: number;
  status: number | undefined;
  problem: string | undefined;
  readonly isDone: boolean;
  /** The line is said; once. */
  done(verdict: EgressAccess['verdict']): void;
}
type Target = NonNullable<ReturnType<typeof targetOf>>;
/** What a destination is on the list, and where. */
interface Found {
  readonly allowed: AllowedDestination;
  readonly address: string;
}

/** The request to the address that was checked, under the name that was asked for. */
function ask(request: IncomingMessage, { destination, path }: Target, { address, allowed }: Found) {
  const { tls } = allowed;
  const { host, port } = destination;
  const isUsualPort = port === (tls ? 443 : 80);
  const headers: (readonly [string, string])[] = [
    ['host', isUsualPort ? authorityOf(destination).replace(/:\d+$/, '') : authorityOf(destination)],
    ['connection', 'close'],
    // A page is read here, so it comes as it is.
    ['accept-encoding', 'identity'],
  ];
  for (const name of PASSED_HEADERS) {
    const value = request.headers[name];
    if (value !== undefined) headers.push([name, String(value)]);
  }
  if (tls?.authorization !== undefined) headers.push(['authorization', tls.authorization]);
  const options = {
    host: address,
    port,
    method: request.method,
    path,
    headers: headers.flat(),
    timeout: IDLE_TIMEOUT_MS,
    maxHeaderSize: 16_384,
  };
  if (!tls) return httpRequest(options);
  return httpsRequest({
    ...options,
    agent: false,
    // An address has no name to be asked for; its certificate is compared with the address.
    servername: isIP(host) === 0 ? host : '',
    ...(tls.certificates === undefined ? {} : { ca: [...tls.certificates] }),
  });
}

/** Whether a redirect leads to something that is asked for by HTTP: `file:` would be read where the client is. */
function leadsToHttp(location: string, { destination, path }: Target): boolean {
  const base = `http://${authorityOf(destination)}${path}`;
  return URL.canParse(location, base) && /^https?:$/.test(new URL(location, base).protocol);
}

/** Host and path of an absolute-form request; undefined when it is no such request for plain HTTP. */
function targetOf(request: IncomingMessage) {
  if (request.method !== 'GET' && request.method !== 'HEAD') return undefined;
  const match = /^http:\/\/([^/?#]+)(\/[^\s#]*)?$/i.exec(request.url ?? '');
  const destination = match && parseAuthority(match[1] ?? '', 80);
  if (!match || !destination) return undefined;
  return { destination, path: match[2] ?? '/' };
}

function hasTwoHosts(request: IncomingMessage): boolean {
  return request.rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host').length > 1;
}
