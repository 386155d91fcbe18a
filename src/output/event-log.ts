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
import { collectOutput, countOutput, type CollectedOutput, type LostOutput } from './collected-output.ts';
import { encodeEvent, encodeOutput, lineOf, writeLine, type EncodedLine, type EventLines } from './event-lines.ts';
import { collectKept, firstLines, followKept, type KeptEvents } from './kept-events.ts';
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
  /** The line of the terminal event, which is not among the others. */
  #terminal: Buffer | undefined;
  #terminalMs = 0;
  #isPublished = false;
  #savedSeq = 0;
  /** All of it, once it is settled and small: the file may go. */
  #inline: KeptEvents | undefined;

  constructor({ spillDirectory, memory = new OutputMemory(Infinity) }: EventLogOptions) {
    this.#file = new SpillFile(spillDirectory);
    this.#lines = new LineLog({ file: this.#file, memoryBytesMax: MEMORY_BYTES_MAX, memory });
  }

  /** Bytes of all events as they are sent, in memory or not. */
  get bytes(): number {
    return this.#lines.bytes + (this.#terminal?.length ?? 0);
  }

  get isEnded(): boolean {
    return this.#terminal !== undefined;
  }

  get lastSeq(): number {
    return this.#lines.lastSeq + (this.#isPublished ? 1 : 0);
  }

  /** `t_ms` of the terminal event, once that is sealed. */
  get terminalMs(): number {
    return this.#terminalMs;
  }

  /** Appends an event that is not output. The terminal event is the last one that is taken. */
  append(body: EventBody): void {
    if (this.#terminal) return;
    if (body.type === 'result' || body.type === 'error') {
      this.seal(body);
      this.publish();
      return;
    }
    this.#flushMerged();
    this.#push(encodeEvent(this.#nextSeq(), this.#now(), body));
  }

  /**
   * Decides the terminal event: nothing is taken any more. Readers see it once it is published; until then another
   * call can decide otherwise.
   */
  seal(body: EventBody): void {
    if (this.#isPublished) return;
    if (!this.#terminal) {
      this.#flushMerged();
      this.#say('stdout', this.#text.stdout.end());
      this.#say('stderr', this.#text.stderr.end());
    }
    this.#inline = undefined;
    this.#terminalMs = this.#now();
    this.#terminal = lineOf(this.#nextSeq(), this.#terminalMs, body);
  }

  /** Shows the terminal event to the readers. */
  publish(): void {
    this.#isPublished = this.#terminal !== undefined;
    for (const reader of this.#readers) reader();
  }

  /**
   * Appends bytes of a stream; what is cut in the middle of a character waits for its
   * rest. A promise, when given, is to be awaited before more is appended: the disk is behind.
   * @throws {ServiceError} storage_full, internal, by the promise: what follows cannot be kept.
   */
  output(stream: OutputStream, data: Buffer): Promise<void> | undefined {
    if (this.#terminal) return undefined;
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
    if (this.#terminal) return;
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
    if (this.#isPublished && this.#inline) {
      yield* followKept(this.#inline, after, signal);
      return;
    }
    let wake: () => void = () => undefined;
    const onEvent = () => {
      wake();
    };
    const wait = async () => {
      if (this.#isPublished || signal.aborted) return false;
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
        yield { ...lines, isTerminal: false };
        if (signal.aborted) return;
      }
      const seq = this.#nextSeq();
      if (this.#terminal && !signal.aborted && seq > after) {
        yield { bytes: this.#terminal, firstSeq: seq, lastSeq: seq, isTerminal: true };
      }
    } finally {
      this.#readers.delete(onEvent);
      signal.removeEventListener('abort', onEvent);
    }
  }

  /** What there is now of both streams, as text with a line in place of what was left out. */
  collect(): Promise<CollectedOutput> {
    if (this.#inline) return collectKept(this.#inline);
    return collectOutput(this.#lines.read(0, () => Promise.resolve(false)));
  }

  /**
   * How the events are kept from now on, the terminal one among them; to be called when they are sealed. What is
   * small comes as it is; the rest is in the file, complete and on the disk. Readers go on either way.
   * @throws {ServiceError} storage_full, internal: all of it is still readable here.
   */
  async settle(): Promise<KeptEvents> {
    if (!this.#terminal) throw new Error('the events have not ended');
    const lastSeq = this.#nextSeq();
    const { bytes } = this;
    if (bytes <= INLINE_BYTES_MAX) {
      const parts: Buffer[] = [];
      for await (const lines of this.#lines.read(0, () => Promise.resolve(false))) parts.push(lines.bytes);
      this.#inline = { lastSeq, bytes, inline: Buffer.concat([...parts, this.#terminal]) };
      return this.#inline;
    }
    await this.#lines.moveToFile(this.#terminal);
    return { lastSeq, bytes, file: this.#file.path };
  }

  /**
   * The first of the events, as many as can be kept where there is no room for all: in the file as far as they are
   * there, or else the few that need none; and what of the output that leaves out. The terminal event is not among
   * them. Never rejects.
   */
  async salvage(): Promise<{ readonly kept: KeptEvents; readonly lost: LostOutput }> {
    const kept =
      (await this.#keptInFile()) ??
      (await firstLines(
        this.#lines.read(0, () => Promise.resolve(false)),
        INLINE_BYTES_MAX,
      ));
    return { kept, lost: await countOutput(this.#lines.read(kept.lastSeq, () => Promise.resolve(false))) };
  }

  async #keptInFile(): Promise<KeptEvents | undefined> {
    const there = await this.#lines.inFile();
    if (there.bytes <= INLINE_BYTES_MAX) return undefined;
    this.#file.rewind(there.bytes);
    try {
      await this.#file.end(Buffer.alloc(0));
      return { ...there, file: this.#file.path };
    } catch {
      return undefined;
    }
  }

  /** Begins to move to the file what there is, so that it outlives this process. A failure is told by `written`. */
  save(): void {
    if (this.#terminal || this.#savedSeq === this.#lines.lastSeq) return;
    this.#savedSeq = this.#lines.lastSeq;
    this.#lines.spill(0);
  }

  /** Nobody new will read the events here; those who do still can. `isKeptElsewhere`: the file is not needed either. */
  async release(isKeptElsewhere: boolean): Promise<void> {
    const { isSpilled } = this.#lines;
    await this.#lines.release();
    if (isKeptElsewhere && isSpilled) await this.#file.remove();
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
