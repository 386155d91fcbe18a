/**
 * One attempt: one POST over one connection of its own to one address, with an end
 * to everything. It follows no redirect, asks no proxy, and wants nothing of the
 * answer but its status.
 */
import { createHmac } from 'node:crypto';
import { Agent as HttpAgent, request as requestHttp, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { isIPv6 } from 'node:net';
import { getCACertificates } from 'node:tls';

const ANSWER_BYTES_MAX = 4096;
const ANSWER_HEADER_BYTES_MAX = 8192;

export interface Attempt {
  readonly url: URL;
  /** Where the connection goes, whatever the name means by now. */
  readonly address: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** For everything together: connecting, sending, and the answer. */
  readonly timeoutMs: number;
  /** Certificates believed beside those of Node.js, as PEM; absent: none. */
  readonly ca?: readonly string[] | undefined;
}

/** `t=<unix seconds>,v1=<hex>`: HMAC-SHA256 over the seconds, a dot and the body. */
export function signature(secret: string, unixSeconds: number, body: string): string {
  const signed = createHmac('sha256', secret)
    .update(`${String(unixSeconds)}.${body}`)
    .digest('hex');
  return `t=${String(unixSeconds)},v1=${signed}`;
}

/** The status of the answer. Rejects when there was none in time, and when the signal is aborted. */
export function postOnce(
  { url, address, headers, body, timeoutMs, ca }: Attempt,
  signal: AbortSignal,
): Promise<number> {
  const isHttps = url.protocol === 'https:';
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const request = (isHttps ? requestHttps : requestHttp)(url, {
    method: 'POST',
    headers: { ...headers, 'content-length': Buffer.byteLength(body) },
    // Not the global agent: that one may reuse connections, and ask the environment for a proxy.
    agent: isHttps
      ? new HttpsAgent({
          keepAlive: false,
          // Whatever NODE_TLS_REJECT_UNAUTHORIZED says.
          rejectUnauthorized: true,
          minVersion: 'TLSv1.2',
          ...(ca ? { ca: [...getCACertificates('default'), ...ca] } : {}),
        })
      : new HttpAgent({ keepAlive: false }),
    lookup: (_host, options, done) => {
      const family = isIPv6(address) ? 6 : 4;
      if (options.all === true) done(null, [{ address, family }]);
      else done(null, address, family);
    },
    maxHeaderSize: ANSWER_HEADER_BYTES_MAX,
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
  });
  request.once('response', (answer) => {
    resolve(answer.statusCode ?? 0);
    drain(answer, () => request.destroy());
  });
  request.once('error', reject);
  request.once('close', () => {
    reject(new Error('the connection ended without an answer'));
  });
  request.end(body);
  return promise;
}

/** Takes a little of the answer, so that its sender sees no broken connection, and no more. */
function drain(answer: IncomingMessage, hangUp: () => void): void {
  let bytes = 0;
  answer.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) hangUp();
  });
  answer.once('error', () => undefined);
}
