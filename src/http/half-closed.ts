/**
 * Clients that shut down their sending side. One that has sent its whole request may,
 * and gets its whole answer (RFC 9112, 9.6); one that was killed looks exactly the same
 * until something is sent to it. So while nothing else is, something without a meaning
 * is: a heartbeat, or before the answer a `100 Continue`, the one interim answer that
 * every HTTP library skips. Who is gone resets the connection.
 *
 * HTTP/1.0 has no interim answers: there a client whose answer does not begin soon
 * counts as gone.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Most answers are out by then. The second comes as long after it, the others twice as long each time: the first that
 * is not received says so to the next.
 */
const FIRST_PROBE_MS = 250;
const PROBE_MS_MAX = 5_000;
const HTTP_1_0_WAITS_MS = 1_000;

/** A request whose answer is not complete. */
export interface Probed {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Sends something that means nothing, to learn whether anybody reads. Not for HTTP/1.0 before the answer has begun. */
  probe: () => void;
}

/** Sees to it that `socket`, on which no more requests come, closes when nobody reads it. */
export function probeHalfClosed(socket: Socket, inProgress: () => Probed | undefined): void {
  let delayMs = FIRST_PROBE_MS;
  let waitedMs = 0;
  const probe = () => {
    waitedMs += delayMs;
    const probed = inProgress();
    if (!probed) return;
    const isSilent = !probed.response.headersSent && probed.request.httpVersionMinor === 0;
    if (!isSilent) probed.probe();
    else if (waitedMs >= HTTP_1_0_WAITS_MS) socket.destroy();
    delayMs = Math.min(waitedMs, PROBE_MS_MAX);
    timer = setTimeout(probe, delayMs);
  };
  let timer = setTimeout(probe, delayMs);
  socket.once('close', () => {
    clearTimeout(timer);
  });
}
