/**
 * Who may ask: the ways that are open, from the settings.
 */
import { join } from 'node:path';
import { ConfigError, type Config } from '../config/config.ts';
import type { Caller } from '../domain/caller.ts';
import type { Credentials } from '../domain/credentials.ts';
import { recogniser } from '../identity/recognise.ts';
import { KeyStore } from '../store/key-store.ts';
import type { Logger } from '../telemetry/logger.ts';

const LOOPBACK = /^(?:127(?:\.\d{1,3}){3}|::1|localhost)$/;

/**
 * Refuses a server that anybody on the network could use, unless the operator says that this is meant.
 * @throws {ConfigError} naming the settings.
 */
export function checkExposure(config: Config): void {
  const isOpen = config.PYEXEC_AUTH.includes('none') && !LOOPBACK.test(config.PYEXEC_HOST);
  if (isOpen && !config.PYEXEC_ALLOW_UNAUTHENTICATED) {
    throw new ConfigError(
      `PYEXEC_HOST: whoever reaches ${config.PYEXEC_HOST} could run programs; set PYEXEC_AUTH, or PYEXEC_ALLOW_UNAUTHENTICATED=true where only an authenticating proxy reaches it`,
    );
  }
}

export interface Identity {
  readonly identify: (credentials: Credentials) => Promise<Caller>;
  close(): void;
}

/** Opens what callers are recognised by. @throws {ConfigError} when it cannot be opened. */
export function openIdentity(config: Config, logger: Logger): Identity {
  const ways = config.PYEXEC_AUTH;
  if (ways.includes('none') && !LOOPBACK.test(config.PYEXEC_HOST)) {
    logger.warn(
      { address: config.PYEXEC_HOST },
      'no authentication: whoever reaches this address can run programs (PYEXEC_ALLOW_UNAUTHENTICATED)',
    );
  }
  const keys = ways.includes('keys') ? openKeys(config) : undefined;
  return {
    identify: recogniser({ ...(keys ? { keys: (hash) => keys.find(hash) } : {}) }),
    close: () => {
      keys?.close();
    },
  };
}

function openKeys(config: Config): KeyStore {
  try {
    return KeyStore.open(join(config.PYEXEC_STATE_DIR, 'keys.sqlite'));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(`PYEXEC_STATE_DIR: the keys cannot be opened (${reason})`, { cause });
  }
}
