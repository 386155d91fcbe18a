/**
 * A project that passed the archive gate: what it contains and its canonical
 * bytes. Everything after the gate sees only this, never the caller's bytes.
 */

/** One accepted entry, with the name it has below the project root. */
export interface ProjectEntry {
  /** Relative, `/`-separated, without `.`, `..`, empty components or trailing slash. */
  readonly path: string;
  readonly kind: 'file' | 'directory' | 'symlink';
  /** Bytes of content; 0 unless `kind` is `file`. */
  readonly sizeBytes: number;
  /** Whether the file is stored with mode 0755 rather than 0644. */
  readonly executable: boolean;
  /** Where the link points, exactly as stored; only when `kind` is `symlink`. */
  readonly linkTarget?: string;
}

/**
 * The canonical tar of a checked project: POSIX ustar, with PAX `path` and
 * `linkpath` records only where ustar cannot hold a name; modes 0644/0755, owner
 * and mtime constant; every parent directory precedes its children; two zero
 * blocks at the end.
 */
export interface Project {
  readonly entries: readonly ProjectEntry[];
  /** Sum of the file sizes. */
  readonly contentBytes: number;
  /** Length of the canonical tar. */
  readonly tarBytes: number;
  /** Lower-case hex SHA-256 of the canonical tar: the identity of the project. */
  readonly sha256: string;
  /** Streams the canonical tar. May be called more than once until `dispose`. */
  read(): AsyncIterable<Buffer>;
  /**
   * Copies the canonical tar from `position` on into `target`; resolves with how many bytes that were, 0 at the end.
   * For who has one buffer for all of it: those of `read` are new each time, and large ones pile up.
   */
  readInto(target: Uint8Array, position: number): Promise<number>;
  /** Frees memory and temporary storage. Idempotent. */
  dispose(): Promise<void>;
}

const PAGE_BYTES = 4096;

/** What entries take in a tmpfs, which gives out whole pages; one for each, so that its inodes do not run out either. */
export function diskBytes(entries: readonly ProjectEntry[]): number {
  return entries.reduce((sum, { sizeBytes }) => sum + Math.max(1, Math.ceil(sizeBytes / PAGE_BYTES)) * PAGE_BYTES, 0);
}
