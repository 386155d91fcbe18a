/**
 * A daemon that can fail, without touching the one everybody uses: a Unix socket
 * that forwards to Docker's and, on command, refuses connections as a stopped
 * daemon does, answers nothing as a stopped process does, or lets chosen calls fail.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Duplex } from 'node:stream';

export const DOCKER_SOCKET = '/var/run/docker.sock';

export type ProxiedCall =
  | 'ping'
  | 'info'
  | 'inspect_image'
  | 'list_images'
  | 'create'
  | 'update'
  | 'attach'
  | 'start'
  | 'inspect'
  | 'kill'
  | 'remove'
  | 'list'
  | 'build'
  | 'remove_image';

/**
 * Without the call being carried out: a status; `garbage` and `shape`, successes that say nonsense, and JSON of
 * something else; `eof` and `hang`, no answer. After it was carried out: `lost`, its answer never comes; `cut`,
 * the connection ends in the middle of it; `truncated`, only half of it is said; `slow`, it comes a byte at a time.
 */
export type Fault = 404 | 409 | 500 | 'garbage' | 'shape' | 'eof' | 'hang' | 'lost' | 'cut' | 'truncated' | 'slow';

/** What a slow answer takes at least. */
const SLOW_MS = 1_500;

const CALLS: readonly (readonly [ProxiedCall, RegExp])[] = [
  ['ping', /^(?:GET|HEAD) \/_ping/],
  ['info', /^GET \/info/],
  ['list_images', /^GET \/images\/json/],
  ['inspect_image', /^GET \/images\/.+\/json/],
  ['create', /^POST \/containers\/create/],
  ['list', /^GET \/containers\/json/],
  ['update', /^POST \/containers\/[^/]+\/update/],
  ['attach', /^POST \/containers\/[^/]+\/attach/],
  ['start', /^POST \/containers\/[^/]+\/start/],
  ['kill', /^POST \/containers\/[^/]+\/kill/],
  ['inspect', /^GET \/containers\/[^/]+\/json/],
  ['remove', /^DELETE \/containers\/[^/?]+/],
  ['build', /^POST \/build/],
  ['remove_image', /^DELETE \/images\/[^?]+/],
];

const ATTACHED =
  'HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n';

/** Of the eight bytes that come before what a container says. */
const HALF_A_HEADER = Buffer.from([1, 0, 0]);

/** Passes on what the daemon answered, but not as it was said. */
async function spoil(
  answer: IncomingMessage,
  outgoing: ServerResponse,
  fault: 'cut' | 'truncated' | 'slow',
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const half = body.subarray(0, body.length >> 1);
  const headers = { ...answer.headers };
  delete headers['transfer-encoding'];
  outgoing.on('error', () => undefined);
  // What has no body has nothing to be cut: its head comes in half.
  if (fault === 'cut' && body.length === 0) {
    outgoing.socket?.end('HTTP/1.1 2');
    return;
  }
  if (answer.statusCode !== 204 && answer.statusCode !== 304) {
    headers['content-length'] = String(fault === 'truncated' ? half.length : body.length);
  }
  if (fault === 'slow') await sleep(SLOW_MS / 2);
  outgoing.writeHead(answer.statusCode ?? 502, headers);
  if (fault === 'truncated') outgoing.end(half);
  else if (fault === 'cut') outgoing.write(half, () => outgoing.socket?.destroy());
  else {
    const step = Math.max(1, Math.ceil(body.length / 30));
    for (let at = 0; at < body.length; at += step) {
      outgoing.write(body.subarray(at, at + step));
      await sleep(SLOW_MS / 2 / 30);
    }
    outgoing.end();
  }
}

function callOf({ method, url }: IncomingMessage): ProxiedCall | undefined {
  const line = `${method ?? ''} ${(url ?? '').replace(/^\/v[\d.]+/, '')}`;
  return CALLS.find(([, pattern]) => pattern.test(line))?.[0];
}

export class DockerSocketProxy implements AsyncDisposable {
  readonly socketPath: string;
  readonly #upstream: string;
  readonly #directory = mkdtempSync(join(tmpdir(), 'pyexec-proxy-'));
  readonly #sockets = new Set<Socket>();
  readonly #attached = new Set<Duplex>();
  readonly #faults = new Map<ProxiedCall, { readonly fault: Fault; times: number }>();
  /** How often each call came, failed ones included. */
  readonly counts = new Map<ProxiedCall, number>();
  #server: Server | undefined;
  #isHung = false;
  #isHeld = false;

  private constructor(upstream: string) {
    this.#upstream = upstream;
    this.socketPath = join(this.#directory, 'docker.sock');
  }

  static async start(upstream = DOCKER_SOCKET): Promise<DockerSocketProxy> {
    const proxy = new DockerSocketProxy(upstream);
    await proxy.resume();
    return proxy;
  }

  /** Lets the next `times` of these calls fail. */
  fail(call: ProxiedCall, fault: Fault, times = Number.POSITIVE_INFINITY): void {
    this.#faults.set(call, { fault, times });
  }

  /** Calls succeed again. What hangs already goes on hanging. */
  heal(): void {
    this.#faults.clear();
  }

  /** As when dockerd is stopped: connections break, new ones are refused. */
  stop(): void {
    this.#server?.close();
    this.#server = undefined;
    rmSync(this.socketPath, { force: true });
    this.#breakAll();
  }

  /** As when dockerd is sent SIGSTOP: connections are taken, nothing is answered, streams stand still. */
  hang(): void {
    this.#isHung = true;
    for (const stream of this.#attached) stream.pause();
  }

  /** As when dockerd comes back. */
  async resume(): Promise<void> {
    if (this.#isHung) this.#breakAll();
    this.#isHung = false;
    if (this.#server) return;
    const server = createServer((incoming, outgoing) => {
      this.#forward(incoming, outgoing);
    });
    server.on('upgrade', (incoming, socket, head) => {
      void this.#upgrade(incoming, socket, head);
    });
    // As dockerd, which does not close connections that are idle.
    server.keepAliveTimeout = 0;
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket)).on('error', () => undefined);
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.socketPath, resolve));
  }

  /** The streams of attached containers stand still, and nothing else. Returns what lets them go on. */
  holdAttached(): () => void {
    this.#isHeld = true;
    for (const stream of this.#attached) stream.pause();
    return () => {
      this.#isHeld = false;
      for (const stream of this.#attached) stream.resume();
    };
  }

  /** Breaks the streams of every attached container, and nothing else. */
  dropAttached(): void {
    for (const stream of this.#attached) stream.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    rmSync(this.#directory, { recursive: true, force: true });
    return Promise.resolve();
  }

  #breakAll(): void {
    for (const stream of [...this.#attached, ...this.#sockets]) stream.destroy();
  }

  #faultOf(call: ProxiedCall | undefined): Fault | undefined {
    if (call) this.counts.set(call, (this.counts.get(call) ?? 0) + 1);
    if (this.#isHung) return 'hang';
    const rule = call && this.#faults.get(call);
    if (!rule || rule.times <= 0) return undefined;
    rule.times -= 1;
    return rule.fault;
  }

  #forward(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const fault = this.#faultOf(callOf(incoming));
    if (fault === 'hang') return;
    if (fault === 'eof') {
      incoming.socket.destroy();
      return;
    }
    if (typeof fault === 'number') {
      outgoing.writeHead(fault, { 'content-type': 'application/json' }).end(`{"message":"injected ${String(fault)}"}`);
      return;
    }
    if (fault === 'garbage' || fault === 'shape') {
      outgoing.writeHead(incoming.method === 'POST' ? 201 : 200, { 'content-type': 'application/json' });
      outgoing.end(fault === 'garbage' ? 'garbage' : '[{"Id":7,"Unexpected":[null]}]');
      return;
    }
    const { method, url: path, headers } = incoming;
    const onward = request({ socketPath: this.#upstream, method, path, headers, agent: false }, (answer) => {
      if (fault === 'lost') {
        answer.resume().on('end', () => incoming.socket.destroy());
        return;
      }
      if (fault === 'cut' || fault === 'truncated' || fault === 'slow') {
        void spoil(answer, outgoing, fault);
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => incoming.socket.destroy());
    incoming.pipe(onward);
  }

  async #upgrade(incoming: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    client.on('error', () => undefined);
    const fault = this.#faultOf(callOf(incoming));
    if (fault === 'hang') return;
    if (fault === 'eof') {
      client.destroy();
      return;
    }
    if (typeof fault === 'number') {
      client.end(`HTTP/1.1 ${String(fault)} Injected\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`);
      return;
    }
    if (fault === 'shape') {
      client.end('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}');
      return;
    }
    if (fault === 'garbage') {
      client.end(`${ATTACHED}this is not a stream of Docker’s`);
      return;
    }
    if (fault === 'slow') await sleep(SLOW_MS);
    const daemon = connect(this.#upstream);
    const headers = incoming.rawHeaders.flatMap((name, index, all) =>
      index % 2 === 0 ? [`${name}: ${all[index + 1] ?? ''}\r\n`] : [],
    );
    const line = `${incoming.method ?? ''} ${incoming.url ?? ''} HTTP/1.1\r\n${headers.join('')}\r\n`;
    // In one piece: dockerd takes the body of an attach request for stdin of the container when it comes after the head.
    daemon.write(Buffer.concat([Buffer.from(line, 'latin1'), head]));
    for (const [from, to] of [
      [client, daemon],
      [daemon, client],
    ] as const) {
      this.#attached.add(from);
      from.on('data', (chunk: Buffer) => {
        if (fault === 'lost' && from === daemon) client.destroy();
        else if ((fault === 'cut' || fault === 'truncated') && from === daemon) {
          // In the middle of the head of the answer, or of the first frame behind it.
          client.end(fault === 'cut' ? chunk.subarray(0, chunk.length >> 1) : Buffer.concat([chunk, HALF_A_HEADER]));
        } else if (!to.write(chunk) && !this.#isHung) {
          from.pause();
          to.once('drain', () => {
            if (!this.#isHung && !this.#isHeld) from.resume();
          });
        }
      });
      from.on('end', () => to.end());
      from.on('error', () => undefined);
      from.on('close', () => {
        this.#attached.delete(from);
        to.destroy();
      });
    }
  }
}
