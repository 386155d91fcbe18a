/**
 * Collects the headers that describe the next entry: PAX `x`, GNU `L` and `K`,
 * and the global PAX `g`.
 *
 * What two readers could combine differently is refused: `x` beside `L` or `K`,
 * the same header twice, a header with nothing to describe. (Applying a PAX size
 * to the wrong header is GHSA-3cv2-h65g-fgmm and CVE-2025-62518.) A `g` header
 * may hold `comment` only, once, which is what `git archive` writes.
 */
import { decodePaxRecords, type PaxRecords } from './pax-records.ts';
import { refuseArchive } from './refusal.ts';

export type MetaType = 'x' | 'g' | 'L' | 'K';

/** What the collected headers say about the entry that follows them. */
export interface Overrides {
  readonly name?: Buffer;
  readonly linkName?: Buffer;
  readonly sizeBytes?: number;
}

export function isMetaType(type: string): type is MetaType {
  return type === 'x' || type === 'g' || type === 'L' || type === 'K';
}

export class MetaHeaders {
  #pax: PaxRecords | undefined;
  #longName: Buffer | undefined;
  #longLink: Buffer | undefined;
  #hasGlobal = false;

  /** Whether an entry must follow. */
  get pending(): boolean {
    return this.#pax !== undefined || this.#longName !== undefined || this.#longLink !== undefined;
  }

  /** Refuses a header that must not stand here, before its body is read. */
  expect(type: MetaType): void {
    const repeated =
      (type === 'L' && this.#longName !== undefined) ||
      (type === 'K' && this.#longLink !== undefined) ||
      (type === 'x' && this.pending) ||
      (type === 'g' && (this.pending || this.#hasGlobal)) ||
      this.#pax !== undefined;
    if (repeated) {
      throw refuseArchive('ambiguous_header', `A header of type ${type} follows one it contradicts or repeats.`);
    }
  }

  add(type: MetaType, body: Buffer): void {
    if (type === 'L') this.#longName = withoutTerminator(body);
    else if (type === 'K') this.#longLink = withoutTerminator(body);
    else if (type === 'x') this.#pax = decodePaxRecords(body);
    else this.#checkGlobal(decodePaxRecords(body));
  }

  /** Hands over what applies to the entry at hand and forgets it. */
  take(isLink: boolean): Overrides {
    const name = this.#longName ?? this.#pax?.path;
    const linkName = this.#longLink ?? this.#pax?.linkPath;
    const sizeBytes = this.#pax?.sizeBytes;
    this.#longName = this.#longLink = this.#pax = undefined;
    if (linkName !== undefined && !isLink) {
      throw refuseArchive('ambiguous_header', 'A header states a link target for an entry that is not a link.');
    }
    return {
      ...(name !== undefined && { name }),
      ...(linkName !== undefined && { linkName }),
      ...(sizeBytes !== undefined && { sizeBytes }),
    };
  }

  #checkGlobal({ keys }: PaxRecords): void {
    this.#hasGlobal = true;
    for (const key of keys) {
      if (key !== 'comment') {
        throw refuseArchive(
          'ambiguous_header',
          'A global PAX header sets more than a comment, which tars apply differently.',
        );
      }
    }
  }
}

/** GNU ends a long name with NUL. A NUL before the end stays and is refused with the name. */
function withoutTerminator(body: Buffer): Buffer {
  let end = body.length;
  while (end > 0 && body[end - 1] === 0) end--;
  return body.subarray(0, end);
}
