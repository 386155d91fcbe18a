/**
 * Artifacts: the regular files a run left below /work that were not there before,
 * or not like this. Field names are wire names.
 */

/** Which files a run is asked to leave, and how many of them it may. */
export interface ArtifactWish {
  /** Paths and patterns below /work; empty: every new or changed file that is not a cache. */
  readonly patterns: readonly string[];
  /** Files of at most this many bytes are given inside the execution too; 0: none. */
  readonly inlineBytes: number;
  readonly files: number;
  /** Of all files together. */
  readonly bytes: number;
}

/** The operator's bounds for every run. */
export type ArtifactLimits = Pick<ArtifactWish, 'files' | 'bytes' | 'inlineBytes'>;

export interface Artifact {
  /** Relative to /work, `/`-separated, checked by the rules an archive is checked by. */
  readonly path: string;
  readonly size: number;
  /** By the name alone. */
  readonly media_type: string;
  /** Lower-case hex, of the content. */
  readonly sha256: string;
  /** Where somebody may execute it. */
  readonly executable?: true;
  /** The content as base64, where it was asked for and is small enough. */
  readonly content?: string;
}

export type SkipReason =
  /** A link, FIFO, socket or device: nothing is followed or opened. */
  | 'not_a_regular_file'
  /** The name is not UTF-8, too long, or one an archive could not have. */
  | 'name'
  | 'too_deep'
  /** The directory or the file cannot be read by the program's own user. */
  | 'unreadable'
  /** It does not fit into what is left of `bytes`. */
  | 'too_large'
  /** There are as many as `files` already. */
  | 'too_many'
  /** The collection took too long. */
  | 'deadline'
  /** The service had no room for it. */
  | 'storage';

/** What was found and not collected. Bytes of `path` that are not UTF-8 are written as `\xNN`. */
export interface SkippedArtifact {
  readonly path: string;
  readonly reason: SkipReason;
}

/** What a run left, once it has ended. */
export interface ArtifactReport {
  readonly artifacts: readonly Artifact[];
  /** The first of those that were skipped. */
  readonly skipped: readonly SkippedArtifact[];
  readonly skippedCount: number;
}
