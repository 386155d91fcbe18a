/**
 * Bounds the connections of the server. Where there are too many, the one that has
 * been idle for longest gives way to the one that comes: connections on which nobody
 * asks anything keep nobody out. One with a request in progress is never closed for
 * another; where all are, the one that comes is.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

export class Connections {
  readonly #max: number;
  /** Those without a request in progress, the longest idle first. */
  readonly #idle = new Set<Socket>();
  #count = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Watches the connections of `server`. To be called before it listens. */
  watch(server: Server): void {
    server.on('connection', (socket: Socket) => {
      this.#count += 1;
      this.#idle.add(socket);
      socket.once('close', () => {
        this.#count -= 1;
        this.#idle.delete(socket);
      });
      if (this.#count > this.#max) this.#closeOne();
    });
  }

  /** A request has begun on it. */
  busy(socket: Socket): void {
    this.#idle.delete(socket);
  }

  /** No request is in progress on it any more. */
  rests(socket: Socket): void {
    if (!socket.destroyed) this.#idle.add(socket);
  }

  #closeOne(): void {
    const [longest] = this.#idle;
    if (!longest) return;
    // It counts until it is closed; nobody else is to be closed for it.
    this.#idle.delete(longest);
    longest.destroy();
  }
}
