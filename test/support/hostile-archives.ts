/**
 * Builds tar archives block by block, so that a test can write what no packer
 * would. Nothing here checks or repairs anything: every field can be set to any
 * bytes, and only the checksum is filled in unless the test asks for a wrong one.
 */
const BLOCK = 512;

type Bytes = string | Uint8Array;

export interface HeaderFields {
  name?: Bytes;
  mode?: Bytes;
  uid?: Bytes;
  gid?: Bytes;
  /** A number is written in octal; a string or bytes are the field itself. */
  size?: number | Bytes;
  mtime?: Bytes;
  type?: Bytes;
  linkName?: Bytes;
  magic?: 'posix' | 'gnu' | 'none';
  prefix?: Bytes;
  checksum?: 'right' | 'wrong' | 'signed';
}

/** One header block. */
export function header(fields: HeaderFields = {}): Buffer {
  const block = Buffer.alloc(BLOCK);
  const put = (offset: number, length: number, value: Bytes) => {
    Buffer.from(value as Uint8Array).copy(block, offset, 0, length);
  };
  const { size = 0, magic = 'posix' } = fields;
  put(0, 100, fields.name ?? 'main.py');
  put(100, 8, fields.mode ?? '0000644\0');
  put(108, 8, fields.uid ?? '0000000\0');
  put(116, 8, fields.gid ?? '0000000\0');
  put(124, 12, typeof size === 'number' ? `${size.toString(8).padStart(11, '0')}\0` : size);
  put(136, 12, fields.mtime ?? '00000000000\0');
  put(156, 1, fields.type ?? '0');
  put(157, 100, fields.linkName ?? '');
  if (magic !== 'none') put(257, 8, magic === 'posix' ? 'ustar\x0000' : 'ustar  \0');
  put(345, 155, fields.prefix ?? '');
  return seal(block, fields.checksum);
}

/** Writes the checksum of a header block in place. */
export function seal(block: Buffer, kind: HeaderFields['checksum'] = 'right'): Buffer {
  block.fill(' ', 148, 156);
  const bytes = kind === 'signed' ? new Int8Array(block) : block;
  let sum = kind === 'wrong' ? 1 : 0;
  for (const byte of bytes) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** `content`, filled up to whole blocks. */
export function body(content: Bytes): Buffer {
  const bytes = Buffer.from(content as Uint8Array);
  return Buffer.concat([bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)]);
}

/** A header of any kind and its body, with the size taken from the body unless it is given. */
export function entry(fields: HeaderFields, content: Bytes = ''): Buffer {
  const bytes = Buffer.from(content as Uint8Array);
  return Buffer.concat([header({ size: bytes.length, ...fields }), body(bytes)]);
}

export function file(name: Bytes, content: Bytes = 'print(1)\n', fields: HeaderFields = {}): Buffer {
  return entry({ name, ...fields }, content);
}

export function directory(name: Bytes, fields: HeaderFields = {}): Buffer {
  return header({ name, type: '5', mode: '0000755\0', ...fields });
}

export function symlink(name: Bytes, target: Bytes, fields: HeaderFields = {}): Buffer {
  return header({ name, type: '2', linkName: target, ...fields });
}

export function hardlink(name: Bytes, target: Bytes, fields: HeaderFields = {}): Buffer {
  return header({ name, type: '1', linkName: target, ...fields });
}

/** One PAX record with its own length in front. */
export function paxRecord(key: string, value: Bytes): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value as Uint8Array), Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

export function pax(records: Record<string, Bytes>, type: 'x' | 'g' = 'x'): Buffer {
  const content = Buffer.concat(Object.entries(records).map(([key, value]) => paxRecord(key, value)));
  return entry({ name: 'PaxHeader', type }, content);
}

/** A GNU header for a long name (`L`) or a long link target (`K`). */
export function gnuLong(type: 'L' | 'K', name: Bytes): Buffer {
  return entry(
    { name: '././@LongLink', type, magic: 'gnu' },
    Buffer.concat([Buffer.from(name as Uint8Array), Buffer.alloc(1)]),
  );
}

/** The two zero blocks that end an archive. */
export const END = Buffer.alloc(2 * BLOCK);

/** The parts and the end marker. */
export function archive(...parts: Uint8Array[]): Buffer {
  return Buffer.concat([...parts, END]);
}

/** A base-256 number field. */
export function base256(value: bigint, length: number): Buffer {
  const field = Buffer.alloc(length);
  let left = BigInt.asUintN(8 * length - 1, value);
  for (let i = length - 1; i >= 0; i--) {
    field[i] = Number(left & 0xffn);
    left >>= 8n;
  }
  field[0] = (field[0] as number) | (value < 0n ? 0xff : 0x80);
  return field;
}
