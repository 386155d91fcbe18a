/** The operator's command line as a process of its own, beside a server or without one. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `args` on the state directory and waits for the end. */
export function operatorCommand(stateDirectory: string, args: readonly string[]): Promise<CommandResult> {
  const { PATH, HOME } = process.env;
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { PATH, HOME, PYEXEC_STATE_DIR: stateDirectory },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve) => {
    child.on('close', (code) => {
      resolve({ code, stdout, stderr });
    });
  });
}

/** Makes a key and returns it. @throws when the command refuses. */
export async function createKey(
  stateDirectory: string,
  name: string,
  scopes: string,
  ...more: readonly string[]
): Promise<string> {
  const result = await operatorCommand(stateDirectory, ['keys', 'create', '--name', name, '--scope', scopes, ...more]);
  if (result.code !== 0) throw new Error(result.stderr);
  return result.stdout.trim();
}
