/**
 * The ordered events of one execution: numbered, encoded once, kept, replayed,
 * fanned out.
 *
 * Kept bytes are bounded by the supervisor's output limits, kept events by
 * merging: once there are many, what a stream says within a short window becomes
 * one event. Memory is bounded by line-log.ts. A reader that is slow, or gone,
 * slows nobody: readers pull. A disk that is slower than the program slows the
 * program; one that fails ends the run, and what was kept stays readable.
 */
import type { EventBody, OutputStream } from '../domain/events.ts';
import { collectOutput, type CollectedOutput } from './collected-output.ts';
import { encodeEvent, encodeOutput, writeLine, type EncodedLine, type EventLines } from './event-lines.ts';
import type { KeptEvents } from './kept-events.ts';
import { LineLog } from './line-log.ts';
import { OutputMemory } from './output-memory.ts';
import { SpillFile } from './spill-file.ts';
import { Utf8Stream, type TextPiece } from './utf8-stream.ts';

/** From this many events on, output is merged per stream and window. */
const MERGE_FROM_EVENTS = 10_000;
const MERGE_WINDOW_MS = 100;
/** What is merged into one event at most, however short the window. */
const MERGE_BYTES_MAX = 64 * 1024;
/** Of one execution; the rest is in its file. */
const MEMORY_BYTES_MAX = 256 * 1024;
/** What has ended and is no larger is kept without a file. */
const INLINE_BYTES_MAX = 64 * 1024;

export interface EventLogOptions {
  /** Where `events.ndjson` goes when it is needed. Made when it is. */
  readonly spillDirectory: string;
  /** Shared by all logs of a server. */
  readonly memory?: OutputMemory;
}

export class EventLog {
  readonly #acceptedAt = performance.now();
  readonly #file: SpillFile;
  readonly #lines: LineLog;
  readonly #text = { stdout: new Utf8Stream(), stderr: new Utf8Stream() };
  readonly #readers = new Set<() => void>();
  readonly #merging: Record<OutputStream, Buffer[]> = { stdout: [], stderr: [] };
  #mergingBytes = 0;
  #mergeTimer: NodeJS.Timeout | undefined;
  #isEnded = false;
  #kept: Promise<KeptEvents> | undefined;

  constructor({ spillDirectory, memory = new OutputMemory(Infinity) }: EventLogOptions) {
    this.#file = new SpillFile(spillDirectory);
    this.#lines = new LineLog({ file: this.#file, memoryBytesMax: MEMORY_BYTES_MAX, memory });
  }

  /** Bytes of all events as they are sent, in memory or not. */
  get bytes(): number {
    return this.#lines.bytes;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  get lastSeq(): number {
    return this.#lines.lastSeq;
  }

  /** Appends an event that is not output. The terminal event is the last one that is taken. */
  append(body: EventBody): void {
    if (this.#isEnded) return;
    this.#flushMerged();
    const isTerminal = body.type === 'result' || body.type === 'error';
    if (isTerminal) {
      this.#say('stdout', this.#text.stdout.end());
      this.#say('stderr', this.#text.stderr.end());
    }
    this.#isEnded = isTerminal;
    this.#push(encodeEvent(this.#nextSeq(), this.#now(), body));
  }

  /**
   * Appends bytes of a stream; what is cut in the middle of a character waits for its
   * rest. A promise, when given, is to be awaited before more is appended: the disk is behind.
   * @throws {ServiceError} storage_full, internal, by the promise: what follows cannot be kept.
   */
  output(stream: OutputStream, data: Buffer): Promise<void> | undefined {
    if (this.#isEnded) return undefined;
    if (this.lastSeq < MERGE_FROM_EVENTS) {
      this.#say(stream, this.#text[stream].push(data));
      return this.#lines.room();
    }
    this.#merging[stream].push(Buffer.from(data));
    this.#mergingBytes += data.length;
    if (this.#mergingBytes >= MERGE_BYTES_MAX) this.#flushMerged();
    else
      this.#mergeTimer ??= setTimeout(() => {
        this.#flushMerged();
      }, MERGE_WINDOW_MS);
    return this.#lines.room();
  }

  /** Records a gap: the text before it is complete, whatever it ended in. */
  omitted(stream: OutputStream, bytes: number): void {
    if (this.#isEnded) return;
    this.#flushMerged();
    this.#say(stream, this.#text[stream].tear());
    this.#push(encodeEvent(this.#nextSeq(), this.#now(), { type: 'truncated', stream, omitted_bytes: bytes }));
  }

  /**
   * Resolves when no event waits for the disk; at once for what is small.
   * @throws {ServiceError} storage_full, internal.
   */
  written(): Promise<void> {
    return this.#lines.written();
  }

  /**
   * The events after `after`, then those that follow, until the terminal one or
   * until `signal` is aborted. Every reader has its own place.
   */
  async *follow(after: number, signal: AbortSignal): AsyncGenerator<EventLines, void, void> {
    let wake: () => void = () => undefined;
    const onEvent = () => {
      wake();
    };
    const wait = async () => {
      if (this.#isEnded || signal.aborted) return false;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      return !signal.aborted;
    };
    signal.addEventListener('abort', onEvent);
    this.#readers.add(onEvent);
    try {
      if (signal.aborted) return;
      for await (const lines of this.#lines.read(Math.max(0, after), wait)) {
        if (signal.aborted) return;
        const isTerminal = this.#isEnded && lines.lastSeq === this.lastSeq;
        yield { ...lines, isTerminal };
        if (isTerminal || signal.aborted) return;
      }
    } finally {
      this.#readers.delete(onEvent);
      signal.removeEventListener('abort', onEvent);
    }
  }

  /** What there is now of both streams, as text with a line in place of what was left out. */
  collect(): Promise<CollectedOutput> {
    return collectOutput(this.#lines.read(0, () => Promise.resolve(false)));
  }

  /**
   * How the events are kept from now on; to be called when they have ended. What is
   * small comes as it is; the rest is in the file, complete and on the disk, and
   * needs no memory any more. Readers go on either way.
   * @throws {ServiceError} storage_full, internal: all of it is still readable here.
   */
  settle(): Promise<KeptEvents> {
    if (!this.#isEnded) throw new Error('the events have not ended');
    this.#kept ??= this.#settle();
    return this.#kept;
  }

  /** Nobody needs the events any more. Whoever reads them still can. */
  discard(): Promise<void> {
    return this.#lines.forget();
  }

  async #settle(): Promise<KeptEvents> {
    const { lastSeq, bytes } = this.#lines;
    if (!this.#lines.isSpilled && bytes <= INLINE_BYTES_MAX) return { lastSeq, bytes, inline: this.#lines.inMemory() };
    await this.#lines.moveToFile();
    return { lastSeq, bytes, file: this.#file.path };
  }

  #say(stream: OutputStream, pieces: readonly TextPiece[]): void {
    for (const piece of pieces) this.#push(encodeOutput(this.#nextSeq(), this.#now(), stream, piece));
  }

  #flushMerged(): void {
    clearTimeout(this.#mergeTimer);
    this.#mergeTimer = undefined;
    this.#mergingBytes = 0;
    for (const stream of ['stdout', 'stderr'] as const) {
      const merged = this.#merging[stream];
      if (merged.length === 0) continue;
      this.#merging[stream] = [];
      this.#say(stream, this.#text[stream].push(Buffer.concat(merged)));
    }
  }

  #nextSeq(): number {
    return this.#lines.lastSeq + 1;
  }

  /** Milliseconds since the execution was accepted. */
  #now(): number {
    return Math.round((performance.now() - this.#acceptedAt) * 1000) / 1000;
  }

  #push(line: EncodedLine): void {
    this.#lines.append(line.bytes, (target, offset) => {
      writeLine(line, target, offset);
    });
    for (const reader of this.#readers) reader();
  }
}
