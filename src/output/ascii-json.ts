/**
 * ASCII as a JSON string, for output with long stretches of nothing to escape: the
 * bytes are looked at four at a time, and never become a string.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const FIRST_PRINTABLE = 0x20;
/** A stretch costs as much as about so many bytes do in JSON.stringify. */
const STRETCH_BYTES = 512;
/** So many short stretches may come first. */
const SHORT_STRETCHES = 8;

/**
 * What JSON.stringify would give for `ascii`, in parts; undefined where JSON.stringify is quicker.
 * Every byte must be below 128.
 */
export function asciiJson(ascii: Buffer): readonly (string | Buffer)[] | undefined {
  const parts: (string | Buffer)[] = ['"'];
  let done = 0;
  let escapes = 0;
  for (let at = nextEscaped(ascii, 0); at < ascii.length; at = nextEscaped(ascii, done)) {
    escapes += 1;
    if (escapes > SHORT_STRETCHES + at / STRETCH_BYTES) return undefined;
    if (at > done) parts.push(ascii.subarray(done, at));
    parts.push(JSON.stringify(String.fromCharCode(ascii[at] ?? 0)).slice(1, -1));
    done = at + 1;
  }
  if (done < ascii.length) parts.push(ascii.subarray(done));
  parts.push('"');
  return parts;
}

function isEscaped(byte: number): boolean {
  return byte < FIRST_PRINTABLE || byte === QUOTE || byte === BACKSLASH;
}

/** Where the next byte from `start` on is that a JSON string cannot hold as it is; the length when there is none. */
function nextEscaped(ascii: Buffer, start: number): number {
  const end = ascii.length;
  let at = start;
  while (at < end && (ascii.byteOffset + at) % 4 !== 0) {
    if (isEscaped(ascii[at] ?? 0)) return at;
    at += 1;
  }
  if (at === end) return end;
  const words = new Uint32Array(ascii.buffer, ascii.byteOffset + at, (end - at) >>> 2);
  const count = words.length;
  let index = 0;
  for (; index < count; index += 1) {
    const word = words[index] ?? 0;
    // A byte that is smaller than what is taken from it borrows, and shows in its highest bit, which ASCII leaves free.
    const below = word - 0x20202020;
    const quote = (word ^ 0x22222222) - 0x01010101;
    const backslash = (word ^ 0x5c5c5c5c) - 0x01010101;
    if (((below | quote | backslash) & 0x80808080) !== 0) break;
  }
  for (at += index * 4; at < end; at += 1) if (isEscaped(ascii[at] ?? 0)) return at;
  return end;
}
