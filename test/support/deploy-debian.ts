/**
 * Programs of Debian packages that tests of deploy/ run as processes of their own.
 *
 * A package that is missing is installed where that is possible (root, apt), without
 * starting the service it may bring. Where it is not, the tests are skipped, and
 * fail where CI=true: nobody shall believe they ran.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { aptInstall, hasApt, isRoot, which } from '../../scripts/setup/host.mjs';

/** Debian asks this file whether a service may be started; 101 is no. */
const START_POLICY = '/usr/sbin/policy-rc.d';

/** The path of `command`, or undefined where it is not and cannot be installed. */
export async function debianCommand(command: string, debianPackage: string): Promise<string | undefined> {
  const present = which(command);
  if (present !== undefined) return present;
  if (isRoot() && hasApt()) {
    await withoutStartingServices(() => aptInstall('for the tests of deploy/', [debianPackage]));
    const installed = which(command);
    if (installed !== undefined) return installed;
  }
  if (process.env['CI'] === 'true') {
    throw new Error(`${command} is missing: run \`sudo apt-get install ${debianPackage}\``);
  }
  return undefined;
}

async function withoutStartingServices(install: () => Promise<void>): Promise<void> {
  const isOurs = !existsSync(START_POLICY);
  if (isOurs) writeFileSync(START_POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    await install();
  } finally {
    if (isOurs) rmSync(START_POLICY, { force: true });
  }
}

/** Runs a program to its end. @throws with what it printed, when it fails. */
export function run(
  command: string,
  args: readonly string[],
  options: { readonly input?: string | Buffer; readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
): string {
  const { status, stdout, stderr, error } = spawnSync(command, [...args], {
    ...options,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? `exit ${String(status)}`}\n${stdout}\n${stderr}`);
}
