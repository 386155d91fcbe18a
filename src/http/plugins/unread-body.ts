/**
 * Answers to requests whose body was not read to its end.
 *
 * Closing a connection with unread bytes resets it, and the reset can overtake the
 * answer. So the answer goes out complete, with `Connection: close`, and what the
 * client still sends is read and dropped for a while before the connection closes.
 */
import { Readable } from 'node:stream';
import type { IncomingMessage } from 'node:http';

const DROPPED_BYTES_MAX = 64 << 20;
const LINGER_MS = 5_000;
const SILENCE_MS = 1_000;

/** Whether bytes of the body may still be on their way. */
export function isUnread(request: IncomingMessage): boolean {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  const hasBody = encoding !== undefined || (length !== undefined && length !== '0');
  return hasBody && !request.complete && !request.destroyed;
}

/** `answer`, then nothing until the rest of the request has been dropped. */
export function lingering(answer: Buffer, request: IncomingMessage): Readable {
  const parts = async function* () {
    yield answer;
    await dropRest(request);
  };
  return Readable.from(parts(), { objectMode: false });
}

async function dropRest(request: IncomingMessage): Promise<void> {
  let dropped = 0;
  await new Promise<void>((resolve) => {
    const limit = setTimeout(resolve, LINGER_MS);
    const silence = setTimeout(resolve, SILENCE_MS);
    const onData = (chunk: Buffer) => {
      dropped += chunk.length;
      silence.refresh();
      if (dropped > DROPPED_BYTES_MAX) resolve();
    };
    const finish = () => {
      clearTimeout(limit);
      clearTimeout(silence);
      resolve();
    };
    request.unpipe();
    request.on('data', onData).once('end', finish).once('close', finish).once('error', finish);
    if (request.readableEnded || request.destroyed) finish();
    else request.resume();
  });
  request.pause();
}
