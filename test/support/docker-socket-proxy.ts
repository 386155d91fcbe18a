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
  | 'build';

/** `lost`: the call is carried out and its answer never comes. `garbage`: an answer that looks like success. */
export type Fault = 404 | 409 | 500 | 'garbage' | 'eof' | 'lost' | 'hang';

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
  ['build', /^POST \/build/],
  ['remove', /^DELETE \/containers\/[^/?]+/],
];

const ATTACHED =
  'HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n';

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
      this.#upgrade(incoming, socket, head);
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
    if (fault === 'garbage') {
      outgoing.writeHead(incoming.method === 'POST' ? 201 : 200).end('garbage');
      return;
    }
    const { method, url: path, headers } = incoming;
    const onward = request({ socketPath: this.#upstream, method, path, headers, agent: false }, (answer) => {
      if (fault === 'lost') {
        answer.resume().on('end', () => incoming.socket.destroy());
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => incoming.socket.destroy());
    incoming.pipe(onward);
  }

  #upgrade(incoming: IncomingMessage, client: Duplex, head: Buffer): void {
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
    if (fault === 'garbage') {
      client.end(`${ATTACHED}this is not a stream of Docker’s`);
      return;
    }
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
        else if (!to.write(chunk) && !this.#isHung) {
          from.pause();
          to.once('drain', () => {
            if (!this.#isHung) from.resume();
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
