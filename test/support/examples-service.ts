/**
 * The service as an operator runs it: a process of its own on a free port, under an
 * instance name of its own, spoken to over HTTP only.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { temporaryStateDirectory } from './state-directory.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 30_000;

export interface ExampleService extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** What it wrote to stdout and stderr so far. */
  log(): string;
  /** SIGTERM, then waits; resolves with how it ended. */
  stop(): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts the service and waits until it is ready. Dispose it: `await using`. */
export async function startService(settings: Readonly<Record<string, string>> = {}): Promise<ExampleService> {
  const port = await freePort();
  const url = `http://127.0.0.1:${String(port)}`;
  const state = temporaryStateDirectory();
  const child = spawn('node_modules/.bin/node', ['src/main.ts'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PYEXEC_HOST: '127.0.0.1',
      PYEXEC_PORT: String(port),
      PYEXEC_INSTANCE: `examples-${randomUUID()}`,
      PYEXEC_SHUTDOWN_GRACE: '5',
      // A test that installs names an index of its own.
      PYEXEC_PACKAGES: 'off',
      PYEXEC_STATE_DIR: state.path,
      ...settings,
    },
  });
  // A test that ran out of time disposes of nothing; the service must not outlive it.
  const orphaned = () => child.kill('SIGTERM');
  process.once('exit', orphaned);
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      log += chunk;
    });
  }
  const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  let hasEnded = false;
  void ended.then(() => {
    hasEnded = true;
    state.remove();
    process.off('exit', orphaned);
  });

  const stop = async () => {
    if (!hasEnded) child.kill('SIGTERM');
    const kill = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    const [code, signal] = await ended;
    clearTimeout(kill);
    return { code, signal };
  };

  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    if (hasEnded) throw new Error(`the service did not start:\n${log}`);
    if (Date.now() > deadline) {
      await stop();
      throw new Error(`the service was not ready in time:\n${log}`);
    }
    const isReady = await fetch(`${url}/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) break;
    await sleep(50);
  }
  return {
    url,
    log: () => log,
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
    },
  };
}
