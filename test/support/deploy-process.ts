/**
 * Processes that tests of deploy/ start and end: the service from its source, and
 * whatever else listens.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from '../../scripts/setup/host.mjs';
import { nodeBinary } from '../../scripts/setup/packages.mjs';
import { temporaryStateDirectory } from './state-directory.ts';

/** A process with what it printed; disposing it ends it. */
export interface TestProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly printed: () => string;
}

export function start(
  command: string,
  args: readonly string[],
  { env = process.env, signal = 'SIGTERM' }: { env?: NodeJS.ProcessEnv; signal?: NodeJS.Signals } = {},
): TestProcess {
  const child = spawn(command, [...args], { env, cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      printed += chunk;
    });
  }
  child.on('error', (error) => {
    printed += error.message;
  });
  return {
    child,
    printed: () => printed,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
      const ended = once(child, 'exit');
      child.kill(signal);
      const backstop = setTimeout(() => child.kill('SIGKILL'), 60_000);
      await ended;
      clearTimeout(backstop);
    },
  };
}

/** Asks `probe` until it gives something. @throws when it gave nothing for `deadlineMs`, or `owner` ended. */
export async function eventually<Value>(
  what: string,
  probe: () => Value | undefined | false | Promise<Value | undefined | false>,
  { deadlineMs = 15_000, owner }: { deadlineMs?: number; owner?: TestProcess } = {},
): Promise<Value> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (owner && owner.child.exitCode !== null) throw new Error(`${what}: it ended\n${owner.printed()}`);
    if (performance.now() > deadline) throw new Error(`${what}: not in time\n${owner?.printed() ?? ''}`);
    await sleep(50);
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export interface ServiceProcess extends TestProcess {
  readonly port: number;
  readonly url: string;
  readonly instance: string;
}

/** The real service, as `npm start` would run it, under an instance name and on a port of its own. */
export async function startService(settings: Readonly<Record<string, string>> = {}): Promise<ServiceProcess> {
  const instance = `test-deploy-${randomUUID()}`;
  const state = temporaryStateDirectory();
  const service = start(nodeBinary(), ['src/main.ts'], {
    env: {
      ...process.env,
      PYEXEC_PORT: '0',
      PYEXEC_INSTANCE: instance,
      PYEXEC_STATE_DIR: state.path,
      PYEXEC_SHUTDOWN_GRACE: '0',
      ...settings,
    },
  });
  service.child.once('exit', state.remove);
  try {
    const port = await eventually(
      'the service',
      () => Number(/Server listening at http:\/\/127\.0\.0\.1:(\d+)/.exec(service.printed())?.[1] ?? 0) || undefined,
      { owner: service, deadlineMs: 30_000 },
    );
    return { ...service, port, url: `http://127.0.0.1:${String(port)}`, instance };
  } catch (error) {
    await service[Symbol.asyncDispose]();
    throw error;
  }
}
