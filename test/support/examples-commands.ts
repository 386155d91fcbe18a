/**
 * Programs of the machine, as a user of the examples would call them.
 */
import { spawn, spawnSync } from 'node:child_process';
import { buffer } from 'node:stream/consumers';
import { ROOT } from './examples-service.ts';

export interface CommandResult {
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs a program in the repository root and collects what it says. Never throws for its exit status. */
export async function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string | undefined>> } = {},
): Promise<CommandResult> {
  const child = spawn(program, args, { cwd: ROOT, ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const status = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  });
  const [stdout, stderr] = await Promise.all([buffer(child.stdout), buffer(child.stderr)]);
  return { status: await status, stdout, stderr: stderr.toString() };
}

/** Runs a line of shell (bash, pipefail, C locale) and returns what it prints. @throws when it fails. */
export async function shell(line: string): Promise<string> {
  const { status, stdout, stderr } = await run('bash', ['-o', 'pipefail', '-c', line], {
    env: { ...process.env, LC_ALL: 'C' },
  });
  if (status !== 0) throw new Error(`${line}\nexited with ${String(status)}: ${stderr}`);
  return stdout.toString().trim();
}

/** A folder as the system's tar packs it: `tar -C folder -c .`. */
export async function tarOf(folder: string, flags: readonly string[] = []): Promise<Buffer<ArrayBuffer>> {
  const { status, stdout, stderr } = await run('tar', ['-C', folder, ...flags, '-c', '.']);
  if (status !== 0) throw new Error(`tar exited with ${String(status)}: ${stderr}`);
  return Buffer.from(stdout);
}

/** Which of the programs this machine does not have. */
export function missing(programs: readonly string[]): readonly string[] {
  return programs.filter((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0);
}
