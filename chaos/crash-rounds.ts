/**
 * Kills the real server at random instants under load, starts it again on what it
 * left, and checks what its clients were told against what is there in the end.
 *
 * The record of what was answered is kept here, by the clients; nothing of the
 * server's is believed but what it says when it is asked at last.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { LABEL } from '../src/sandbox/container-labels.ts';
import { Client, type Answered, type Seen } from './crash-client.ts';
import { Receiver } from './crash-receiver.ts';
import { isSameEnd, keyViolationsOf, violationsOf } from './crash-verdict.ts';
import { random } from './random.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CLIENTS = 6;
const READY_TIMEOUT_MS = 60_000;
/** How many executions are judged at once. */
const JUDGED_AT_ONCE = 16;
/** How long webhooks may take that are still to be delivered in the end. */
const TOLD_TIMEOUT_MS = 120_000;
/** The longest a server lives under load before it is killed. */
const LIFE_MS = 1500;
/** Some are killed before they answer at all, in the middle of their recovery. */
const KILLED_IN_BOOT = 0.2;

export interface CrashOptions {
  readonly kills: number;
  /** The same seed kills after the same delays; what it meets differs. */
  readonly seed: number;
  readonly say: (line: string) => void;
}

export interface CrashVerdict {
  readonly kills: number;
  readonly answered: number;
  readonly interrupted: number;
  /** Messages of webhooks that came, repeated ones included, and executions they were about. */
  readonly messages: number;
  readonly told: number;
  /** From the start of a process to its first answer, after a kill. */
  readonly recoveryMsMax: number;
  /** Sentences, each about one execution or thing left over. None when all is well. */
  readonly violations: readonly string[];
}

export async function crashRounds({ kills, seed, say }: CrashOptions): Promise<CrashVerdict> {
  const directory = mkdtempSync(join(tmpdir(), 'pyexec-crash-'));
  const next = random(seed);
  const instance = `test-crash-${randomUUID()}`;
  const receiver = await Receiver.start(random(next() * 2 ** 32));
  const server = new Server(directory, instance, await freePort(), receiver.settings);
  const answered = new Map<string, Answered>();
  const violations: string[] = [];
  let recoveryMsMax = 0;
  const clients = Array.from(
    { length: CLIENTS },
    () => new Client(server.url, answered, receiver.webhook, random(next() * 2 ** 32)),
  );
  try {
    for (let kill = 1; kill <= kills; kill += 1) {
      server.start();
      if (next() < KILLED_IN_BOOT) {
        await sleep(next() * 800);
        await server.end('SIGKILL');
        continue;
      }
      recoveryMsMax = Math.max(recoveryMsMax, await server.ready());
      const stop = new AbortController();
      const load = Promise.all(clients.map((client) => client.work(stop.signal)));
      await sleep(next() * LIFE_MS);
      await server.end('SIGKILL');
      stop.abort();
      await load;
      if (kill % 10 === 0) say(`${String(kill)} kills, ${String(answered.size)} executions answered`);
    }
    server.start();
    recoveryMsMax = Math.max(recoveryMsMax, await server.ready());
    const ends: (string | undefined)[] = [];
    const toJudge = [...answered.values()].values();
    const judgeNext = async () => {
      for (const each of toJudge) ends.push(await judge(each, server.url, violations));
    };
    await Promise.all(Array.from({ length: JUDGED_AT_ONCE }, judgeNext));
    violations.push(...keyViolationsOf([...answered.values()]));
    await judgeWebhooks(answered, receiver, server.url, violations);
    await server.end('SIGTERM');
    violations.push(...server.wrong, ...new Set(clients.flatMap(({ wrong }) => [...wrong])));
    const spooled = readdirSync(join(directory, 'spool'));
    if (spooled.length > 0) violations.push(`I5: left in the spool: ${spooled.join(' ')}`);
    const left = await containersLeft(instance);
    if (left !== '') violations.push(`I5: containers left: ${left}`);
    const unknown = readdirSync(join(directory, 'state', 'executions')).filter((id) => !answered.has(id));
    say(`${String(unknown.length)} directories of executions nobody was told of`);
    const interrupted = ends.filter((kind) => kind === 'interrupted').length;
    const messages = [...receiver.told.values()].reduce((sum, all) => sum + all.length, 0);
    const told = receiver.told.size;
    recoveryMsMax = Math.round(recoveryMsMax);
    return { kills, answered: answered.size, interrupted, messages, told, recoveryMsMax, violations };
  } finally {
    await server.end('SIGKILL');
    await receiver.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What the server says of it in the end, held against what its client saw. */
async function judge(told: Answered, url: string, violations: string[]): Promise<string | undefined> {
  const { id } = told;
  const response = await fetch(`${url}/api/v1/executions/${id}`);
  if (response.status !== 200) {
    violations.push(`${id}: I1: answered, and now ${String(response.status)}`);
    return undefined;
  }
  let end = (await response.json()) as Seen;
  // Accepted by the last server that was killed, or by this one: it ends.
  for (let tries = 0; end.outcome === undefined && tries < 200; tries += 1) {
    await sleep(100);
    end = (await (await fetch(`${url}/api/v1/executions/${id}`)).json()) as Seen;
  }
  const events = await (await fetch(`${url}/api/v1/executions/${id}/events`)).text();
  violations.push(...violationsOf(told, end, events));
  told.ends.push(end);
  return end.outcome?.kind;
}

/** Who asked for it was told, and of each execution nothing but its one end. */
async function judgeWebhooks(
  answered: ReadonlyMap<string, Answered>,
  receiver: Receiver,
  url: string,
  violations: string[],
): Promise<void> {
  violations.push(...receiver.wrong);
  const untold = () => [...answered.values()].filter(({ id, isTold }) => isTold && !receiver.told.has(id));
  for (const since = performance.now(); performance.now() - since < TOLD_TIMEOUT_MS; await sleep(100)) {
    if (untold().length === 0) break;
  }
  for (const { id } of untold()) violations.push(`${id}: its webhook never came`);
  for (const [id, messages] of receiver.told) {
    // Also of executions whose acceptance nobody lived to hear of.
    const end = (await (await fetch(`${url}/api/v1/executions/${id}`)).json()) as Seen;
    if (new Set(messages.map(({ delivery }) => delivery)).size > 1) violations.push(`${id}: told by two deliveries`);
    for (const { seen } of messages) {
      if (!isSameEnd(seen, end)) violations.push(`${id}: told with another end`);
    }
    if (answered.get(id)?.isTold === false) violations.push(`${id}: told, and nobody asked for it`);
  }
}

async function containersLeft(instance: string): Promise<string> {
  const docker = spawn('docker', ['ps', '-aq', '--filter', `label=${LABEL.instance}=${instance}`]);
  let printed = '';
  docker.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
  const [code] = (await once(docker, 'close')) as [number | null];
  // What was not asked has no answer.
  if (code !== 0) throw new Error(`docker ps ended with ${String(code)}: what is left is not known`);
  return printed.trim();
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

class Server {
  readonly url: string;
  /** Sentences about ends nobody asked it for. */
  readonly wrong: string[] = [];
  readonly #environment: Readonly<Record<string, string | undefined>>;
  #child: ChildProcess | undefined;
  #startedAt = 0;
  #stderr = '';

  constructor(directory: string, instance: string, port: number, settings: Readonly<Record<string, string>>) {
    this.url = `http://127.0.0.1:${String(port)}`;
    mkdirSync(join(directory, 'spool'));
    this.#environment = {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      PYEXEC_PORT: String(port),
      PYEXEC_INSTANCE: instance,
      PYEXEC_STATE_DIR: join(directory, 'state'),
      PYEXEC_SPOOL_DIR: join(directory, 'spool'),
      PYEXEC_DEFAULT_IMAGE: 'pyexec/slim:latest',
      PYEXEC_POOL_SIZE: '2',
      PYEXEC_MAX_CONCURRENT: '4',
      PYEXEC_CLEANUP_TTL: '86400',
      PYEXEC_SHUTDOWN_GRACE: '20',
      PYEXEC_LOG_LEVEL: 'fatal',
      ...settings,
    };
  }

  start(): void {
    this.#startedAt = performance.now();
    this.#stderr = '';
    const child = spawn(process.execPath, ['src/main.ts'], {
      cwd: ROOT,
      env: this.#environment,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.#child = child;
  }

  /** Resolves with the ms it took to answer. */
  async ready(): Promise<number> {
    for (;;) {
      const isUp = await fetch(`${this.url}/ready`).then(
        ({ ok }) => ok,
        () => false,
      );
      const tookMs = performance.now() - this.#startedAt;
      if (isUp) return tookMs;
      if (this.#child?.exitCode !== null) throw new Error(`the server does not start: ${this.#stderr}`);
      if (tookMs > READY_TIMEOUT_MS) throw new Error('I8: the server does not recover');
      await sleep(20);
    }
  }

  /** Ends it, where it does not say at once why it has ended by itself. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child) return;
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill(signal);
      await exited;
      if (signal === 'SIGKILL' || child.exitCode === 0) return;
    }
    const how = String(child.exitCode ?? child.signalCode);
    this.wrong.push(`the server ended with ${how}, and not for ${signal}: ${this.#stderr.slice(-500)}`);
  }
}
