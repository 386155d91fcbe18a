/**
 * The host's ends of the connections a builder opened: each a stream, made of the
 * frames of one number.
 *
 * Towards the builder at most a window of bytes is on its way for each connection,
 * until it says that its client took them: one that does not read holds up no other.
 */
import { Duplex } from 'node:stream';
import frameTypes from './frame-types.json' with { type: 'json' };

const WINDOW_BYTES = 1 << 18;
const CONNECTIONS_MAX = 64;

export type SendFrame = (type: number, payload: Buffer) => void;

class RelayedConnection extends Duplex {
  readonly #number: number;
  readonly #send: SendFrame;
  #windowBytes = WINDOW_BYTES;
  #waiting: { chunk: Buffer; done: () => void } | undefined;

  constructor(number: number, send: SendFrame) {
    super({ allowHalfOpen: false });
    this.#number = number;
    this.#send = send;
  }

  override _read(): void {
    // Requests are short; what comes is counted where it is used.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    // Node writes nothing now and then.
    if (chunk.length === 0) {
      done();
      return;
    }
    this.#waiting = { chunk, done };
    this.#pump();
  }

  override _final(done: () => void): void {
    this.#send(frameTypes.DOWN_END, numbered(this.#number));
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#waiting = undefined;
    this.#send(frameTypes.DOWN_END, numbered(this.#number));
    done(error);
  }

  credit(bytes: number): void {
    this.#windowBytes = Math.min(WINDOW_BYTES, this.#windowBytes + bytes);
    this.#pump();
  }

  #pump(): void {
    while (this.#waiting && this.#windowBytes > 0) {
      const { chunk, done } = this.#waiting;
      const part = chunk.subarray(0, this.#windowBytes);
      this.#windowBytes -= part.length;
      this.#send(frameTypes.DOWN, Buffer.concat([numbered(this.#number), part]));
      if (part.length === chunk.length) {
        this.#waiting = undefined;
        done();
        return;
      }
      this.#waiting = { chunk: chunk.subarray(part.length), done };
    }
  }
}

function numbered(number: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes;
}

export class ConnectionRelay {
  readonly #send: SendFrame;
  readonly #accept: (connection: Duplex) => void;
  readonly #connections = new Map<number, RelayedConnection>();

  constructor(send: SendFrame, accept: (connection: Duplex) => void) {
    this.#send = send;
    this.#accept = accept;
  }

  /**
   * Takes a frame about a connection; false when it is about something else.
   * @throws {Error} when the frame has the wrong form.
   */
  take(type: number, payload: Buffer): boolean {
    switch (type) {
      case frameTypes.OPEN:
        this.#open(payload.readUInt32BE(0));
        return true;
      case frameTypes.UP:
        this.#connections.get(payload.readUInt32BE(0))?.push(payload.subarray(4));
        return true;
      case frameTypes.UP_END:
        this.#connections.get(payload.readUInt32BE(0))?.push(null);
        return true;
      case frameTypes.CREDIT:
        this.#connections.get(payload.readUInt32BE(0))?.credit(payload.readUInt32BE(4));
        return true;
      default:
        return false;
    }
  }

  close(): void {
    for (const connection of this.#connections.values()) connection.destroy();
  }

  #open(number: number): void {
    if (this.#connections.has(number) || this.#connections.size >= CONNECTIONS_MAX) {
      this.#send(frameTypes.DOWN_END, numbered(number));
      return;
    }
    const connection = new RelayedConnection(number, this.#send);
    this.#connections.set(number, connection);
    connection.on('error', () => undefined);
    connection.once('close', () => this.#connections.delete(number));
    this.#accept(connection);
  }
}
