/**
 * The ordered events of one execution: numbered, kept, replayed, fanned out.
 *
 * Kept bytes are bounded by the supervisor's output limits, kept events by
 * merging: once there are many, what a stream says within a short window becomes
 * one event. A reader that is slow, or gone, slows nobody: readers pull.
 */
import { isUtf8 } from 'node:buffer';
import type { EventBody, ExecutionEvent, OutputStream } from '../domain/events.ts';
import { isTerminal } from '../domain/events.ts';
import { orphanedBytes, unfinishedBytes, Utf8Stream } from './utf8-stream.ts';

/** From this many events on, output is merged per stream and window. */
const MERGE_FROM_EVENTS = 10_000;
const MERGE_WINDOW_MS = 100;

export class EventLog {
  readonly #acceptedAt = performance.now();
  readonly #events: ExecutionEvent[] = [];
  readonly #text = { stdout: new Utf8Stream(), stderr: new Utf8Stream() };
  readonly #readers = new Set<() => void>();
  readonly #merging: Record<OutputStream, Buffer[]> = { stdout: [], stderr: [] };
  #mergeTimer: NodeJS.Timeout | undefined;
  #keptBytes = 0;

  /** Bytes of output held, for the store's budget. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  get isEnded(): boolean {
    const last = this.#events.at(-1);
    return last !== undefined && isTerminal(last);
  }

  get lastSeq(): number {
    return this.#events.length;
  }

  /** Appends an event that is not output. The terminal event is the last one that is taken. */
  append(body: EventBody): void {
    if (this.isEnded) return;
    this.#flushMerged();
    if (body.type === 'result' || body.type === 'error') {
      this.#say('stdout', this.#text.stdout.end());
      this.#say('stderr', this.#text.stderr.end());
    }
    this.#push(body);
  }

  /** Appends bytes of a stream; what is cut in the middle of a character waits for its rest. */
  output(stream: OutputStream, data: Buffer): void {
    if (this.isEnded) return;
    if (this.#events.length < MERGE_FROM_EVENTS) {
      this.#say(stream, this.#text[stream].push(data));
      return;
    }
    this.#merging[stream].push(Buffer.from(data));
    this.#mergeTimer ??= setTimeout(() => {
      this.#flushMerged();
    }, MERGE_WINDOW_MS);
  }

  /** Records a gap: the text before it is complete, whatever it ended in. */
  omitted(stream: OutputStream, bytes: number): void {
    if (this.isEnded) return;
    this.#flushMerged();
    this.#say(stream, this.#text[stream].tear());
    this.#push({ type: 'truncated', stream, omitted_bytes: bytes });
  }

  /**
   * The events after `after`, then those that follow, until the terminal one or
   * until `signal` is aborted. Every reader has its own place.
   */
  async *follow(after: number, signal: AbortSignal): AsyncGenerator<ExecutionEvent> {
    let next = Math.max(0, after);
    let wake: () => void = () => undefined;
    const onEvent = () => {
      wake();
    };
    signal.addEventListener('abort', onEvent);
    this.#readers.add(onEvent);
    try {
      while (!signal.aborted) {
        const event = this.#events[next];
        if (event) {
          next += 1;
          yield event;
          if (isTerminal(event)) return;
          continue;
        }
        if (this.isEnded) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      this.#readers.delete(onEvent);
      signal.removeEventListener('abort', onEvent);
    }
  }

  /**
   * What is there now of a stream, with a line in place of what was left out. A
   * character that was cut there is left out whole: its bytes are in the events.
   */
  collect(stream: OutputStream): { readonly text: string; readonly encoding?: 'base64' } {
    let part: Buffer[] = [];
    const parts = [part];
    const gaps: number[] = [];
    for (const event of this.#events) {
      if (event.type === stream) part.push(Buffer.from(event.data, event.encoding ?? 'utf8'));
      else if (event.type === 'truncated' && event.stream === stream) {
        gaps.push(event.omitted_bytes);
        parts.push((part = []));
      }
    }
    const whole = parts.map((pieces) => Buffer.concat(pieces));
    const trimmed = whole.map((bytes, index) => {
      const start = index > 0 ? orphanedBytes(bytes) : 0;
      const end = index < gaps.length ? unfinishedBytes(bytes.subarray(start)) : 0;
      return bytes.subarray(start, bytes.length - end);
    });
    const isText = trimmed.every((bytes) => isUtf8(bytes));
    const shown = isText ? trimmed : whole;
    const withGaps = shown.flatMap((bytes, index) => {
      const gap = gaps[index];
      if (gap === undefined) return [bytes];
      return [bytes, Buffer.from(`\n[... ${String(gap)} bytes omitted ...]\n`)];
    });
    const bytes = Buffer.concat(withGaps);
    return isText ? { text: bytes.toString('utf8') } : { text: bytes.toString('base64'), encoding: 'base64' };
  }

  #say(stream: OutputStream, pieces: readonly { data: string; encoding?: 'base64' }[]): void {
    for (const piece of pieces) {
      this.#keptBytes += piece.data.length;
      this.#push({ type: stream, ...piece });
    }
  }

  #flushMerged(): void {
    clearTimeout(this.#mergeTimer);
    this.#mergeTimer = undefined;
    for (const stream of ['stdout', 'stderr'] as const) {
      const merged = this.#merging[stream];
      if (merged.length === 0) continue;
      this.#merging[stream] = [];
      this.#say(stream, this.#text[stream].push(Buffer.concat(merged)));
    }
  }

  #push(body: EventBody): void {
    const at = Math.round((performance.now() - this.#acceptedAt) * 1000) / 1000;
    this.#events.push({ seq: this.#events.length + 1, t_ms: at, ...body });
    for (const reader of this.#readers) reader();
  }
}
