/**
 * The events of an execution as a byte stream, in one of two framings.
 *
 * Events arrive here encoded, many at a time; nothing is encoded again. The stream
 * ends after the terminal event and only then, is never silent for
 * longer than the heartbeat, and holds at most its high-water mark and one block of
 * the log for a reader that does not read: the rest stays in the execution's own log.
 */
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { buffersPassed } from '../../execution/buffer-garbage.ts';
import type { Submitted } from '../../execution/executions.ts';
import { linesOf, typeOf, type EventLines } from '../../output/event-lines.ts';
import type { Probed } from '../half-closed.ts';

export interface EventFraming {
  readonly contentType: string;
  /** The bytes to send for some events. */
  events(lines: EventLines): Buffer;
  /** Something that keeps proxies from closing the connection and is no event. */
  heartbeat(tMs: number): string;
}

/** One JSON document a line. A heartbeat is a line without `seq`. */
export const NDJSON: EventFraming = {
  contentType: 'application/x-ndjson',
  events: ({ bytes }) => bytes,
  heartbeat: (tMs) => `{"type":"heartbeat","t_ms":${String(tMs)}}\n`,
};

const BLANK_LINE = Buffer.from('\n');

/** Server-sent events (WHATWG HTML, 9.2); JSON holds no line break. A heartbeat is a comment. */
export const SERVER_SENT_EVENTS: EventFraming = {
  contentType: 'text/event-stream; charset=utf-8',
  events: ({ bytes, firstSeq }) => {
    const parts: Buffer[] = [];
    let seq = firstSeq;
    for (const line of linesOf(bytes)) {
      parts.push(Buffer.from(`id: ${String(seq)}\nevent: ${typeOf(line)}\ndata: `), line, BLANK_LINE);
      seq += 1;
    }
    return Buffer.concat(parts);
  },
  heartbeat: (tMs) => `: heartbeat ${String(tMs)}\n\n`,
};

const HIGH_WATER_MARK_BYTES = 64 * 1024;

export interface EventStreamOptions {
  readonly framing: EventFraming;
  /** The last `seq` the reader has; events after it are sent. */
  readonly after: number;
  readonly heartbeatMs: number;
  /** The answer it becomes, which is probed by a heartbeat. */
  readonly exchange: Pick<Probed, 'probe'>;
}

/** The events of `execution`, for as long as somebody reads. Destroying the stream ends the following, not the run. */
export function eventStream(execution: Submitted, options: EventStreamOptions): Readable {
  const { framing, after, heartbeatMs, exchange } = options;
  const following = new AbortController();
  let onRead: () => void = () => undefined;
  const stream = new Readable({
    highWaterMark: HIGH_WATER_MARK_BYTES,
    read: () => {
      onRead();
    },
    destroy: (error, done) => {
      following.abort();
      clearTimeout(beat);
      onRead();
      done(error);
    },
  });
  let clock: (() => number) | undefined;
  let isBlocked = false;
  const sendBeat = () => {
    if (following.signal.aborted) return;
    clock ??= clockOf(execution);
    if (!isBlocked) stream.push(framing.heartbeat(clock()));
    beat.refresh();
  };
  const beat = setTimeout(sendBeat, heartbeatMs);
  exchange.probe = sendBeat;

  const send = async () => {
    for await (const lines of execution.follow(after, following.signal)) {
      if (following.signal.aborted) return;
      beat.refresh();
      const bytes = framing.events(lines);
      buffersPassed(bytes.length);
      if (stream.push(bytes)) continue;
      isBlocked = true;
      await new Promise<void>((resolve) => {
        onRead = resolve;
      });
      isBlocked = false;
    }
    clearTimeout(beat);
    exchange.probe = () => undefined;
    if (!stream.destroyed) stream.push(null);
  };
  send().catch((error: unknown) => {
    stream.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  return stream;
}

/** Milliseconds since the execution was accepted; monotonic from here on. */
function clockOf(execution: Submitted): () => number {
  const ageMs = Math.max(0, Date.now() - Date.parse(execution.result().created_at));
  const origin = performance.now() - ageMs;
  return () => Math.round(performance.now() - origin);
}

/** Answers with a stream of events, its headers sent at once. */
export function sendEvents(reply: FastifyReply, framing: EventFraming, stream: Readable): FastifyReply {
  // Nothing may be to say for a while; the client learns now that it was heard.
  reply.raw.once('pipe', () => {
    reply.raw.flushHeaders();
  });
  return reply
    .header('content-type', framing.contentType)
    .header('cache-control', 'no-store')
    .header('x-accel-buffering', 'no')
    .send(stream);
}
