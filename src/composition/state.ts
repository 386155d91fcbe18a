/**
 * What survives a restart: the state directory and what is kept in it.
 */
import { ConfigError, type Config } from '../config/config.ts';
import { StateDirectory, StateDirectoryError } from '../store/state-directory.ts';

/** @throws {ConfigError} naming the setting, when the directory cannot be used. */
export function openStateDirectory(config: Config): StateDirectory {
  try {
    return StateDirectory.open(config.PYEXEC_STATE_DIR);
  } catch (error) {
    if (error instanceof StateDirectoryError) throw new ConfigError(`PYEXEC_STATE_DIR: ${error.message}`);
    throw error;
  }
}
