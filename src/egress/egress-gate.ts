/**
 * The way out for those who have no network: an HTTP proxy that reaches the
 * destinations on its list and nothing else.
 *
 * It listens nowhere. A connection is handed to it as a stream, by whoever relays
 * it out of a container; it takes `CONNECT host:port` and, for destinations without
 * TLS, `GET http://host:port/…`. Every request is decided by itself, on its
 * canonical destination; the name is resolved once and the address that was checked
 * is the one that is dialled. Redirects are the client's to follow, through here.
 */
import { lookup } from 'node:dns/promises';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { isPublicAddress, parseAuthority, sameDestination, type Destination } from './destinations.ts';

export interface EgressRules {
  readonly allowed: readonly Destination[];
  /** Whether the names on the list may stand for addresses that are not public: an index of the operator's own. */
  readonly allowsPrivateAddresses: boolean;
  /** Bytes towards the client, of all its connections together. */
  readonly bytesMax: number;
  /** Bytes from the client: requests are short. */
  readonly bytesSentMax: number;
}

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
}

const CONNECT_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 30_000;
const CONNECTIONS_MAX = 64;
/** Headers of a request that are passed on. Cookies and credentials of the client are not among them. */
const PASSED_HEADERS = [
  'accept',
  'accept-encoding',
  'cache-control',
  'if-modified-since',
  'if-none-match',
  'range',
  'user-agent',
];
/** Headers about the connection rather than the answer. */
const HOP_HEADERS = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** The destination cannot be had: `refused` by the rules, or `unreachable`. */
class NoWay extends Error {
  readonly verdict: 'refused' | 'unreachable';
  constructor(verdict: 'refused' | 'unreachable', message: string) {
    super(message);
    this.verdict = verdict;
  }
}

/** The address to dial for an allowed destination. @throws {NoWay} */
async function addressOf(destination: Destination, rules: EgressRules): Promise<string> {
  if (!rules.allowed.some((allowed) => sameDestination(allowed, destination))) {
    throw new NoWay('refused', 'not on the list');
  }
  let addresses: readonly { readonly address: string }[];
  try {
    addresses = await lookup(destination.host, { all: true, order: 'ipv4first' });
  } catch {
    throw new NoWay('unreachable', 'the name is not known');
  }
  const [first] = addresses;
  if (!first) throw new NoWay('unreachable', 'the name has no address');
  // One bad address condemns all: which one is dialled must not be up to the resolver.
  if (!rules.allowsPrivateAddresses && !addresses.every(({ address }) => isPublicAddress(address))) {
    throw new NoWay('refused', 'the address is not public');
  }
  return first.address;
}

async function dial(destination: Destination, rules: EgressRules): Promise<Socket> {
  const host = await addressOf(destination, rules);
  const socket = connect({ host, port: destination.port });
  return new Promise((resolve, reject) => {
    const fail = (message: string) => {
      socket.destroy();
      reject(new NoWay('unreachable', message));
    };
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => {
      fail('no connection in time');
    });
    socket.once('error', () => {
      fail('no connection');
    });
    socket.once('connect', () => {
      socket.removeAllListeners('error').removeAllListeners('timeout').setTimeout(0);
      // Whoever uses it sees the end of it.
      socket.on('error', () => undefined);
      resolve(socket);
    });
  });
}

/** Whether a destination on the list can be connected to now. */
export async function isReachable(destination: Destination, rules: EgressRules): Promise<boolean> {
  try {
    (await dial(destination, rules)).destroy();
    return true;
  } catch {
    return false;
  }
}

/** The way out of one client, with its own count of bytes. */
export class EgressGate {
  readonly #rules: EgressRules;
  readonly #observe: (access: EgressAccess) => void;
  readonly #server: Server;
  readonly #streams = new Set<Duplex>();
  #bytes = 0;
  #bytesSent = 0;
  #overflowed = false;

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

  /** Whether more bytes were asked for than the rules allow; everything ends when that happens. */
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
    if (this.#bytes <= this.#rules.bytesMax && this.#bytesSent <= this.#rules.bytesSentMax) return;
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
    let host: string;
    try {
      host = await addressOf(target.destination, this.#rules);
    } catch (error) {
      const verdict = error instanceof NoWay ? error.verdict : 'unreachable';
      answer(verdict === 'refused' ? 403 : 502, verdict);
      return;
    }
    const headers = PASSED_HEADERS.flatMap((name) => {
      const value = request.headers[name];
      return value === undefined ? [] : [name, String(value)];
    });
    const { port } = target.destination;
    const outgoing = httpRequest({
      host,
      port,
      method: request.method,
      path: target.path,
      headers: ['host', target.authority, 'connection', 'close', ...headers],
      timeout: IDLE_TIMEOUT_MS,
      maxHeaderSize: 16_384,
    });
    outgoing.once('socket', (socket) => {
      this.#track(socket);
    });
    outgoing.once('timeout', () => outgoing.destroy());
    outgoing.once('error', () => {
      if (response.headersSent) {
        response.destroy();
        log.done('allowed');
      } else answer(502, 'unreachable');
    });
    outgoing.once('response', (incoming) => {
      const passed = Object.entries(incoming.headers).filter(([name]) => !HOP_HEADERS.has(name));
      log.status = incoming.statusCode;
      response.writeHead(incoming.statusCode ?? 502, Object.fromEntries(passed));
      incoming.on('data', (chunk: Buffer) => {
        log.bytes += chunk.length;
        this.#count('client', chunk.length);
      });
      // A body that was cut must not look complete to the client.
      incoming.once('aborted', () => response.destroy());
      incoming.once('end', () => {
        log.done('allowed');
      });
      incoming.pipe(response);
    });
    response.once('close', () => outgoing.destroy());
    outgoing.end();
  }

  #logger(request: IncomingMessage, destination: Destination | undefined) {
    const started = performance.now();
    const observe = this.#observe;
    let isDone = false;
    return {
      destination,
      bytes: 0,
      status: undefined as number | undefined,
      done(verdict: EgressAccess['verdict']) {
        if (isDone) return;
        isDone = true;
        const { host, port } = destination ?? { host: '', port: 0 };
        const method = request.method ?? '';
        const status = this.status === undefined ? {} : { status: this.status };
        const durationMs = performance.now() - started;
        observe({ host, port, method, verdict, ...status, bytes: this.bytes, durationMs });
      },
    };
  }
}

/** Host, path and authority of an absolute-form request; undefined when it is no such request for plain HTTP. */
function targetOf(request: IncomingMessage) {
  if (request.method !== 'GET' && request.method !== 'HEAD') return undefined;
  const match = /^http:\/\/([^/?#]+)(\/[^\s#]*)?$/i.exec(request.url ?? '');
  const destination = match && parseAuthority(match[1] ?? '', 80);
  if (!match || !destination) return undefined;
  const { host, port } = destination;
  const name = host.includes(':') ? `[${host}]` : host;
  return { destination, path: match[2] ?? '/', authority: port === 80 ? name : `${name}:${String(port)}` };
}

function hasTwoHosts(request: IncomingMessage): boolean {
  return request.rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host').length > 1;
}
