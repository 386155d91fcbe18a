/**
 * The real HTTP server on a loopback port, with the real Executions behind it. The
 * only thing that is not real is the sandbox: a function plays the program.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { RunSlots } from '../../src/admission/run-slots.ts';
import { DEFAULT_ARCHIVE_LIMITS } from '../../src/archive/read-project.ts';
import { ANONYMOUS } from '../../src/domain/caller.ts';
import type { Limits } from '../../src/domain/limits.ts';
import type { RunPlan } from '../../src/domain/plan.ts';
import { Executions, type ExecutionsOptions } from '../../src/execution/executions.ts';
import type {
  ArchiveObservation,
  HttpDependencies,
  HttpSettings,
  RequestObservation,
} from '../../src/http/http-settings.ts';
import { buildHttpServer } from '../../src/http/server.ts';
import { archive, file } from './hostile-archives.ts';
import { temporaryStore } from './state-directory.ts';

type Lease = Awaited<ReturnType<ExecutionsOptions['startSandbox']>>;
type RunParameters = Parameters<Lease['sandbox']['run']>;
type Ending = Awaited<ReturnType<Lease['sandbox']['run']>>;

const MIB = 2 ** 20;

const LIMITS: Limits = {
  wall_ms: 300_000,
  cpu_ms: 300_000,
  memory_bytes: 1024 * MIB,
  pids: 128,
  disk_bytes: 512 * MIB,
  output_bytes: MIB,
  open_files: 1024,
  cpus: 1,
};

/** What the program does: prints with `out`, returns how it ended. */
export type Program = (run: {
  readonly out: (text: string | Uint8Array, stream?: 'stdout' | 'stderr') => void;
  readonly sink: RunParameters[2];
  readonly plan: RunPlan;
  readonly project: RunParameters[1];
  readonly signal: AbortSignal;
  /** Resolves when the run is cancelled. */
  readonly cancelled: Promise<void>;
}) => Promise<Ending | void> | Ending | void;

export const exited = (exitCode = 0): Ending => ({
  kind: 'reported',
  report: { cause: null, exitCode, signal: null, wallMs: 1, cpuMs: 1, memoryPeakBytes: MIB, oomKills: 0 } as never,
});

export const cancelledEnding: Ending = { kind: 'backstop', cause: 'cancelled', wallMs: 1 };

/** Prints a line and ends. */
const hello: Program = ({ out }) => {
  out('hello\n');
};

/** Says that it started, then runs until it is cancelled. */
export const endless: Program = async ({ out, cancelled }) => {
  out('started\n');
  await cancelled;
  return cancelledEnding;
};

export interface TestServer extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  readonly executions: Executions;
  /** Every plan that reached a sandbox. */
  readonly plans: RunPlan[];
  readonly requests: RequestObservation[];
  readonly archives: ArchiveObservation[];
  /** The log, a parsed line each. */
  readonly log: Record<string, unknown>[];
  readonly logText: () => string;
  /** Files left in the spool directory. */
  readonly spooled: () => string[];
  /** Where an execution keeps its files. */
  readonly directoryOf: (id: string) => string;
  readonly app: Awaited<ReturnType<typeof buildHttpServer>>;
}

export interface TestServerOptions {
  readonly program?: Program;
  readonly settings?: Partial<HttpSettings>;
  readonly deps?: Partial<HttpDependencies>;
  readonly engine?: Partial<ExecutionsOptions>;
  readonly concurrent?: number;
  readonly queueMax?: number;
}

export async function startHttp(options: TestServerOptions = {}): Promise<TestServer> {
  const plans: RunPlan[] = [];
  const requests: RequestObservation[] = [];
  const archives: ArchiveObservation[] = [];
  const lines: string[] = [];
  const spool = mkdtempSync(join(tmpdir(), 'pyexec-http-'));
  const state = temporaryStore();
  const program = options.program ?? hello;
  const executions = new Executions({
    policy: {
      defaults: LIMITS,
      maxima: {
        ...LIMITS,
        wall_ms: 900_000,
        cpu_ms: 3_600_000,
        memory_bytes: 4096 * MIB,
        output_bytes: 256 * MIB,
        cpus: 4,
      },
      runtime: 'runc',
      network: 'none',
      stdinBytesMax: MIB,
      displays: { count: 10, bytes: MIB },
      inputs: { count: 8, wallMs: 60_000, outputBytes: 1 << 20 },
      artifacts: { files: 10, bytes: MIB, inlineBytes: 1000 },
    },
    slots: new RunSlots({ concurrent: options.concurrent ?? 64, queueMax: options.queueMax ?? 64 }),
    storage: state.storage,
    projects: { limits: { ...DEFAULT_ARCHIVE_LIMITS, contentBytes: 4 * MIB }, spoolDirectory: spool },
    store: state.store,
    resolveImage: (reference) => Promise.resolve({ reference: reference ?? 'pyexec/slim:latest', id: 'sha256:1' }),
    preimportsOffered: () => [],
    startSandbox: () => Promise.resolve(leaseOf(program, plans)),
    observe: () => undefined,
    ...options.engine,
  });
  const app = await buildHttpServer({
    executions,
    settings: {
      bodyBytesMax: 4 * MIB,
      archiveLimits: { ...DEFAULT_ARCHIVE_LIMITS, bodyBytes: 4 * MIB, memorySpoolBytes: 64 * 1024 },
      spoolDirectory: spool,
      stdinBytesMax: MIB,
      uploadTimeoutMs: 30_000,
      connectionsMax: 500,
      trustProxy: [],
      closeGraceMs: 50,
      ...options.settings,
    },
    identify: () => Promise.resolve(ANONYMOUS),
    openRoutes: ['docs'],
    rateLimits: { perCaller: 0, perAddress: 0, failures: 0 },
    images: () =>
      Promise.resolve([
        { reference: 'pyexec/slim:latest', id: 'sha256:1', labels: { a: 'b' }, sizeBytes: 7, isDefault: true },
        {
          reference: 'pyexec/data:latest',
          id: 'sha256:2',
          labels: { 'pyexec.python': '3.13.5', 'pyexec.packages': '{"numpy":"2.2.4","odd":1}' },
          sizeBytes: 8,
          isDefault: false,
        },
        { reference: 'other', id: 'sha256:3', labels: { 'pyexec.packages': '{' }, sizeBytes: 9, isDefault: false },
      ]),
    readiness: () => Promise.resolve({ ready: true, checks: { docker: { ok: true } } }),
    renderMetrics: () => Promise.resolve({ contentType: 'text/plain; version=0.0.4; charset=utf-8', body: 'up 1\n' }),
    isolation: () =>
      Promise.resolve({
        isolated: true,
        image: 'i',
        runtime: 'runc',
        checked_at: '2026-01-01T00:00:00.000Z',
        checks: [],
      }),
    observeRequest: (observation) => requests.push(observation),
    observeArchive: (observation) => archives.push(observation),
    logger: pino(
      { level: 'info' },
      new Writable({
        write: (chunk: Buffer, _encoding, done) => {
          lines.push(chunk.toString());
          done();
        },
      }),
    ),
    version: '0.0.0-test',
    ...options.deps,
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${String(port)}`,
    executions,
    plans,
    requests,
    archives,
    get log() {
      return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    },
    logText: () => lines.join(''),
    spooled: () => readdirSync(spool),
    directoryOf: state.storage.directoryOf,
    app,
    [Symbol.asyncDispose]: async () => {
      await executions.drain(0);
      await app.close();
      rmSync(spool, { recursive: true });
      state.remove();
    },
  };
}

function leaseOf(program: Program, plans: RunPlan[]): Lease {
  const run = async (...[plan, project, sink, signal]: RunParameters): Promise<Ending> => {
    plans.push(plan);
    sink.started();
    const cancelled = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else
        signal.addEventListener('abort', () => {
          resolve();
        });
    });
    const out = (text: string | Uint8Array, stream: 'stdout' | 'stderr' = 'stdout') => {
      void sink.output(stream, Buffer.from(text as Uint8Array));
    };
    return (await program({ out, sink, plan, project, signal, cancelled })) ?? exited();
  };
  const lease: unknown = { sandbox: { containerId: 'container', run }, release: () => Promise.resolve() };
  return lease as Lease;
}

/** The smallest project there is. */
export const tar = (code = 'print(1)\n'): Buffer<ArrayBuffer> => Buffer.from(archive(file('main.py', code)));

export const EXEC = '/api/v1/exec';

/** Posts `document` as JSON. */
export function postJson(
  server: TestServer,
  document: unknown,
  init: { headers?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<Response> {
  return fetch(server.url + EXEC, {
    method: 'POST',
    body: typeof document === 'string' ? document : JSON.stringify(document),
    ...init,
    headers: { 'content-type': 'application/json', ...init.headers },
  });
}

/** Posts `body` as an archive. */
export function postTar(
  server: TestServer,
  body: Uint8Array<ArrayBuffer>,
  init: { query?: string; headers?: Record<string, string> } = {},
): Promise<Response> {
  return fetch(`${server.url}${EXEC}${init.query ?? ''}`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/x-tar', ...init.headers },
  });
}

/** Waits until `condition` holds. */
export async function eventually(condition: () => boolean, whatFor: string, timeoutMs = 5_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never happened: ${whatFor}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
