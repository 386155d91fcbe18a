/** A daemon that never answers, answers nonsense or breaks off: every call fails in time, as a DaemonError. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, describe, expect, test } from 'vitest';
import { DaemonError, DockerDaemon, type DaemonCall } from '../../../src/sandbox/docker-daemon.ts';

const DEADLINE_MS = 150;
/** Far more than the deadline, far less than the real ones. */
const BOUND_MS = 2_000;

const CALLS: Readonly<Record<DaemonCall, (daemon: DockerDaemon) => Promise<unknown>>> = {
  ping: (daemon) => daemon.ping(),
  info: (daemon) => daemon.runtimes(),
  inspect_image: (daemon) => daemon.findImage('a'),
  list_images: (daemon) => daemon.listImages(),
  create: (daemon) => daemon.create({ Image: 'a' }),
  update: (daemon) => daemon.update('a', { memoryBytes: 1, pids: 1, cpus: 1 }),
  attach: (daemon) => daemon.attach('a'),
  start: (daemon) => daemon.start('a'),
  inspect: (daemon) => daemon.stateOf('a'),
  kill: (daemon) => daemon.kill('a'),
  remove: (daemon) => daemon.remove('a'),
  list: (daemon) => daemon.listByLabel('a'),
  build: (daemon) => daemon.buildImage(Readable.from([Buffer.alloc(1024)]), { name: 'a', dockerfile: 'b', labels: {} }),
  remove_image: (daemon) => daemon.removeImage('a'),
};
const NAMES = Object.keys(CALLS) as DaemonCall[];

const response = (status: string, body: string, type = 'application/json') =>
  `HTTP/1.1 ${status}\r\nContent-Type: ${type}\r\nContent-Length: ${String(Buffer.byteLength(body))}\r\n\r\n${body}`;

const FAULTS: Readonly<Record<string, (socket: Socket) => void>> = {
  'never answers': () => undefined,
  'answers 500': (socket) => socket.end(response('500 Internal Server Error', '{"message":"secret host path"}')),
  'answers 500 without JSON': (socket) => socket.end(response('500 Oops', '<html>', 'text/html')),
  'answers a status nobody expects': (socket) => socket.end(response('418 Teapot', '{}')),
  'answers what is not HTTP': (socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'),
  'closes at once': (socket) => socket.end(),
  'drops the connection': (socket) => socket.destroy(),
  'breaks off in the headers': (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-'),
  'breaks off in the body': (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"Id":'),
  'stops in the body': (socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"Id":'),
};

let server: Server | undefined;
let directory: string | undefined;
const sockets = new Set<Socket>();

async function daemonThat(
  onRequest: (socket: Socket) => void,
  observe: (call: DaemonCall, durationMs: number, failed: boolean) => void = () => undefined,
): Promise<DockerDaemon> {
  directory = mkdtempSync(join(tmpdir(), 'pyexec-daemon-'));
  const socketPath = join(directory, 'd.sock');
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
    socket.once('data', () => {
      onRequest(socket);
    });
  });
  await new Promise<void>((resolve) => server?.listen(socketPath, resolve));
  const deadlineMs = Object.fromEntries(NAMES.map((name) => [name, DEADLINE_MS]));
  return new DockerDaemon({ socketPath, observe, deadlineMs });
}

afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server?.close();
  if (directory !== undefined) rmSync(directory, { recursive: true });
  server = directory = undefined;
});

describe.each(Object.entries(FAULTS))('a daemon that %s', (_, fault) => {
  test('fails every call in time, as what it is', async () => {
    const observed: [DaemonCall, boolean][] = [];
    const daemon = await daemonThat(fault, (call, _durationMs, failed) => observed.push([call, failed]));
    const started = performance.now();
    const results = await Promise.allSettled(NAMES.map((name) => CALLS[name](daemon)));
    expect(performance.now() - started).toBeLessThan(BOUND_MS);
    for (const [index, result] of results.entries()) {
      const name = NAMES[index];
      if (result.status === 'fulfilled') throw new Error(`${String(name)} claims success`);
      expect(result.reason, name).toBeInstanceOf(DaemonError);
      expect(result.reason, name).toMatchObject({ call: name });
    }
    expect(observed.toSorted()).toEqual(NAMES.map((name): [DaemonCall, boolean] => [name, true]).toSorted());
  });
});

test('a daemon that is not there is an error at once', async () => {
  const daemon = new DockerDaemon({ socketPath: '/nonexistent/docker.sock', observe: () => undefined });
  for (const name of NAMES) await expect(CALLS[name](daemon), name).rejects.toBeInstanceOf(DaemonError);
});

test.each(['"OK"', 'OK', '[]', '{}', 'null', '0'])('a success that says %s is not believed', async (body) => {
  const daemon = await daemonThat((socket) => socket.end(response('200 OK', body)));
  // The others have nothing to read: the status is the answer.
  const withAnswer: DaemonCall[] = ['info', 'inspect_image', 'create', 'attach', 'inspect'];
  if (body !== '[]') withAnswer.push('list', 'list_images');
  for (const name of withAnswer) {
    await expect(CALLS[name](daemon), name).rejects.toBeInstanceOf(DaemonError);
  }
});

test('calls that ran into their deadline leave no connection behind', async () => {
  const daemon = await daemonThat(() => undefined);
  await Promise.allSettled(NAMES.map((name) => CALLS[name](daemon)));
  const deadline = performance.now() + BOUND_MS;
  while (sockets.size > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(sockets.size).toBe(0);
});

describe('what is no failure', () => {
  test.each<[DaemonCall, string, string, unknown]>([
    ['inspect_image', '404 Not Found', '{"message":"no such image"}', undefined],
    ['inspect', '404 Not Found', '{"message":"no such container"}', undefined],
    ['kill', '404 Not Found', '{"message":"no such container"}', undefined],
    ['kill', '409 Conflict', '{"message":"is not running"}', undefined],
    ['remove', '404 Not Found', '{"message":"no such container"}', undefined],
    ['remove', '409 Conflict', '{"message":"removal of container x is already in progress"}', undefined],
  ])('%s answered %s', async (name, status, body, expected) => {
    const daemon = await daemonThat((socket) => socket.end(response(status, body)));
    expect(await CALLS[name](daemon)).toBe(expected);
  });

  test('but a removal that is refused for another reason is', async () => {
    const daemon = await daemonThat((socket) => socket.end(response('409 Conflict', '{"message":"device busy"}')));
    await expect(CALLS.remove(daemon)).rejects.toMatchObject({ statusCode: 409 });
  });
});
