/**
 * The gate for archives: a caller's bytes in, a checked canonical Project out.
 *
 * The archive is refused at its first fault; nothing is repaired or skipped. The
 * verdict depends on the bytes alone, not on their chunks. Whatever ends the read
 * (a refusal, an abort, a failing source, a full disk), memory and storage are
 * free again when the promise settles.
 *
 * It does not know about HTTP and does not run anything.
 */
import type { Project } from '../domain/project.ts';
import type { ArchiveLimits } from './archive-limits.ts';
import { Assembly, type AssemblyOptions } from './assembly.ts';
import { cancellable, capped, peek } from './byte-source.ts';
import { gunzip } from './gunzip.ts';
import { hasGzipMagic } from './gzip-header.ts';
import { explainNotATar } from './not-a-tar.ts';
import { TarWalker } from './tar-walker.ts';

export { type ArchiveLimits, DEFAULT_ARCHIVE_LIMITS } from './archive-limits.ts';

export interface ReadProjectOptions extends AssemblyOptions {
  /** Whether the body is gzipped; `detect` goes by its first two bytes. */
  readonly gzip: boolean | 'detect';
  /** Hears how many bytes of tar have come, decompressed; each time they are in a buffer of their own. */
  readonly onBytes?: (bytes: number) => void;
  /** Its reason is thrown as it is. */
  readonly signal?: AbortSignal;
}

/**
 * Reads `source` to its end or to the first fault.
 *
 * A fault closes the source's iterator, which for a Node stream destroys it: pass
 * `stream.iterator({ destroyOnReturn: false })` where the connection must survive
 * to carry the answer. Chunks must not be reused by whoever made them.
 *
 * Throws a ServiceError of the archive group, `body_too_large` or `storage_full`;
 * errors of the source and the signal's reason pass through unchanged.
 */
export async function readProject(source: AsyncIterable<Uint8Array>, options: ReadProjectOptions): Promise<Project> {
  const body = capped(cancellable(source, options.signal), options.limits.bodyBytes);
  const assembly = new Assembly(options);
  try {
    const { bytes, isGzip } = await decoded(body, options.gzip, options.limits);
    const walker = new TarWalker(options.limits, explainNotATar(isGzip));
    await assembleFrom(bytes, walker, assembly, options.onBytes);
    options.signal?.throwIfAborted();
    return await assembly.finish();
  } catch (error) {
    await assembly.abandon();
    throw error;
  } finally {
    await body.return();
  }
}

/** Hands every entry of a tar to the assembly, as the walker finds them, to the end of the tar. */
export async function assembleFrom(
  tar: AsyncIterable<Buffer>,
  walker: TarWalker,
  assembly: Assembly,
  onBytes?: (bytes: number) => void,
): Promise<void> {
  for await (const chunk of tar) {
    onBytes?.(chunk.length);
    for (const token of walker.feed(chunk)) {
      if (token.kind === 'entry') {
        await assembly.entry(token.entry);
        continue;
      }
      const written = assembly.content(token.bytes);
      if (written) await written;
    }
  }
  walker.finish();
}

async function decoded(
  body: AsyncGenerator<Buffer, void, void>,
  gzip: boolean | 'detect',
  limits: ArchiveLimits,
): Promise<{ bytes: AsyncIterable<Buffer>; isGzip: boolean }> {
  const { first, all } = await peek(body, 2);
  const isGzip = gzip === 'detect' ? hasGzipMagic(first) : gzip;
  return { bytes: isGzip ? gunzip(all, limits) : all, isGzip };
}
