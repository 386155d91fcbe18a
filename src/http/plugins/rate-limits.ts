/**
 * How many requests a caller, and an address, may send in a minute, and how many
 * wrong credentials may come from an address.
 *
 * An address is the client's: behind a trusted proxy the one it forwards, otherwise
 * the connection's. IPv6 clients have networks of their own, so a /64 counts as one.
 * Right credentials are taken also where wrong ones come from the same address: who
 * shares it with a guesser is not shut out, and 2^256 keys are not guessed.
 */
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ServiceError } from '../../domain/errors.ts';
import type { Exchanges } from '../exchanges.ts';

export interface RateLimitSettings {
  /** Requests a minute of one caller, and from one address; 0: as many as they like. */
  readonly perCaller: number;
  readonly perAddress: number;
  /** Refused credentials a minute from one address that are answered as such; 0: all. */
  readonly failures: number;
}

const WINDOW_MS = 60_000;
const IPV6_NETWORK_BITS = 64;

/** Counts a request. @throws {ServiceError} rate_limited, above the limit. */
type Count = (request: FastifyRequest, reply: FastifyReply) => Promise<void>;

export interface RateLimits {
  readonly countAddress: Count;
  readonly countCaller: Count;
  readonly countFailure: Count;
}

/** Makes the counters. They are in memory: a restart begins anew. */
export async function rateLimits(
  app: FastifyInstance,
  exchanges: Exchanges,
  settings: RateLimitSettings,
): Promise<RateLimits> {
  await app.register(rateLimit, { global: false, ipv6Subnet: IPV6_NETWORK_BITS, timeWindow: WINDOW_MS });
  const counter = (max: number, detail: string, key?: (request: FastifyRequest) => string): Count => {
    if (max === 0) return () => Promise.resolve();
    const count = app.createRateLimit({ max, timeWindow: WINDOW_MS, ...(key ? { keyGenerator: key } : {}) });
    return async (request, reply) => {
      const counted = await count(request);
      if (counted.isAllowed) return;
      const { remaining, ttlInSeconds, isExceeded } = counted;
      tellRemaining(reply, max, remaining, ttlInSeconds);
      if (isExceeded) throw new ServiceError('rate_limited', detail, { retryAfterSeconds: Math.max(1, ttlInSeconds) });
    };
  };
  return {
    countAddress: counter(settings.perAddress, 'Too many requests from your address.'),
    countCaller: counter(
      settings.perCaller,
      'You have sent too many requests.',
      (request) => exchanges.of(request.raw).caller.id,
    ),
    countFailure: counter(settings.failures, 'Too many wrong credentials from your address.'),
  };
}

/** The headers say what is left of the limit that is nearest. */
function tellRemaining(reply: FastifyReply, limit: number, remaining: number, resetSeconds: number): void {
  const told = Number(reply.getHeader('ratelimit-remaining') ?? Infinity);
  if (told < remaining) return;
  reply
    .header('ratelimit-limit', limit)
    .header('ratelimit-remaining', remaining)
    .header('ratelimit-reset', resetSeconds);
}
