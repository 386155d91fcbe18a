/** A daemon that never answers, answers nonsense or breaks off: every call fails in time, as a DaemonError. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { DaemonError, type DaemonCall } from '../../../src/sandbox/daemon-calls.ts';
import { DockerDaemon } from '../../../src/sandbox/docker-daemon.ts';

const never = new AbortController().signal;
const DEADLINE_MS = 150;
/** Far more than the deadline, far less than the real ones. */
const BOUND_MS = 2_000;

/** One that is answered for as long as it is listened to has its own tests below. */
type Answered = Exclude<DaemonCall, 'events'>;

const CALLS: Readonly<Record<Answered, (daemon: DockerDaemon) => Promise<unknown>>> = {
  ping: (daemon) => daemon.ping(),
  info: (daemon) => daemon.runtimes(),
  inspect_image: (daemon) => daemon.images.find('a'),
  list_images: (daemon) => daemon.images.listTagged(),
  create: (daemon) => daemon.create({ Image: 'a' }),
  update: (daemon) => daemon.update('a', { memoryBytes: 1, pids: 1, cpus: 1 }),
  attach: (daemon) => daemon.attach('a'),
  start: (daemon) => daemon.start('a'),
  inspect: (daemon) => daemon.stateOf('a'),
  kill: (daemon) => daemon.kill('a'),
  remove: (daemon) => daemon.remove('a'),
  list: (daemon) => daemon.listByLabel('a'),
  build: (daemon) =>
    daemon.images.build(Readable.from([Buffer.alloc(1024)]), { name: 'a', dockerfile: 'b', labels: {}, signal: never }),
  remove_image: (daemon) => daemon.images.remove('a'),
};
const NAMES = Object.keys(CALLS) as Answered[];

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
  const deadlineMs = Object.fromEntries([...NAMES, 'events'].map((name) => [name, DEADLINE_MS]));
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
    expect(observed.toSorted()).toEqual(NAMES.map((name): [Answered, boolean] => [name, true]).toSorted());
  });
});

test('a daemon that is not there is an error at once', async () => {
  const daemon = new DockerDaemon({ socketPath: '/nonexistent/docker.sock', observe: () => undefined });
  for (const name of NAMES) await expect(CALLS[name](daemon), name).rejects.toBeInstanceOf(DaemonError);
});

test.each(['"OK"', 'OK', '[]', '{}', 'null', '0', '[null]', '[{}]', '{"Id":7,"State":null}'])(
  'a success that says %s is not believed',
  async (body) => {
    const daemon = await daemonThat((socket) => socket.end(response('200 OK', body)));
    // The others have nothing to read: the status is the answer.
    const withAnswer: Answered[] = ['info', 'inspect_image', 'create', 'update', 'attach', 'inspect', 'build'];
    if (body !== '[]') withAnswer.push('list', 'list_images');
    for (const name of withAnswer) {
      await expect(CALLS[name](daemon), name).rejects.toBeInstanceOf(DaemonError);
    }
  },
);

test.each(NAMES.filter((name) => name !== 'attach'))('%s hears at once that its answer broke off', async (name) => {
  directory = mkdtempSync(join(tmpdir(), 'pyexec-daemon-'));
  const socketPath = join(directory, 'd.sock');
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"Id":', () =>
        setTimeout(() => socket.destroy(), 20),
      );
    });
  });
  await new Promise<void>((resolve) => server?.listen(socketPath, resolve));
  const daemon = new DockerDaemon({ socketPath, observe: () => undefined });
  const started = performance.now();
  await expect(CALLS[name](daemon)).rejects.toBeInstanceOf(DaemonError);
  // No deadline of any call is as short.
  expect(performance.now() - started).toBeLessThan(BOUND_MS);
});

test('calls that ran into their deadline leave no connection behind', async () => {
  const daemon = await daemonThat(() => undefined);
  await Promise.allSettled(NAMES.map((name) => CALLS[name](daemon)));
  const deadline = performance.now() + BOUND_MS;
  while (sockets.size > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(sockets.size).toBe(0);
});

test('a process that stood still hears what was said meanwhile before it calls it silence', async () => {
  directory = mkdtempSync(join(tmpdir(), 'pyexec-daemon-'));
  const socketPath = join(directory, 'd.sock');
  // In a thread of its own: it goes on while this one stands still.
  const answering = new Worker(
    `const { createServer } = require('node:http');
     createServer((_, answer) => setTimeout(() => answer.writeHead(201).end('{"Id":"abc"}'), ${String(DEADLINE_MS / 2)}))
       .listen(${JSON.stringify(socketPath)}, () => require('node:worker_threads').parentPort.postMessage('listens'));`,
    { eval: true },
  );
  try {
    await once(answering, 'message');
    const daemon = new DockerDaemon({ socketPath, observe: () => undefined, deadlineMs: { create: DEADLINE_MS } });
    const created = daemon.create({ Image: 'a' });
    created.catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, DEADLINE_MS / 4));
    const until = performance.now() + 3 * DEADLINE_MS;
    while (performance.now() < until);
    await expect(created).resolves.toBe('abc');
  } finally {
    await answering.terminate();
  }
});

test('a build that is given up is given up at once', async () => {
  const daemon = new DockerDaemon({
    socketPath: (await daemonThat(() => undefined), join(directory ?? '', 'd.sock')),
    observe: () => undefined,
  });
  const giving = new AbortController();
  const built = daemon.images.build(Readable.from([Buffer.alloc(1024)]), {
    name: 'a',
    dockerfile: 'b',
    labels: {},
    signal: giving.signal,
  });
  const refused = expect(built).rejects.toBeInstanceOf(DaemonError);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const started = performance.now();
  giving.abort();
  await refused;
  expect(performance.now() - started).toBeLessThan(BOUND_MS);
});

describe('what is no failure', () => {
  test.each<[Answered, string, string, unknown]>([
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

describe('pauses', () => {
  const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n';
  const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;

  test('are told as they come, however they are cut, until the connection breaks', async () => {
    const daemon = await daemonThat((socket) => {
      socket.write(HEAD + chunk('{"id":"a"}\n{"id":"b"}\n{"i'));
      setTimeout(() => {
        socket.write(chunk('d":"c"}\nnull\n'), () => socket.destroy());
      }, DEADLINE_MS * 2);
    });
    const heard: string[] = [];
    const watching = daemon.watchPauses('l', (id) => heard.push(id), never);
    await expect(watching).rejects.toMatchObject({ name: 'DaemonError', call: 'events' });
    expect(heard).toEqual(['a', 'b', 'c']);
  });

  test('a daemon that says nonsense, or does not begin, is an error', async () => {
    const nonsense = await daemonThat((socket) => socket.end(response('200 OK', 'pause!\n')));
    await expect(nonsense.watchPauses('l', () => undefined, never)).rejects.toBeInstanceOf(DaemonError);
    const silent = await daemonThat(() => undefined);
    await expect(silent.watchPauses('l', () => undefined, never)).rejects.toBeInstanceOf(DaemonError);
  });

  test('who has heard enough hangs up', async () => {
    const daemon = await daemonThat((socket) => void socket.write(HEAD + chunk('{"id":"a"}\n')));
    const enough = new AbortController();
    await daemon.watchPauses(
      'l',
      () => {
        enough.abort();
      },
      enough.signal,
    );
    await expect.poll(() => sockets.size).toBe(0);
  });
});
