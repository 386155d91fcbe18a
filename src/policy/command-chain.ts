/**
 * `pre_commands` as one chain with the program at its end. Pure.
 *
 * The commands and the program are steps of one shell, so `cd`, `export` and a
 * changed PATH reach the program. It is therefore named by its full path, as
 * python-executor does, and started as the last command of the chain.
 */
import { posix } from 'node:path';
import type { EntryPoint } from '../domain/plan.ts';

const WORK = '/work';

/** Blank, or comments only: no step, and to the shell no command either. */
function isNothing(command: string): boolean {
  return command.split('\n').every((line) => /^(?:#|$)/.test(line.trim()));
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/**
 * The commands that do something, and after them the program; none when none does anything.
 * @param entryPoint as policy has checked it.
 */
export function commandChain(
  commands: readonly string[],
  entryPoint: EntryPoint,
  args: readonly string[],
): readonly string[] {
  const steps = commands.filter((command) => !isNothing(command));
  if (steps.length === 0) return [];
  const named =
    entryPoint.kind === 'module'
      ? ['-m', entryPoint.name]
      : [posix.join(WORK, entryPoint.path).replace(/(.)\/$/, '$1')];
  return [...steps, ['exec python3', ...[...named, ...args].map(quoted)].join(' ')];
}
