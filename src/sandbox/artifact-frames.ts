/**
 * The frames of artifacts, checked and handed on: a header, then exactly as many
 * bytes as it said, or the next header where the supervisor gave a file up.
 *
 * A header carries the run's token, so that only the supervisor can begin a file,
 * and it does so when every process of the program is dead.
 */
import type { RunPlan } from '../domain/plan.ts';
import type { SkippedArtifact } from '../domain/artifacts.ts';
import { FRAME, parseArtifact, parseArtifactsSkipped, ProtocolError, type Frame } from './supervisor/protocol.ts';

/** Receives artifacts. What it is given is the container's word: it checks names and counts for itself. */
export interface ArtifactSink {
  begin(header: ArtifactHeader): void;
  data(bytes: Buffer): void | Promise<void>;
  /** The file is complete, or `false`: the rest of it will not come. */
  end(isComplete: boolean): void | Promise<void>;
  skipped(skipped: readonly SkippedArtifact[], count: number): void;
}

export interface ArtifactHeader {
  readonly path: string;
  readonly size: number;
  readonly executable: boolean;
}

export class ArtifactFrames {
  readonly #wish: RunPlan['artifacts'];
  readonly #sink: ArtifactSink | undefined;
  readonly #token: string;
  #isOpen = false;
  #bytesToCome = 0;
  #files = 0;
  #bytes = 0;

  constructor(plan: RunPlan, sink: ArtifactSink | undefined, token: string) {
    this.#wish = plan.artifacts;
    this.#sink = sink;
    this.#token = token;
  }

  /** @throws {ProtocolError} when the frame is not due, not the supervisor's, or more than the plan allows. */
  async take(frame: Frame): Promise<void> {
    const wish = this.#wish;
    const sink = this.#sink;
    if (!wish || !sink) throw new ProtocolError('artifacts nobody asked for');
    if (frame.type === FRAME.ARTIFACT_DATA) {
      this.#bytesToCome -= frame.payload.length;
      if (!this.#isOpen || this.#bytesToCome < 0) throw new ProtocolError('more of an artifact than was said');
      const slow = sink.data(frame.payload);
      if (slow) await slow;
      if (this.#bytesToCome === 0) await this.#close(true);
      return;
    }
    await this.finish();
    if (frame.type === FRAME.ARTIFACTS_SKIPPED) {
      const { token, skipped, count } = parseArtifactsSkipped(frame);
      this.#check(token);
      sink.skipped(skipped, count);
      return;
    }
    const { token, ...header } = parseArtifact(frame);
    this.#check(token);
    this.#files += 1;
    this.#bytes += header.size;
    if (this.#files > wish.files || this.#bytes > wish.bytes) throw new ProtocolError('more artifacts than allowed');
    sink.begin(header);
    this.#isOpen = true;
    this.#bytesToCome = header.size;
    if (header.size === 0) await this.#close(true);
  }

  /** No more of the last file will come. */
  async finish(): Promise<void> {
    if (this.#isOpen) await this.#close(false);
  }

  #check(token: string): void {
    if (token !== this.#token) throw new ProtocolError('an artifact that is not the supervisor’s');
  }

  async #close(isComplete: boolean): Promise<void> {
    this.#isOpen = false;
    const closed = this.#sink?.end(isComplete);
    if (closed) await closed;
  }
}
