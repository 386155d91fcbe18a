/**
 * Receives webhooks while their sender is killed again and again: refuses some of them,
 * checks every signature, and keeps what it was told for the verdict.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { Seen } from './crash-client.ts';

const SECRET = 'the secret of the crash test';
/** Some messages are refused, so that they are to be sent again, perhaps by the next process. */
const REFUSED = 0.3;

/** A message as it came. */
export interface Told {
  readonly delivery: string;
  readonly seen: Seen;
}

export class Receiver {
  readonly #server: Server;
  /** What was told of each execution, by its id. */
  readonly told = new Map<string, Told[]>();
  /** Sentences about messages that are wrong by themselves. */
  readonly wrong: string[] = [];

  private constructor(next: () => number) {
    this.#server = createServer((request, response) => {
      buffer(request).then(
        (body) => {
          this.#take(body, request.headers);
          // What was refused may be told again; it was told all the same.
          response.writeHead(next() < REFUSED ? 503 : 204).end();
        },
        () => undefined,
      );
    });
  }

  static async start(next: () => number): Promise<Receiver> {
    const receiver = new Receiver(next);
    receiver.#server.listen(0, '127.0.0.1');
    await once(receiver.#server, 'listening');
    return receiver;
  }

  /** What a server needs to tell this receiver. */
  get settings(): Readonly<Record<string, string>> {
    return {
      PYEXEC_WEBHOOK_ALLOW_HTTP: 'true',
      PYEXEC_WEBHOOK_ALLOWED_HOSTS: '127.0.0.1',
      PYEXEC_WEBHOOK_PORTS: String(this.#port),
      PYEXEC_WEBHOOK_RETRY: '1',
    };
  }

  /** What a request names to be told here. */
  get webhook(): { readonly url: string; readonly secret: string } {
    return { url: `http://127.0.0.1:${String(this.#port)}/`, secret: SECRET };
  }

  get #port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #take(body: Buffer, headers: Readonly<Record<string, string | string[] | undefined>>): void {
    const { t = '', v1 = '' } = Object.fromEntries(
      String(headers['pyexec-signature'])
        .split(',')
        .map((field) => field.split('=', 2) as [string, string]),
    );
    const expected = createHmac('sha256', SECRET).update(`${t}.`).update(body).digest();
    const given = Buffer.from(v1, 'hex');
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      this.wrong.push('a webhook with a wrong signature');
      return;
    }
    const seen = JSON.parse(body.toString()) as Seen;
    const messages = this.told.get(seen.execution_id) ?? [];
    messages.push({ delivery: String(headers['pyexec-delivery']), seen });
    this.told.set(seen.execution_id, messages);
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
