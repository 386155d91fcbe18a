/**
 * How much of everything a project may have, counted while the bytes arrive.
 *
 * Every count is a hard stop: there is no value that means "unlimited". The
 * operator's configuration replaces the defaults; nothing here reads it.
 */

export interface ArchiveLimits {
  /** Bytes read from the caller, before decompression. */
  readonly bodyBytes: number;
  /** Sum of the file sizes. Judged from the headers, before any content is read. */
  readonly contentBytes: number;
  /** Entries of the canonical tar, so directories that are only implied count too. */
  readonly entries: number;
  /** Components of one path. */
  readonly depth: number;
  /** Bytes of one path or link target. */
  readonly nameBytes: number;
  /** Bytes of one component of a path. */
  readonly componentBytes: number;
  /** Bytes of all paths and link targets together: they stay in memory. */
  readonly totalNameBytes: number;
  /** Bytes of one PAX or GNU long-name header. */
  readonly headerBytes: number;
  /** Zero bytes allowed after the two blocks that end an archive. */
  readonly trailingZeroBytes: number;
  /** Bytes out for each byte in, for gzip. */
  readonly gzipRatio: number;
  /** Output below which the ratio is not judged, so that small repetitive files pass. */
  readonly gzipRatioFloorBytes: number;
  /** Canonical tars up to this size stay in memory; larger ones go to a file. */
  readonly memorySpoolBytes: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_ARCHIVE_LIMITS: ArchiveLimits = {
  bodyBytes: 100 * MIB,
  contentBytes: 512 * MIB,
  entries: 50_000,
  depth: 64,
  // PATH_MAX is 4096 with the terminator and the directory it is unpacked in.
  nameBytes: 4000,
  // NAME_MAX.
  componentBytes: 255,
  totalNameBytes: 16 * MIB,
  headerBytes: 64 * KIB,
  trailingZeroBytes: MIB,
  gzipRatio: 200,
  gzipRatioFloorBytes: 8 * MIB,
  memorySpoolBytes: MIB,
};

/**
 * The longest tar stream a project within the limits can need: its content, and
 * per entry a header, the padding and a PAX header. A gzip body is cut off there.
 */
export function expandedBytes(limits: ArchiveLimits): number {
  return limits.contentBytes + limits.entries * 2 * KIB + 2 * limits.headerBytes + limits.trailingZeroBytes;
}
