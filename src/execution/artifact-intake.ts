/**
 * Takes what a run left behind: names judged by the rules of the archive gate,
 * content hashed and written into one tar of ours, small files kept to be given
 * inline. What cannot be taken is counted with its reason; the run's result is
 * never lost over it.
 */
import { createHash, type Hash } from 'node:crypto';
import { checkedArtifactPath, tarHeader, tarLayout, tarPadding } from '../archive/artifact-tar.ts';
import type { Artifact, ArtifactReport, ArtifactWish, SkippedArtifact, SkipReason } from '../domain/artifacts.ts';
import type { ArtifactHeader, ArtifactSink } from '../sandbox/artifact-frames.ts';
import type { ArtifactFile } from '../store/artifact-files.ts';
import { mediaTypeOf } from './media-types.ts';

/** Inline contents of one execution together, in bytes of the files. */
const INLINE_TOTAL_BYTES_MAX = 4 << 20;
const SKIPPED_NAMED_MAX = 100;

interface Incoming {
  readonly header: ArtifactHeader;
  readonly path: string;
  readonly hash: Hash;
  /** The content, where it will be given inline. */
  readonly inline: Buffer[] | undefined;
  /** Where the next byte goes. */
  position: number;
}

export class ArtifactIntake implements ArtifactSink {
  readonly #wish: ArtifactWish;
  readonly #file: ArtifactFile;
  readonly #onArtifact: (artifact: Artifact) => void;
  readonly #artifacts: Artifact[] = [];
  readonly #paths = new Set<string>();
  readonly #skipped: SkippedArtifact[] = [];
  #skippedCount = 0;
  #inlineBytes = 0;
  #tarBytes = 0;
  #incoming: Incoming | undefined;
  #isFull = false;

  /** @param onArtifact called for each file once it is complete, without its content. */
  constructor(wish: ArtifactWish, file: ArtifactFile, onArtifact: (artifact: Artifact) => void) {
    this.#wish = wish;
    this.#file = file;
    this.#onArtifact = onArtifact;
  }

  begin(header: ArtifactHeader): void {
    const path = pathOf(header);
    if (path === undefined || this.#paths.has(path)) {
      this.#skip(header.path, 'name');
      return;
    }
    this.#paths.add(path);
    const isInline = header.size <= this.#wish.inlineBytes && this.#inlineBytes + header.size <= INLINE_TOTAL_BYTES_MAX;
    this.#incoming = {
      header,
      path,
      hash: createHash('sha256'),
      inline: this.#wish.inlineBytes > 0 && isInline ? [] : undefined,
      position: this.#tarBytes + tarHeader(path, header.size, header.executable).length,
    };
  }

  async data(bytes: Buffer): Promise<void> {
    const incoming = this.#incoming;
    if (!incoming) return;
    incoming.hash.update(bytes);
    // A copy: the bytes are a part of a larger chunk.
    incoming.inline?.push(Buffer.from(bytes));
    await this.#write(bytes, incoming.position);
    incoming.position += bytes.length;
  }

  async end(isComplete: boolean): Promise<void> {
    const incoming = this.#incoming;
    this.#incoming = undefined;
    // What the supervisor gave up it names itself.
    if (!incoming || !isComplete) return;
    const { header, path, hash, inline } = incoming;
    const tar = tarHeader(path, header.size, header.executable);
    await this.#write(tar, this.#tarBytes);
    await this.#write(tarPadding(header.size), incoming.position);
    if (this.#isFull) {
      this.#skip(path, 'storage');
      return;
    }
    this.#tarBytes += tar.length + header.size + tarPadding(header.size).length;
    const artifact: Artifact = {
      path,
      size: header.size,
      media_type: mediaTypeOf(path),
      sha256: hash.digest('hex'),
      ...(header.executable ? { executable: true } : {}),
    };
    if (inline) this.#inlineBytes += header.size;
    this.#artifacts.push(inline ? { ...artifact, content: Buffer.concat(inline).toString('base64') } : artifact);
    this.#onArtifact(artifact);
  }

  skipped(skipped: readonly SkippedArtifact[], count: number): void {
    for (const { path, reason } of skipped) this.#skip(path, reason);
    this.#skippedCount += Math.max(0, count - skipped.length);
  }

  /** Completes the tar. Never rejects: what is not on the disk is not reported. */
  async finish(): Promise<ArtifactReport> {
    const kept = this.#artifacts;
    try {
      await this.#file.close(this.#tarBytes, kept.length > 0 ? tarLayout(kept).bytes : 0);
    } catch {
      for (const { path } of kept.splice(0)) this.#skip(path, 'storage');
    }
    return { artifacts: kept, skipped: this.#skipped, skippedCount: this.#skippedCount };
  }

  async #write(bytes: Uint8Array, position: number): Promise<void> {
    if (this.#isFull || bytes.length === 0) return;
    try {
      await this.#file.write(bytes, position);
    } catch {
      this.#isFull = true;
    }
  }

  #skip(path: string, reason: SkipReason): void {
    this.#skippedCount += 1;
    if (this.#skipped.length < SKIPPED_NAMED_MAX) this.#skipped.push({ path: path.toWellFormed(), reason });
  }
}

function pathOf({ path }: ArtifactHeader): string | undefined {
  try {
    return checkedArtifactPath(path);
  } catch {
    return undefined;
  }
}
