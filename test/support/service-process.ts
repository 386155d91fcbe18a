/** The real service as its own process, on a free port, under an instance name of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { SLIM } from './images.ts';
import { temporaryStateDirectory } from './state-directory.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const BOOT_TIMEOUT_MS = 30_000;

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

export type Settings = Readonly<Record<string, string>>;

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const LOG_CHARACTERS_MAX = 1 << 20;

interface Launched {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** The end of what it wrote to stdout. */
  readonly log: () => string;
}

function launch(settings: Settings, args: readonly string[] = [], under: readonly string[] = []): Launched {
  // Nothing of this process's environment, so that a setting of the machine changes no test.
  const { PATH, HOME, TMPDIR } = process.env;
  const inherited = Object.fromEntries(
    Object.entries({ PATH, HOME, TMPDIR }).filter(([, value]) => value !== undefined),
  );
  const state = temporaryStateDirectory();
  const [command = '', ...rest] = [...under, process.execPath, MAIN, ...args];
  const child = spawn(command, rest, {
    env: { ...inherited, PYEXEC_STATE_DIR: state.path, ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout = (stdout + text).slice(-LOG_CHARACTERS_MAX);
  });
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => {
      state.remove();
      resolve({ code, signal, stderr });
    });
  });
  return { child, ended, log: () => stdout };
}

/** Starts the service where it is expected to refuse, or ends it with the signal, and waits for its end. */
export async function runService(
  settings: Settings,
  args: readonly string[] = [],
  signal?: { readonly name: NodeJS.Signals; readonly afterMs: number },
): Promise<Ended> {
  const { child, ended } = launch(settings, args);
  if (signal) setTimeout(() => child.kill(signal.name), signal.afterMs);
  const timer = setTimeout(() => child.kill('SIGKILL'), BOOT_TIMEOUT_MS);
  const result = await ended;
  clearTimeout(timer);
  return result;
}

export class ServiceProcess implements AsyncDisposable {
  readonly instance: string;
  readonly url: string;
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;

  /** The end of its log. */
  readonly log: () => string;

  private constructor({ child, ended, log }: Launched, instance: string, url: string) {
    this.#child = child;
    this.ended = ended;
    this.log = log;
    this.instance = instance;
    this.url = url;
  }

  /**
   * Resolves when the service answers. Dispose it: `await using`.
   * @param under a command that runs it, such as a tracer, which is then what `pid` and signals are about.
   */
  static async start(settings: Settings = {}, under: readonly string[] = []): Promise<ServiceProcess> {
    const port = settings['PYEXEC_PORT'] ?? String(await freePort());
    const instance = settings['PYEXEC_INSTANCE'] ?? `test-${randomUUID()}`;
    const defaults = {
      PYEXEC_POOL_SIZE: '0',
      PYEXEC_DEFAULT_IMAGE: SLIM,
      // A test that installs names an index of its own.
      PYEXEC_PACKAGES: 'off',
      PYEXEC_LOG_LEVEL: 'warn',
    };
    const launched = launch({ ...defaults, ...settings, PYEXEC_PORT: port, PYEXEC_INSTANCE: instance }, [], under);
    const { child, ended } = launched;
    const service = new ServiceProcess(launched, instance, `http://127.0.0.1:${port}`);
    let end: Ended | undefined;
    void ended.then((result) => (end = result));
    for (const deadline = performance.now() + BOOT_TIMEOUT_MS; ; await sleep(50)) {
      if (end) throw new Error(`the service ended: ${JSON.stringify(end)}`);
      if (
        await service.get('/health').then(
          ({ status }) => status === 200,
          () => false,
        )
      )
        return service;
      if (performance.now() > deadline) {
        child.kill('SIGKILL');
        throw new Error('the service does not answer');
      }
    }
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the service was not started');
    return this.#child.pid;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** As when whoever reads the log goes away. */
  closeStdout(): void {
    this.#child.stdout?.destroy();
  }

  get(path: string): Promise<Response> {
    return fetch(`${this.url}${path}`, { signal: AbortSignal.timeout(10_000) });
  }

  /** POST /api/v1/exec with this program. */
  exec(
    code: string,
    options: { headers?: Readonly<Record<string, string>>; signal?: AbortSignal; detach?: boolean } = {},
  ): Promise<Response> {
    return fetch(`${this.url}/api/v1/exec`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...options.headers },
      body: JSON.stringify({ code, ...(options.detach ? { detach: true } : {}) }),
      signal: options.signal ?? AbortSignal.timeout(60_000),
    });
  }

  /** Starts a run without waiting for it; resolves with its id. */
  async submit(code: string): Promise<string> {
    const response = await this.exec(code, { headers: { prefer: 'respond-async' } });
    if (response.status !== 202) throw new Error(`${String(response.status)} ${await response.text()}`);
    return ((await response.json()) as { execution_id: string }).execution_id;
  }

  async execution(
    id: string,
  ): Promise<{ status: string; outcome?: { kind: string; reason?: string }; stdout: string }> {
    const response = await this.get(`/api/v1/executions/${id}`);
    return (await response.json()) as { status: string; outcome?: { kind: string; reason?: string }; stdout: string };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 20_000);
    await this.ended;
    clearTimeout(timer);
  }
}
