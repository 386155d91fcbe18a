/**
 * Walks a tar stream block by block and hands out the entries this service
 * accepts, in order.
 *
 * The verdict is a function of the bytes alone, never of how they were cut into
 * chunks: the first fault in stream order wins. The walker holds at most one
 * block and one meta header, never recurses, and never waits for a body that a
 * type should not have. tar-stream's own extractor is not given callers' bytes,
 * because it hangs on a directory with a size, loses step after an empty meta
 * header, reads on after the end marker, and accepts an archive without one.
 *
 * Names are judged in entry-rules.ts, not here.
 */
import type { ServiceError } from '../domain/errors.ts';
import type { ArchiveLimits } from './archive-limits.ts';
import { checkOverriddenName, type EntryKind } from './entry-rules.ts';
import { isMetaType, MetaHeaders, type MetaType } from './meta-headers.ts';
import { refuseArchive, refuseEntry } from './refusal.ts';
import { BLOCK_BYTES, decodeHeader, hasTarMagic, type TarHeader } from './tar-header.ts';

export interface TarEntry {
  /** As stored, not judged; U+FFFD stands for bytes that are not UTF-8. */
  readonly name: string;
  readonly kind: EntryKind;
  readonly sizeBytes: number;
  readonly executable: boolean;
  /** Only, and always, for a symlink. */
  readonly linkTarget?: string;
}

/** `data` tokens follow their entry and add up to its size. */
export type TarToken =
  { readonly kind: 'entry'; readonly entry: TarEntry } | { readonly kind: 'data'; readonly bytes: Buffer };

type State = 'header' | 'meta' | 'body' | 'padding' | 'trailer';
type WalkerLimits = Pick<ArchiveLimits, 'headerBytes' | 'trailingZeroBytes'>;

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);
const FILE_TYPES = new Set(['0', '\0', '7']);
const SPECIAL_TYPES: ReadonlyMap<string, string> = new Map([
  ['3', 'a character device'],
  ['4', 'a block device'],
  ['6', 'a named pipe'],
]);

export class TarWalker {
  readonly #limits: WalkerLimits;
  readonly #notATar: (firstBytes: Buffer) => ServiceError;
  readonly #meta = new MetaHeaders();
  readonly #block = Buffer.alloc(BLOCK_BYTES);
  #state: State = 'header';
  #filled = 0;
  #isFirst = true;
  #zeroBlocks = 0;
  #metaType: MetaType = 'x';
  #metaBody = Buffer.alloc(0);
  /** Bytes left of the body or the padding at hand. */
  #left = 0;
  #paddingBytes = 0;
  #trailingBytes = 0;
  /** The entry whose body or padding is at hand; none within a meta header. */
  #entryName: string | undefined;

  /** `notATar` names what a stream is whose first block is no tar header. */
  constructor(limits: WalkerLimits, notATar: (firstBytes: Buffer) => ServiceError) {
    this.#limits = limits;
    this.#notATar = notATar;
  }

  /** Takes the next bytes. `data` tokens are views into `chunk`. */
  *feed(chunk: Buffer): Generator<TarToken, void, void> {
    let at = 0;
    while (at < chunk.length) {
      const available = chunk.length - at;
      if (this.#state === 'header') {
        const taken = Math.min(BLOCK_BYTES - this.#filled, available);
        const isWhole = taken === BLOCK_BYTES;
        if (!isWhole) chunk.copy(this.#block, this.#filled, at, at + taken);
        this.#filled += taken;
        at += taken;
        if (this.#filled < BLOCK_BYTES) return;
        this.#filled = 0;
        const entry = this.#takeBlock(isWhole ? chunk.subarray(at - BLOCK_BYTES, at) : this.#block);
        if (entry) yield { kind: 'entry', entry };
      } else if (this.#state === 'meta') {
        const taken = Math.min(this.#metaBody.length - this.#filled, available);
        chunk.copy(this.#metaBody, this.#filled, at, at + taken);
        this.#filled += taken;
        at += taken;
        if (this.#filled === this.#metaBody.length) this.#takeMeta();
      } else if (this.#state === 'trailer') {
        this.#takeTrailer(chunk.subarray(at));
        return;
      } else {
        const taken = Math.min(this.#left, available);
        if (this.#state === 'body') yield { kind: 'data', bytes: chunk.subarray(at, at + taken) };
        this.#left -= taken;
        at += taken;
        if (this.#left > 0) return;
        if (this.#state === 'body') this.#startPadding();
        else this.#state = 'header';
      }
    }
  }

  /** Says that the stream is over. Throws unless the archive is complete. */
  finish(): void {
    if (this.#state === 'trailer') return;
    const startsLikeATar = hasTarMagic(this.#block.subarray(0, this.#filled));
    if (this.#isFirst && !startsLikeATar) throw this.#notATar(this.#block.subarray(0, this.#filled));
    if (this.#entryName !== undefined && this.#state !== 'header') {
      throw refuseEntry('truncated', this.#entryName, 'is cut off');
    }
    throw refuseArchive('truncated', 'The archive ends before its end marker of two zero blocks.');
  }

  #takeBlock(block: Buffer): TarEntry | undefined {
    if (block[0] === 0 && block.equals(ZERO_BLOCK)) {
      if (this.#meta.pending) throw refuseArchive('ambiguous_header', 'A header at the end describes no entry.');
      this.#isFirst = false;
      this.#zeroBlocks++;
      if (this.#zeroBlocks === 2) this.#state = 'trailer';
      return undefined;
    }
    if (!hasTarMagic(block)) {
      if (this.#isFirst) throw this.#notATar(block);
      if (this.#zeroBlocks === 0) throw refuseArchive('invalid_header', 'Where a header belongs there is none.');
    }
    if (this.#zeroBlocks > 0) throw refuseArchive('trailing_data', 'The archive continues after a zero block.');
    this.#isFirst = false;
    const header = decodeHeader(block);
    if (isMetaType(header.type)) {
      this.#startMeta(header.type, header.sizeBytes);
      return undefined;
    }
    return this.#takeEntry(header);
  }

  /** An empty meta header, or a huge one, is where other readers lose step. */
  #startMeta(type: MetaType, sizeBytes: number): void {
    this.#meta.expect(type);
    if (sizeBytes < 1) throw refuseArchive('invalid_header', `A header of type ${type} is empty.`);
    if (sizeBytes > this.#limits.headerBytes) {
      throw refuseArchive('header_too_large', `A header of type ${type} exceeds ${this.#limits.headerBytes} bytes.`);
    }
    this.#metaType = type;
    this.#entryName = undefined;
    this.#metaBody = Buffer.alloc(sizeBytes);
    this.#state = 'meta';
  }

  #takeMeta(): void {
    this.#filled = 0;
    this.#meta.add(this.#metaType, this.#metaBody);
    this.#paddingBytes = paddingOf(this.#metaBody.length);
    this.#metaBody = Buffer.alloc(0);
    this.#startPadding();
  }

  #takeEntry(header: TarHeader): TarEntry {
    const kind = kindOf(header);
    const overrides = this.#meta.take(kind === 'symlink');
    if (overrides.name !== undefined) checkOverriddenName(header.name, header.nameMayBeCut);
    const name = (overrides.name ?? header.name).toString('utf8');
    this.#entryName = name;
    if (overrides.name === undefined && header.nameHasTail) {
      throw refuseEntry('invalid_name', name, 'has a name with bytes after its end');
    }
    const sizeBytes = overrides.sizeBytes ?? header.sizeBytes;
    const { executable } = header;
    if (kind === 'file') {
      this.#paddingBytes = paddingOf(sizeBytes);
      this.#left = sizeBytes;
      if (sizeBytes > 0) this.#state = 'body';
      return { name, kind, sizeBytes, executable };
    }
    // Some readers skip such a body, others parse it as further entries.
    if (sizeBytes !== 0 || header.sizeBytes !== 0) {
      throw refuseEntry('invalid_header', name, `is a ${kind} with content`);
    }
    if (kind === 'directory') return { name, kind, sizeBytes, executable: true };
    if (overrides.linkName === undefined && header.linkNameHasTail) {
      throw refuseEntry('invalid_name', name, 'has a link target with bytes after its end');
    }
    return {
      name,
      kind,
      sizeBytes,
      executable: false,
      linkTarget: (overrides.linkName ?? header.linkName).toString('utf8'),
    };
  }

  #startPadding(): void {
    this.#left = this.#paddingBytes;
    this.#state = this.#left > 0 ? 'padding' : 'header';
  }

  #takeTrailer(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
      const part = bytes.subarray(at, at + BLOCK_BYTES);
      const room = this.#limits.trailingZeroBytes - this.#trailingBytes;
      if (!part.subarray(0, room).equals(ZERO_BLOCK.subarray(0, Math.min(part.length, room)))) {
        throw refuseArchive('trailing_data', 'The archive continues after its end marker.');
      }
      if (part.length > room) {
        throw refuseArchive(
          'trailing_data',
          `More than ${this.#limits.trailingZeroBytes} zero bytes follow the end of the archive.`,
        );
      }
      this.#trailingBytes += part.length;
    }
  }
}

function kindOf(header: TarHeader): EntryKind {
  const { type } = header;
  if (FILE_TYPES.has(type)) return 'file';
  if (type === '5') return 'directory';
  if (type === '2') return 'symlink';
  const name = header.name.toString('utf8');
  if (type === '1') throw refuseEntry('hard_link', name, 'is a hard link');
  if (type === 'S') throw refuseEntry('sparse_file', name, 'is a sparse file');
  const special = SPECIAL_TYPES.get(type);
  if (special !== undefined) throw refuseEntry('special_file', name, `is ${special}`);
  throw refuseEntry('unsupported_entry_type', name, `has type ${JSON.stringify(type)}, which is refused`);
}

function paddingOf(sizeBytes: number): number {
  return (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
}
