/**
 * Questions to one destination and its whole answers, for the service itself: the
 * name is resolved once, and every connection goes to the address that was checked.
 *
 * It follows no redirect, asks no proxy of the environment, unpacks nothing, and takes
 * no answer longer than it was told. Connections are kept for the next question and go
 * with the conversation.
 */
import { Agent as HttpAgent, request as requestHttp, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { isIP } from 'node:net';
import type { Destination } from './destinations.ts';
import { addressOf, NoWay, type AllowedDestination, type EgressRules } from './dialling.ts';
import { authorityOf } from './page-links.ts';

export interface Question {
  /** Begins with a slash. */
  readonly path: string;
  /** JSON to post; absent: it is got. */
  readonly body?: string;
  readonly bytesMax: number;
}

export interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

/** There is no answer, and why. */
export class NoAnswer extends Error {
  readonly reason: 'refused' | 'unreachable' | 'too_large' | 'invalid';
  constructor(reason: NoAnswer['reason'], message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.reason = reason;
  }
}

const CONNECTIONS_MAX = 8;
const HEADER_BYTES_MAX = 16_384;

export class Conversation {
  readonly #allowed: AllowedDestination;
  readonly #address: string;
  readonly #rules: EgressRules;
  readonly #signal: AbortSignal;
  readonly #kept: HttpAgent;
  readonly #fresh: HttpAgent;
  #bytes = 0;

  private constructor(allowed: AllowedDestination, address: string, rules: EgressRules, signal: AbortSignal) {
    this.#allowed = allowed;
    this.#address = address;
    this.#rules = rules;
    this.#signal = signal;
    this.#kept = agentFor(allowed, true);
    this.#fresh = agentFor(allowed, false);
  }

  /** @param signal ends it. @throws {NoAnswer} when the destination may not be reached, or its name means nothing. */
  static async open(destination: Destination, rules: EgressRules, signal: AbortSignal): Promise<Conversation> {
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => {
      aborted.reject(new NoAnswer('unreachable', 'the name was not resolved in time'));
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const { address, allowed } = await Promise.race([addressOf(destination, rules), aborted.promise]);
      return new Conversation(allowed, address, rules, signal);
    } catch (error) {
      throw error instanceof NoWay ? new NoAnswer(error.verdict, error.message, { cause: error }) : error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** @throws {NoAnswer} */
  async ask(question: Question): Promise<Answer> {
    const first = await this.#askOnce(question, this.#kept);
    if (first !== 'gone') return first;
    // The other side had ended the connection that was kept; on a new one it answers, or does not.
    const second = await this.#askOnce(question, this.#fresh);
    if (second === 'gone') throw new NoAnswer('unreachable', 'the connection ended');
    return second;
  }

  /** Ends every connection. */
  close(): void {
    this.#kept.destroy();
    this.#fresh.destroy();
  }

  #askOnce({ path, body, bytesMax }: Question, agent: HttpAgent): Promise<Answer | 'gone'> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer | 'gone'>();
    const request = (this.#allowed.tls ? requestHttps : requestHttp)({
      ...this.#optionsOf(path, body),
      agent,
    });
    const fail = (error: unknown) => {
      request.destroy();
      const isReset = error instanceof Error && 'code' in error && error.code === 'ECONNRESET';
      if (isReset && request.reusedSocket && !this.#signal.aborted) resolve('gone');
      else reject(error instanceof NoAnswer ? error : new NoAnswer('unreachable', 'no answer', { cause: error }));
    };
    const onClose = () => {
      fail(new NoAnswer('unreachable', 'the connection ended'));
    };
    request.once('error', fail);
    request.once('close', onClose);
    request.once('response', (incoming) => {
      // From here on it is the answer that ends early, or does not.
      request.off('close', onClose);
      this.#whole(incoming, bytesMax).then(resolve, fail);
    });
    request.end(body);
    return promise;
  }

  #optionsOf(path: string, body: string | undefined): RequestOptions & { readonly servername?: string } {
    const { host, port, tls } = this.#allowed;
    const isUsualPort = port === (tls ? 443 : 80);
    return {
      host: this.#address,
      port,
      path,
      method: body === undefined ? 'GET' : 'POST',
      signal: this.#signal,
      maxHeaderSize: HEADER_BYTES_MAX,
      headers: {
        host: isUsualPort ? authorityOf({ host, port }).replace(/:\d+$/, '') : authorityOf({ host, port }),
        accept: 'application/json',
        'accept-encoding': 'identity',
        ...(tls?.authorization === undefined ? {} : { authorization: tls.authorization }),
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      },
      // An address has no name to be asked for; its certificate is compared with the address.
      ...(tls ? { servername: isIP(host) === 0 ? host : '' } : {}),
    };
  }

  /** The answer to its last byte. @throws {NoAnswer} too_large, invalid; what the connection fails with. */
  async #whole(incoming: IncomingMessage, bytesMax: number): Promise<Answer> {
    const encoding = incoming.headers['content-encoding'] ?? 'identity';
    if (encoding !== 'identity') throw new NoAnswer('invalid', 'the answer is packed');
    const parts: Buffer[] = [];
    let bytes = 0;
    for await (const part of incoming as AsyncIterable<Buffer>) {
      bytes += part.length;
      this.#bytes += part.length;
      if (bytes > bytesMax || this.#bytes > this.#rules.bytesMax)
        throw new NoAnswer('too_large', 'the answer is too long');
      parts.push(part);
    }
    return { status: incoming.statusCode ?? 0, body: Buffer.concat(parts) };
  }
}

function agentFor({ tls }: AllowedDestination, keepAlive: boolean): HttpAgent {
  const options = { keepAlive, maxSockets: CONNECTIONS_MAX };
  if (!tls) return new HttpAgent(options);
  return new HttpsAgent({
    ...options,
    // Whatever NODE_TLS_REJECT_UNAUTHORIZED says.
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    ...(tls.certificates === undefined ? {} : { ca: [...tls.certificates] }),
  });
}
