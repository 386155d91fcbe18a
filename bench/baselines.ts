/**
 * What the service is compared with, each doing the same: one Python file that
 * prints, from nothing to its output in hand.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { AttachDemultiplexer } from '../src/sandbox/attach-demultiplexer.ts';

const run = promisify(execFile);
const docker = new Docker({ socketPath: process.env['PYEXEC_DOCKER_SOCKET'] ?? '/var/run/docker.sock' });
const seccompPath = fileURLToPath(new URL('../seccomp/python.json', import.meta.url));

export const IMAGE = process.env['PYEXEC_DEFAULT_IMAGE'] ?? 'pyexec/slim:latest';
export const PROGRAM = 'print(1)\n';

const folder = mkdtempSync(join(tmpdir(), 'pyexec-bench-'));
const program = join(folder, 'main.py');
writeFileSync(program, PROGRAM);
process.once('exit', () => {
  rmSync(folder, { recursive: true, force: true });
});

/** The system's own Python, not one of a version manager. */
const PYTHON = ['/usr/bin/python3', '/usr/local/bin/python3'].find((path) => existsSync(path)) ?? 'python3';

async function expectOne(command: string, args: readonly string[]): Promise<void> {
  const { stdout } = await run(command, [...args]);
  if (stdout !== '1\n') throw new Error(`${command} printed ${JSON.stringify(stdout)}`);
}

export const barePython = () => expectOne(PYTHON, [program]);

export const bubblewrap = () =>
  expectOne('bwrap', [
    ...['--ro-bind', '/usr', '/usr', '--symlink', 'usr/lib', '/lib', '--symlink', 'usr/lib64', '/lib64'],
    ...['--symlink', 'usr/bin', '/bin', '--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--unshare-all'],
    ...['--ro-bind', folder, '/work', '--chdir', '/work', PYTHON, 'main.py'],
  ]);

export const firejail = () =>
  expectOne('firejail', ['--quiet', '--noprofile', '--net=none', `--whitelist=${folder}`, PYTHON, program]);

/** The hardening flags of a sandbox, for the command line. */
export const HARDENING = [
  ...['--network', 'none', '--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'],
  ...['--security-opt', `seccomp=${seccompPath}`, '--user', '10000:10000', '--pids-limit', '128'],
  ...['--memory', '1g', '--memory-swap', '1g', '--cpus', '1', '--log-driver', 'none'],
  ...['--tmpfs', '/work:rw,size=512m', '--tmpfs', '/tmp:rw,size=128m', '--ulimit', 'core=0'],
];

export const dockerRun = () => expectOne('docker', ['run', '--rm', ...HARDENING, IMAGE, 'python3', '-c', PROGRAM]);

/** Create, attach, start, wait, remove through dockerode with the same hardening: what a service without ideas does. */
export async function dockerodeLife(runtime = 'runc'): Promise<void> {
  const container = await docker.createContainer({
    Image: IMAGE,
    Cmd: ['python3', '-c', PROGRAM],
    User: '10000:10000',
    AttachStdout: true,
    AttachStderr: true,
    HostConfig: {
      Runtime: runtime,
      NetworkMode: 'none',
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges', `seccomp=${readFileSync(seccompPath, 'utf8')}`],
      PidsLimit: 128,
      Memory: 1 << 30,
      MemorySwap: 1 << 30,
      NanoCpus: 1e9,
      LogConfig: { Type: 'none', Config: {} },
      Tmpfs: { '/work': 'rw,size=512m', '/tmp': 'rw,size=128m' },
      Ulimits: [{ Name: 'core', Soft: 0, Hard: 0 }],
    },
  });
  const stream = await container.attach({ stream: true, stdout: true, stderr: true });
  const chunks: Buffer[] = [];
  const demultiplexer = new AttachDemultiplexer(
    (data) => chunks.push(data),
    () => undefined,
  );
  stream.on('data', (chunk: Buffer) => {
    demultiplexer.push(chunk);
  });
  const ended = new Promise((resolve) => stream.once('end', resolve).once('close', resolve));
  await container.start();
  await Promise.all([container.wait(), ended]);
  await container.remove({ force: true });
  if (Buffer.concat(chunks).toString() !== '1\n') throw new Error('the container printed something else');
}

/** Bytes per second of a program that writes `bytes` to its stdout, through `docker run`. */
export async function dockerRunOutput(code: string, bytes: number): Promise<number> {
  const started = performance.now();
  const child = spawn('docker', ['run', '--rm', ...HARDENING, IMAGE, 'python3', '-c', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let received = 0;
  for await (const chunk of child.stdout) received += (chunk as Buffer).length;
  if (received !== bytes) throw new Error(`docker run delivered ${String(received)} bytes`);
  return (received / (performance.now() - started)) * 1000;
}

/** Whether a command is there to be compared with. */
export async function isInstalled(command: string): Promise<boolean> {
  return run('which', [command]).then(
    () => true,
    () => false,
  );
}

export async function hasRuntime(name: string): Promise<boolean> {
  const info = (await docker.info()) as { Runtimes?: Record<string, unknown> };
  return Object.hasOwn(info.Runtimes ?? {}, name);
}
