/**
 * The events of an execution that has ended, as they were left: read back without
 * the log that wrote them, also by another process.
 */
import { open } from 'node:fs/promises';
import { collectOutput, type CollectedOutput } from './collected-output.ts';
import { countLines, NEWLINE, skipLines, type EventLines } from './event-lines.ts';

const READ_BYTES = 64 * 1024;

/** Either `inline` or `file` is there. */
export interface KeptEvents {
  readonly lastSeq: number;
  /** Of all lines together. */
  readonly bytes: number;
  readonly inline?: Buffer;
  /** Path of a file that holds the lines and nothing else. */
  readonly file?: string;
}

/**
 * The events after `after`, to the terminal one or until `signal` is aborted.
 * @throws {Error} when the file is not there, or shorter than it was.
 */
export async function* followKept(
  kept: KeptEvents,
  after: number,
  signal: AbortSignal,
): AsyncGenerator<EventLines, void, void> {
  let seq = 0;
  for await (const bytes of wholeLines(kept)) {
    if (signal.aborted) return;
    const firstSeq = Math.max(seq, after) + 1;
    const before = seq;
    seq += countLines(bytes);
    if (seq < firstSeq) continue;
    const wanted = bytes.subarray(skipLines(bytes, firstSeq - before - 1));
    yield { bytes: wanted, firstSeq, lastSeq: seq, isTerminal: seq === kept.lastSeq };
  }
}

/** The first of the lines, as many as fit. Of a source that fails, what came until then: never rejects. */
export async function firstLines(
  source: AsyncIterable<{ readonly bytes: Buffer; readonly firstSeq: number }>,
  bytesMax: number,
): Promise<KeptEvents> {
  const parts: Buffer[] = [];
  let lastSeq = 0;
  let bytes = 0;
  try {
    for await (const lines of source) {
      const fitting = lines.bytes.subarray(0, bytesMax - bytes);
      const whole = fitting.subarray(0, fitting.lastIndexOf(NEWLINE) + 1);
      if (whole.length > 0) {
        parts.push(whole);
        lastSeq = lines.firstSeq + countLines(whole) - 1;
        bytes += whole.length;
      }
      if (whole.length < lines.bytes.length) break;
    }
  } catch {
    // What cannot be read cannot be kept.
  }
  return { lastSeq, bytes, inline: Buffer.concat(parts) };
}

/** The output of both streams. @throws {Error} as followKept does. */
export function collectKept(kept: KeptEvents): Promise<CollectedOutput> {
  return collectOutput(followKept(kept, 0, new AbortController().signal));
}

async function* wholeLines({ inline, file, bytes }: KeptEvents): AsyncGenerator<Buffer, void, void> {
  if (inline) {
    yield inline;
    return;
  }
  if (file === undefined) throw new Error('events that are kept nowhere');
  const handle = await open(file, 'r');
  try {
    let waiting: Buffer[] = [];
    for (let position = 0; position < bytes;) {
      const length = Math.min(READ_BYTES, bytes - position);
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafeSlow(length), 0, length, position);
      if (bytesRead === 0) throw new Error('a file of events became shorter');
      position += bytesRead;
      const read = buffer.subarray(0, bytesRead);
      const end = read.lastIndexOf(NEWLINE) + 1;
      if (end === 0) {
        waiting.push(read);
        continue;
      }
      const head = read.subarray(0, end);
      yield waiting.length > 0 ? Buffer.concat([...waiting, head]) : head;
      waiting = end < bytesRead ? [read.subarray(end)] : [];
    }
  } finally {
    await handle.close();
  }
}
