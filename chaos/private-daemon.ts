/**
 * A Docker daemon of our own, with its own disk and socket, that may be paused, killed,
 * filled up and started again without anybody else noticing. Needs root.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const START_TIMEOUT_MS = 60_000;
const DISK = '2G';
/** Enough for the images and a hundred containers; few enough to be used up in a moment. */
const DISK_INODES = 60_000;

export class PrivateDaemon implements AsyncDisposable {
  readonly socketPath: string;
  readonly #directory: string;
  #process: ChildProcess | undefined;

  private constructor(directory: string) {
    this.#directory = directory;
    this.socketPath = join(directory, 'docker.sock');
  }

  /** Starts a daemon and copies `images` into it from the one everybody uses. */
  static async start(images: readonly string[]): Promise<PrivateDaemon> {
    const daemon = new PrivateDaemon(mkdtempSync(join(tmpdir(), 'pyexec-chaos-daemon-')));
    daemon.#configure({});
    daemon.#makeDisk();
    await daemon.resume();
    const archive = join(daemon.#directory, 'images.tar');
    execFileSync('docker', ['save', '-o', archive, ...images]);
    daemon.#docker('load', '-i', archive);
    rmSync(archive);
    return daemon;
  }

  /** Containers with this label, running or not. */
  containers(label: string): readonly string[] {
    return this.#docker('ps', '-aq', '--filter', `label=${label}`)
      .split('\n')
      .filter((id) => id !== '');
  }

  /** Every volume, ours or not: nobody else uses this daemon. */
  volumes(): readonly string[] {
    return this.#docker('volume', 'ls', '-q')
      .split('\n')
      .filter((id) => id !== '');
  }

  /** SIGSTOP: calls are taken and never answered. containerd goes on. */
  pause(): void {
    this.#process?.kill('SIGSTOP');
  }

  /** SIGCONT, or a start where it was ended. Resolves when it answers. */
  async resume(): Promise<void> {
    if (this.#process) this.#process.kill('SIGCONT');
    else this.#launch();
    for (const deadline = performance.now() + START_TIMEOUT_MS; ; await sleep(200)) {
      try {
        this.#docker('version');
        return;
      } catch (error) {
        if (performance.now() > deadline) throw error;
      }
    }
  }

  /** Ends the daemon and with it every container: it does not keep them alive. */
  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const ended = this.#process;
    if (!ended) return;
    this.#process = undefined;
    const exit = once(ended, 'exit');
    ended.kill(signal);
    await exit;
    if (signal === 'SIGKILL') this.#endContainerd();
  }

  /** Whether its containers survive it from now on, or no longer. */
  async keepContainers(isOn: boolean): Promise<void> {
    this.#configure({ 'live-restore': isOn });
    this.#process?.kill('SIGHUP');
    // It reads its file anew in its own time.
    await sleep(500);
  }

  /** Ends its containerd at once; the daemon starts another. */
  killContainerd(): void {
    try {
      process.kill(this.#containerdPid(), 'SIGKILL');
    } catch (error) {
      // Killed a moment ago, and not started again yet.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** Ends the process that stands between the daemon and each container. The containers go on. Returns how many. */
  killShims(): number {
    const ours = join(this.#directory, 'exec', 'containerd');
    const shims = readdirSync('/proc').filter((pid) => {
      if (!/^\d+$/.test(pid)) return false;
      try {
        const command = readFileSync(join('/proc', pid, 'cmdline'), 'utf8');
        return command.includes('containerd-shim') && command.includes(ours);
      } catch {
        return false;
      }
    });
    for (const pid of shims) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It went by itself meanwhile.
      }
    }
    return shims.length;
  }

  /** Takes every byte of its disk. Returns what gives them back. */
  fillDisk(): () => void {
    const filler = join(this.#directory, 'data', 'filler');
    // What runs takes some of it between the look and the taking.
    const isTaken = () => {
      const { bavail, bsize } = statfsSync(join(this.#directory, 'data'));
      return bavail === 0 || spawnSync('fallocate', ['-l', String(bavail * bsize), filler]).status === 0;
    };
    let triesLeft = 10;
    while (!isTaken()) if ((triesLeft -= 1) === 0) throw new Error('the disk of the daemon cannot be filled');
    return () => {
      rmSync(filler, { force: true });
    };
  }

  /** Takes every inode of its disk. Returns what gives them back. */
  fillInodes(): () => void {
    const fillers = join(this.#directory, 'data', 'fillers');
    mkdirSync(fillers);
    try {
      for (let n = 0; ; n += 1) closeSync(openSync(join(fillers, String(n)), 'w'));
    } catch {
      // There are none left.
    }
    return () => {
      rmSync(fillers, { recursive: true, force: true });
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      const left = this.#docker('ps', '-aq')
        .split('\n')
        .filter((id) => id !== '');
      if (left.length > 0) this.#docker('rm', '-f', ...left);
    } catch {
      // It does not answer; what it ran ends with it.
    }
    await this.stop('SIGTERM');
    this.#endContainerd();
    for (const line of readFileSync('/proc/mounts', 'utf8').split('\n').reverse()) {
      const [, place = ''] = line.split(' ');
      if (place.startsWith(this.#directory)) execFileSync('umount', ['-l', place]);
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #configure(settings: Readonly<Record<string, boolean>>): void {
    writeFileSync(join(this.#directory, 'daemon.json'), JSON.stringify(settings));
  }

  /** Its storage on a file system of its own, which can be full without anybody else noticing. */
  #makeDisk(): void {
    const [file, place] = [join(this.#directory, 'disk'), join(this.#directory, 'data')];
    execFileSync('truncate', ['-s', DISK, file]);
    execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', '-N', String(DISK_INODES), file]);
    mkdirSync(place);
    execFileSync('mount', ['-o', 'loop', file, place]);
  }

  #launch(): void {
    rmSync(join(this.#directory, 'pid'), { force: true });
    const log = openSync(join(this.#directory, 'log'), 'a');
    const at = (name: string) => join(this.#directory, name);
    // In a network namespace of its own: a daemon without a bridge removes the one of the machine's daemon.
    this.#process = spawn(
      'unshare',
      [
        ['--net', '--', 'dockerd'],
        ['--data-root', at('data')],
        ['--exec-root', at('exec')],
        ['--pidfile', at('pid')],
        ['--config-file', at('daemon.json')],
        ['-H', `unix://${this.socketPath}`],
        ['--bridge=none', '--iptables=false', '--ip-masq=false', '--cgroup-parent=/pyexec-chaos'],
      ].flat(),
      { stdio: ['ignore', log, log], detached: true },
    );
    closeSync(log);
  }

  /** A killed daemon leaves its containerd, which would keep the next one's from starting. */
  #endContainerd(): void {
    try {
      this.killContainerd();
    } catch {
      // It went with the daemon.
    }
    rmSync(this.#containerdPidFile(), { force: true });
  }

  #containerdPidFile(): string {
    return join(this.#directory, 'exec', 'containerd', 'containerd.pid');
  }

  #containerdPid(): number {
    return Number(readFileSync(this.#containerdPidFile(), 'utf8'));
  }

  #docker(...args: readonly string[]): string {
    return execFileSync('docker', ['-H', `unix://${this.socketPath}`, ...args], {
      encoding: 'utf8',
      timeout: 30_000,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }
}
