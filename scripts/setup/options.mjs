/**
 * The options of a script: read before anything is set up, so that a wrong one is told at once.
 */
import { parseArgs } from 'node:util';
import { SetupError, say } from './report.mjs';

const EXIT_USAGE = 2;

/**
 * @template {import('node:util').ParseArgsConfig} Config
 * @param {string} usage one line, the whole command
 * @param {Config} config
 * @param {readonly string[]} [numbers] options that are numbers of 0 or more
 * @returns {ReturnType<typeof parseArgs<Config>>}
 * @throws {SetupError} saying what is wrong, with the usage
 */
export function readOptions(usage, config, numbers = []) {
  const parsed = parsedOr(usage, config);
  if ('help' in parsed.values && parsed.values['help'] === true) {
    say(usage);
    process.exit(0);
  }
  for (const name of numbers) {
    const value = /** @type {Record<string, unknown>} */ (parsed.values)[name];
    if (value !== undefined && !/^\d{1,9}(\.\d{1,3})?$/.test(String(value))) {
      throw new SetupError(EXIT_USAGE, `--${name} ${String(value)} is not a number; ${usage}`);
    }
  }
  return parsed;
}

/**
 * @template {import('node:util').ParseArgsConfig} Config
 * @param {string} usage
 * @param {Config} config
 * @returns {ReturnType<typeof parseArgs<Config>>}
 */
function parsedOr(usage, config) {
  const options = { ...config.options, help: { type: 'boolean', short: 'h' } };
  try {
    return parseArgs(/** @type {Config} */ ({ ...config, options }));
  } catch (error) {
    if (!(error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')))
      throw error;
    throw new SetupError(EXIT_USAGE, `${error.message.split(/\.\s|\.?$|\n/, 1)[0]}; ${usage}`);
  }
}
