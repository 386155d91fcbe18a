/**
 * The service under attack: the real process on one port and one state directory,
 * which lies on a small file system of its own so that it can be full.
 */
import { spawn, execFileSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../test/support/service-process.ts';
import { hasCompiler, WallClock } from '../test/support/wall-clock.ts';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));
/** Room for what a run of ten minutes leaves, all of which is kept. */
const STATE_MEGABYTES = 1024;
/** While the daemon is away a server refuses to boot; it is started again until it does. */
const BOOT_ATTEMPTS_MS = 120_000;

export class Server implements AsyncDisposable {
  readonly origin: string;
  readonly instance: string;
  /** How it ended after it had answered, where nobody ended it. */
  readonly endedByItself: string[] = [];
  readonly #settings: Readonly<Record<string, string>>;
  readonly #directory: string;
  readonly #log: number;
  readonly #clock = hasCompiler ? new WallClock() : undefined;
  #process: ChildProcess | undefined;
  /** The one that is being ended, or was at last. */
  #ending: ChildProcess | undefined;

  private constructor(port: number, directory: string, settings: Readonly<Record<string, string>>) {
    this.origin = `http://127.0.0.1:${String(port)}`;
    this.instance = `chaos-${String(port)}`;
    this.#directory = directory;
    this.#log = openSync(join(directory, 'log'), 'a');
    this.#settings = {
      PYEXEC_PORT: String(port),
      PYEXEC_INSTANCE: this.instance,
      PYEXEC_STATE_DIR: join(directory, 'state'),
      PYEXEC_SPOOL_DIR: join(directory, 'state'),
      PYEXEC_LOG_LEVEL: 'warn',
      PYEXEC_POOL_SIZE: '2',
      PYEXEC_CLEANUP_TTL: '86400',
      ...settings,
    };
  }

  static async start(settings: Readonly<Record<string, string>>): Promise<Server> {
    const directory = mkdtempSync(join(tmpdir(), 'pyexec-chaos-'));
    const state = join(directory, 'state');
    execFileSync('mkdir', ['-m', '700', state, join(directory, 'tmp')]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${String(STATE_MEGABYTES)}m,mode=0700`, 'pyexec-chaos', state]);
    const server = new Server(await freePort(), directory, settings);
    await server.boot();
    return server;
  }

  get log(): string {
    return readFileSync(join(this.#directory, 'log'), 'utf8');
  }

  /** Where it, and nobody else, has what is temporary. */
  get temporaryDirectory(): string {
    return join(this.#directory, 'tmp');
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Starts it, again and again where it refuses, until it answers. Resolves with how long the last start took, in ms. */
  async boot(): Promise<number> {
    const { PATH, HOME } = process.env;
    for (const deadline = performance.now() + BOOT_ATTEMPTS_MS; ; await sleep(300)) {
      const startedAt = performance.now();
      const child = spawn(process.execPath, [MAIN], {
        env: {
          TMPDIR: this.temporaryDirectory,
          ...(PATH ? { PATH } : {}),
          ...(HOME ? { HOME } : {}),
          ...this.#clock?.environment,
          ...this.#settings,
        },
        stdio: ['ignore', this.#log, this.#log],
      });
      this.#process = child;
      while (child.exitCode === null && child.signalCode === null) {
        if (await this.#answers()) {
          child.once('exit', (code, signal) => {
            if (this.#ending !== child) this.endedByItself.push(String(code ?? signal));
          });
          return performance.now() - startedAt;
        }
        await sleep(25);
      }
      if (performance.now() > deadline) throw new Error(`it does not boot:\n${this.log.slice(-2000)}`);
    }
  }

  /** Ends it at once, as a power cut ends a process. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Ends it as an operator does. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** SIGSTOP, SIGCONT, or what collect-on-signal.ts hears. */
  signal(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGWINCH'): void {
    this.#process?.kill(signal);
  }

  /** Leaves it hardly a descriptor more than it has. Returns what gives them back. */
  takeDescriptors(): () => void {
    const { pid } = this;
    const open = readdirSync(`/proc/${String(pid)}/fd`).length;
    const limitTo = (soft: string) => {
      execFileSync('prlimit', ['--pid', String(pid), `--nofile=${soft}:`]);
    };
    limitTo(String(open + 2));
    return () => {
      limitTo('1024');
    };
  }

  /** Its clock, and nobody else's, is so many seconds off; where there is no compiler, nothing is. Returns what puts it right. */
  moveWallClock(seconds: number): () => void {
    this.#clock?.moveTo(seconds);
    return () => {
      this.#clock?.moveTo(0);
    };
  }

  /** Takes all the room there is in the state directory. Returns what gives it back. */
  fillDisk(): () => void {
    const place = join(this.#directory, 'state', 'filler');
    const file = openSync(place, 'w');
    const block = Buffer.alloc(1 << 16);
    try {
      for (;;) if (writeSync(file, block) < block.length) break;
    } catch {
      // It is full.
    }
    closeSync(file);
    return () => {
      rmSync(place, { force: true });
    };
  }

  /** Directories of executions on disk. */
  executionDirectories(): readonly string[] {
    try {
      return readdirSync(join(this.#directory, 'state', 'executions'));
    } catch {
      return [];
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    closeSync(this.#log);
    execFileSync('umount', ['-l', join(this.#directory, 'state')]);
    rmSync(this.#directory, { recursive: true, force: true });
    this.#clock?.[Symbol.dispose]();
  }

  async #answers(): Promise<boolean> {
    try {
      return (await fetch(`${this.origin}/health`, { signal: AbortSignal.timeout(2_000) })).ok;
    } catch {
      return false;
    }
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    this.#ending = child;
    child.kill(signal);
    await exit;
    if (signal === 'SIGTERM' && child.exitCode !== 0) {
      this.endedByItself.push(`${String(child.exitCode ?? child.signalCode)} when it was told to stop`);
    }
  }
}
