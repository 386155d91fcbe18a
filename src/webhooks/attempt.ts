/**
 * One attempt at one delivery: the receiver is judged, the message is signed and
 * sent, and what came of it is a word.
 */
import { ServiceError } from '../domain/errors.ts';
import type { WebhookDelivery } from '../domain/webhook.ts';
import { postOnce, signature } from './post-once.ts';
import { ReceiverRefused, type ReceiverGuard } from './receiver-guard.ts';

const GONE = 410;

export interface AttemptOptions {
  readonly guard: ReceiverGuard;
  /** For resolving the name, and again for everything after. */
  readonly timeoutMs: number;
  readonly userAgent: string;
  /** Certificates believed beside the system's, as PEM; absent: none. */
  readonly ca?: readonly string[] | undefined;
}

export interface FailedAttempt {
  /** Says little on purpose: which names resolve to what inside the operator's network is nobody's business. */
  readonly word: string;
  /** For the log only. */
  readonly cause: unknown;
  /** Whether trying again is of no use. */
  readonly isFinal: boolean;
}

/** Sends `delivery`; undefined when the receiver took it. Rejects only when the signal is aborted. */
export async function attempt(
  delivery: WebhookDelivery,
  { guard, timeoutMs, userAgent, ca }: AttemptOptions,
  signal: AbortSignal,
): Promise<FailedAttempt | undefined> {
  const { id, secret, body, attempts } = delivery;
  try {
    const receiver = await withDeadline(guard.addressOf(delivery.url), timeoutMs);
    const headers = {
      'content-type': 'application/json',
      'user-agent': userAgent,
      'pyexec-delivery': id,
      'pyexec-attempt': String(attempts + 1),
      'pyexec-signature': signature(secret, Math.floor(Date.now() / 1000), body),
    };
    const status = await postOnce({ ...receiver, headers, body, timeoutMs, ca }, signal);
    if (status >= 200 && status < 300) return undefined;
    return { word: `status_${String(status)}`, cause: undefined, isFinal: status === GONE };
  } catch (cause) {
    if (signal.aborted) throw cause;
    return { word: wordFor(cause), cause, isFinal: cause instanceof ReceiverRefused || cause instanceof ServiceError };
  }
}

/** What OpenSSL and Node.js call a certificate that is not believed. */
const CERTIFICATE_CODES =
  /^(?:CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_CERT_|HOSTNAME_|INVALID_|PATH_LENGTH_|CRL_)/;

function wordFor(cause: unknown): string {
  if (cause instanceof Error && 'code' in cause && CERTIFICATE_CODES.test(String(cause.code))) return 'certificate';
  const isTimeout = (error: unknown) => error instanceof Error && error.name === 'TimeoutError';
  return isTimeout(cause) || (cause instanceof Error && isTimeout(cause.cause)) ? 'timeout' : 'unreachable';
}

/** A resolver that hangs ends the attempt as any other timeout. */
async function withDeadline<Value>(promise: Promise<Value>, timeoutMs: number): Promise<Value> {
  const deadline = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    deadline.reject(new DOMException('the name was not resolved in time', 'TimeoutError'));
  }, timeoutMs);
  try {
    return await Promise.race([promise, deadline.promise]);
  } finally {
    clearTimeout(timer);
  }
}
