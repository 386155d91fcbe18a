/**
 * The service under measurement: the real process on a free port, spoken to over
 * one kept-alive connection.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Pool } from 'undici';
import { IMAGE } from './baselines.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  server.close();
  await once(server, 'close');
  return address.port;
}

export class Service implements AsyncDisposable {
  readonly origin: string;
  /** The name of its containers' label. */
  readonly instance: string;
  readonly #process: ChildProcess;
  readonly #client: Pool;

  private constructor(origin: string, instance: string, child: ChildProcess) {
    this.origin = origin;
    this.instance = instance;
    this.#process = child;
    this.#client = new Pool(origin, { connections: 256, bodyTimeout: 0, headersTimeout: 0 });
  }

  static async start(settings: Readonly<Record<string, string>>): Promise<Service> {
    const port = await freePort();
    const state = mkdtempSync(join(tmpdir(), 'pyexec-bench-state-'));
    const child = spawn(process.execPath, ['src/main.ts'], {
      cwd: root,
      env: {
        ...process.env,
        PYEXEC_HOST: '127.0.0.1',
        PYEXEC_PORT: String(port),
        PYEXEC_INSTANCE: `bench-${String(port)}`,
        PYEXEC_LOG_LEVEL: 'error',
        PYEXEC_DEFAULT_IMAGE: IMAGE,
        PYEXEC_STATE_DIR: state,
        ...settings,
      },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    child.once('exit', () => {
      rmSync(state, { recursive: true, force: true });
    });
    const service = new Service(`http://127.0.0.1:${String(port)}`, `bench-${String(port)}`, child);
    for (let tries = 0; ; tries += 1) {
      try {
        const { statusCode, body } = await service.#client.request({ path: '/health', method: 'GET' });
        await body.dump();
        if (statusCode === 200) return service;
      } catch (error) {
        if (tries > 300 || child.exitCode !== null) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Posts JSON to the native door; resolves with the whole answer. */
  async exec(request: unknown): Promise<{ readonly statusCode: number; readonly result: Record<string, unknown> }> {
    const { statusCode, body } = await this.#client.request({
      path: '/api/v1/exec',
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(request),
    });
    return { statusCode, result: (await body.json()) as Record<string, unknown> };
  }

  /** Posts a body and returns the answer's bytes as they come. */
  async post(path: string, headers: Record<string, string>, body: AsyncIterable<Uint8Array> | Buffer | string) {
    return this.#client.request({ path, method: 'POST', headers, body: body as Buffer });
  }

  /** Fetches a path and returns the answer's bytes as they come. */
  async fetch(path: string, headers: Record<string, string> = {}) {
    return this.#client.request({ path, method: 'GET', headers });
  }

  /** Fetches a path; resolves when all of the answer is there. */
  async get(path: string): Promise<{ readonly statusCode: number }> {
    const { statusCode, body } = await this.fetch(path);
    await body.dump();
    return { statusCode };
  }

  async metric(name: string): Promise<number> {
    const { body } = await this.#client.request({ path: '/metrics', method: 'GET' });
    const line = (await body.text()).split('\n').find((text) => text.startsWith(`${name} `));
    return Number(line?.split(' ')[1] ?? NaN);
  }

  /** Waits until as many sandboxes are warm as there should be, then a little for the machine to be quiet. */
  async whenPoolIsFull(): Promise<void> {
    const target = await this.metric('pyexec_pool_target');
    while ((await this.metric('pyexec_pool_ready')) < target) await new Promise((resolve) => setTimeout(resolve, 20));
    await new Promise((resolve) => setTimeout(resolve, 30));
  }

  /** Resident memory of the server now, in bytes. */
  residentBytes(): number {
    const status = readFileSync(`/proc/${String(this.#process.pid)}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
  }

  /** CPU time the server has used, in milliseconds. */
  cpuMs(): number {
    const fields =
      readFileSync(`/proc/${String(this.#process.pid)}/stat`, 'utf8')
        .split(') ')[1]
        ?.split(' ') ?? [];
    // Fields 14 and 15 of proc(5), in ticks of 10 ms.
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.destroy();
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await exited;
  }
}
