/**
 * HTTP by hand over a plain socket, for requests no client would send and for
 * clients that stop in the middle.
 */
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** As sent: chunked framing is still in it. */
  readonly body: string;
}

export class RawConnection implements AsyncDisposable {
  readonly socket: Socket;
  #received = '';
  #closed: Promise<unknown>;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.#closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.#received += chunk.toString('latin1');
    });
  }

  static async open(port: number): Promise<RawConnection> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    const connection = new RawConnection(socket);
    await once(socket, 'connect');
    return connection;
  }

  get received(): string {
    return this.#received;
  }

  send(bytes: string | Uint8Array): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  /** Waits until `text` has been received. */
  async until(text: string, timeoutMs = 5_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!this.#received.includes(text)) {
      if (performance.now() > deadline) {
        throw new Error(`never received ${JSON.stringify(text)}, only ${JSON.stringify(this.#received.slice(-500))}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Waits for the server to close the connection; everything received until then. */
  async closed(timeoutMs = 8_000): Promise<string> {
    const timer = setTimeout(() => this.socket.destroy(new Error('the server did not close')), timeoutMs);
    await this.#closed;
    clearTimeout(timer);
    if (this.socket.errored?.message === 'the server did not close') throw this.socket.errored;
    return this.#received;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
    await this.#closed;
  }
}

/** Sends `bytes`, returns all that comes until the server closes. */
export async function exchange(port: number, bytes: string | Uint8Array, timeoutMs?: number): Promise<string> {
  await using connection = await RawConnection.open(port);
  connection.send(bytes);
  return await connection.closed(timeoutMs);
}

/** The first answer in `received`; interim answers are skipped. */
export function parseAnswer(received: string): RawAnswer {
  const [head = '', ...rest] = received.split('\r\n\r\n');
  const [statusLine = '', ...lines] = head.split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1]);
  if (status === 100) return parseAnswer(rest.join('\r\n\r\n'));
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  );
  return { status, headers, body: rest.join('\r\n\r\n') };
}

/** How many answers begin in `received`. */
export function countAnswers(received: string): number {
  return received.match(/^HTTP\/1\.1 \d{3}/gm)?.length ?? 0;
}
