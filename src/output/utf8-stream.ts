/**
 * Turns the bytes of one stream into text, however they were cut.
 *
 * A character cut at the end of a chunk waits for its rest. Bytes that are not
 * UTF-8 are passed on as base64, so that nothing is lost or replaced.
 */
import { isAscii, isUtf8 } from 'node:buffer';

/** Some bytes of a stream, and what they are: text, most of it ASCII, or no text. They are not copied. */
export interface TextPiece {
  readonly bytes: Buffer;
  readonly kind: 'ascii' | 'utf8' | 'binary';
}

/** Bytes at the end of `data` that begin a character which is not complete; 0 to 3. */
export function unfinishedBytes(data: Buffer): number {
  for (let back = 1; back <= Math.min(3, data.length); back += 1) {
    const byte = data[data.length - back] ?? 0;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return length > back ? back : 0;
    }
  }
  return 0;
}

/** Bytes at the start of `data` that end a character whose beginning is not there; 0 to 3. */
export function orphanedBytes(data: Buffer): number {
  let count = 0;
  while (count < Math.min(3, data.length) && ((data[count] ?? 0) & 0xc0) === 0x80) count += 1;
  return count;
}

export class Utf8Stream {
  #waiting: Buffer = Buffer.alloc(0);
  #isTorn = false;

  /** The text that is complete with `chunk`: nothing, or one piece; two after bytes were lost inside a character. */
  push(chunk: Buffer): readonly TextPiece[] {
    if (this.#isTorn && chunk.length > 0) {
      this.#isTorn = false;
      const orphaned = orphanedBytes(chunk);
      if (orphaned > 0) return [...piece(chunk.subarray(0, orphaned)), ...this.push(chunk.subarray(orphaned))];
    }
    const data = this.#waiting.length > 0 ? Buffer.concat([this.#waiting, chunk]) : chunk;
    const unfinished = unfinishedBytes(data);
    this.#waiting = unfinished > 0 ? Buffer.from(data.subarray(data.length - unfinished)) : Buffer.alloc(0);
    return piece(unfinished > 0 ? data.subarray(0, data.length - unfinished) : data);
  }

  /** What was still waiting, where bytes of the stream are lost: what comes next may begin inside a character. */
  tear(): readonly TextPiece[] {
    this.#isTorn = true;
    return this.end();
  }

  /** What was still waiting, at the end of the stream. */
  end(): readonly TextPiece[] {
    const rest = this.#waiting;
    this.#waiting = Buffer.alloc(0);
    return piece(rest);
  }
}

function piece(data: Buffer): readonly TextPiece[] {
  if (data.length === 0) return [];
  return [{ bytes: data, kind: isAscii(data) ? 'ascii' : isUtf8(data) ? 'utf8' : 'binary' }];
}
