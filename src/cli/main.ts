/**
 * The operator's command line: `npm run -s keys -- …`, `npm run -s audit -- …`.
 *
 * Works on the files in the state directory, also while the server runs. To be run
 * as the user the server runs as.
 */
import { Command, CommanderError } from 'commander';
import { readConfig } from '../config/config.ts';
import { auditCommand } from './audit.ts';
import { keysCommand } from './keys.ts';

const context = {
  stateDirectory: () => readConfig().PYEXEC_STATE_DIR,
  isAudited: () => readConfig().PYEXEC_AUDIT !== 'off',
  print,
};
const program = new Command('pyexec')
  .description('What an operator does beside running the server')
  .exitOverride()
  .addCommand(keysCommand(context))
  .addCommand(auditCommand(context));

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

try {
  await program.parseAsync();
} catch (error) {
  // Commander has said what was wrong with the command line.
  if (!(error instanceof CommanderError)) {
    process.stderr.write(`pyexec: ${error instanceof Error ? error.message : String(error)}\n`);
  }
  process.exitCode = error instanceof CommanderError ? error.exitCode : 1;
}
