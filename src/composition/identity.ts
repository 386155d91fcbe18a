/**
 * Who may ask: the ways that are open, from the settings.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, type Config } from '../config/config.ts';
import type { Caller, Scope } from '../domain/caller.ts';
import type { Credentials } from '../domain/credentials.ts';
import type { RateLimitSettings } from '../http/plugins/rate-limits.ts';
import { keyOfCaller } from '../identity/api-keys.ts';
import { proxyReader } from '../identity/proxy-identity.ts';
import { recogniser } from '../identity/recognise.ts';
import { tokenReader } from '../identity/tokens.ts';
import { KeyStore } from '../store/key-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import { pairsOf } from './setting-pairs.ts';

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
  const jwt = [config.PYEXEC_JWT_JWKS_URL, config.PYEXEC_JWT_KEY_FILE].filter((source) => source !== '');
  if (config.PYEXEC_AUTH.includes('jwt')) {
    if (jwt.length !== 1) throw new ConfigError('PYEXEC_AUTH: jwt needs PYEXEC_JWT_JWKS_URL or PYEXEC_JWT_KEY_FILE');
    if (config.PYEXEC_JWT_ISSUER === '') throw new ConfigError('PYEXEC_AUTH: jwt needs PYEXEC_JWT_ISSUER');
    if (config.PYEXEC_JWT_AUDIENCE.length === 0) throw new ConfigError('PYEXEC_AUTH: jwt needs PYEXEC_JWT_AUDIENCE');
  }
  if (config.PYEXEC_AUTH.includes('proxy') && config.PYEXEC_TRUST_PROXY.length === 0) {
    throw new ConfigError('PYEXEC_AUTH: proxy needs PYEXEC_TRUST_PROXY, the addresses of the proxies');
  }
}

const AUTO_RATES = { perCaller: 600, perAddress: 1_200 };

/** How many requests a minute are answered; 0: all. */
export function rateLimitsOf(config: Config): RateLimitSettings {
  const isOpen = config.PYEXEC_AUTH.includes('none');
  const of = (setting: number | 'auto', auto: number) => (setting === 'auto' ? (isOpen ? 0 : auto) : setting);
  return {
    perCaller: of(config.PYEXEC_RATE_CALLER, AUTO_RATES.perCaller),
    perAddress: of(config.PYEXEC_RATE_ADDRESS, AUTO_RATES.perAddress),
    failures: config.PYEXEC_RATE_FAILURES,
  };
}

/** A key that is revoked is noticed this soon where runs of it are in progress. */
const REVOKED_AFTER_MS = 1_000;

/** Is given, every so often, the way to tell whether a caller was revoked. */
type EndRevoked = (isRevoked: (callerId: string) => boolean) => void;

export interface Identity {
  readonly identify: (credentials: Credentials) => Promise<Caller>;
  close(): void;
}

/**
 * Opens what callers are recognised by.
 * @throws {ConfigError} when it cannot be opened.
 */
export async function openIdentity(config: Config, logger: Logger, endRevoked: EndRevoked): Promise<Identity> {
  const ways = config.PYEXEC_AUTH;
  if (ways.includes('none') && !LOOPBACK.test(config.PYEXEC_HOST)) {
    logger.warn(
      { address: config.PYEXEC_HOST },
      'no authentication: whoever reaches this address can run programs (PYEXEC_ALLOW_UNAUTHENTICATED)',
    );
  }
  const token = ways.includes('jwt') ? await openTokens(config) : undefined;
  const proxy = ways.includes('proxy') ? openProxies(config) : undefined;
  const keys = ways.includes('keys') ? openKeys(config) : undefined;
  const watch =
    keys &&
    setInterval(() => {
      try {
        endRevoked((callerId) => keys.isRevoked(keyOfCaller(callerId) ?? ''));
      } catch (error) {
        logger.error({ err: error }, 'it cannot be read which keys were revoked; it is tried again');
      }
    }, REVOKED_AFTER_MS).unref();
  return {
    identify: recogniser({
      ...(keys ? { keys: (hash) => keys.find(hash) } : {}),
      ...(token ? { token } : {}),
      ...(proxy ? { proxy } : {}),
    }),
    close: () => {
      clearInterval(watch);
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

async function openTokens(config: Config) {
  const settings = {
    issuer: config.PYEXEC_JWT_ISSUER,
    audience: config.PYEXEC_JWT_AUDIENCE,
    algorithms: config.PYEXEC_JWT_ALGORITHMS,
    clockSkewSeconds: config.PYEXEC_JWT_CLOCK_SKEW,
    callerClaim: config.PYEXEC_JWT_CALLER_CLAIM,
    scopesClaim: config.PYEXEC_JWT_SCOPES_CLAIM,
    scopes: new Map(pairsOf(config.PYEXEC_JWT_SCOPES, 'PYEXEC_JWT_SCOPES') as [string, Scope][]),
  };
  if (config.PYEXEC_JWT_JWKS_URL !== '') return tokenReader({ url: config.PYEXEC_JWT_JWKS_URL }, settings);
  try {
    return await tokenReader({ text: readFileSync(config.PYEXEC_JWT_KEY_FILE, 'utf8') }, settings);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(`PYEXEC_JWT_KEY_FILE: ${config.PYEXEC_JWT_KEY_FILE} cannot be used: ${reason}`, { cause });
  }
}

function openProxies(config: Config) {
  try {
    return proxyReader({
      trusted: config.PYEXEC_TRUST_PROXY,
      header: config.PYEXEC_PROXY_HEADER,
      scopes: new Set(config.PYEXEC_PROXY_SCOPES as Scope[]),
    });
  } catch (cause) {
    throw new ConfigError(`PYEXEC_TRUST_PROXY: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}
