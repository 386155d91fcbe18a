/**
 * The files of a canonical tar that is small enough to be held in memory: for those
 * who want to look at a project's sources. It reads what canonical-tar.ts writes and
 * nothing else.
 */
const BLOCK_BYTES = 512;
const text = (bytes: Buffer) => {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
};

export interface CanonicalFile {
  readonly path: string;
  readonly content: Buffer;
}

/** Every regular file, in the order of the archive. */
export function* canonicalFiles(tar: Buffer): Generator<CanonicalFile> {
  let longPath: string | undefined;
  for (let offset = 0; offset + BLOCK_BYTES <= tar.length;) {
    const header = tar.subarray(offset, offset + BLOCK_BYTES);
    if (header[0] === 0) return;
    const sizeBytes = Number.parseInt(header.toString('latin1', 124, 135), 8) || 0;
    const start = offset + BLOCK_BYTES;
    const content = tar.subarray(start, start + sizeBytes);
    const type = header.toString('latin1', 156, 157);
    if (type === 'x') longPath = /\d+ path=([^\n]*)\n/.exec(content.toString('utf8'))?.[1];
    else {
      const prefix = text(header.subarray(345, 500));
      const name = text(header.subarray(0, 100));
      if (type === '0') yield { path: longPath ?? (prefix === '' ? name : `${prefix}/${name}`), content };
      longPath = undefined;
    }
    offset = start + Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
  }
}
