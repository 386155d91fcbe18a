/**
 * Wheels made by hand, well-formed ones and hostile ones: a zip writer that writes
 * what it is told, and the metadata pip reads.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

export interface ZipMember {
  readonly name: string;
  readonly content: string | Uint8Array;
  /** Unix mode, file type included; default a regular file 0644. */
  readonly mode?: number;
}

/** A zip of stored members, with exactly the names and modes given. */
export function zip(members: readonly ZipMember[]): Buffer {
  const bodies: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content, mode = 0o100644 } of members) {
    const data = Buffer.from(content as Uint8Array);
    const path = Buffer.from(name);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(0x0800, 2);
    common.writeUInt32LE(0x00210000, 6);
    common.writeUInt32LE(crc32(data), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(data.length, 18);
    common.writeUInt16LE(path.length, 22);
    bodies.push(Buffer.from('PK\x03\x04'), common, path, data);
    const entry = Buffer.alloc(46);
    entry.write('PK\x01\x02');
    entry.writeUInt16LE(0x0314, 4);
    common.copy(entry, 6);
    entry.writeUInt32LE((mode << 16) >>> 0, 38);
    entry.writeUInt32LE(offset, 42);
    directory.push(entry, path);
    offset += 30 + path.length + data.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06');
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...bodies, central, end]);
}

export interface WheelSpec {
  readonly name: string;
  readonly version?: string;
  /** Files by their path in the wheel. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  readonly requires?: readonly string[];
  readonly extras?: readonly string[];
  readonly requiresPython?: string;
  /** Lines of the section console_scripts. */
  readonly scripts?: readonly string[];
  /** Python, ABI and platform; default `py3-none-any`. */
  readonly tag?: string;
  /** Members beside the files, with any name and mode. */
  readonly members?: readonly ZipMember[];
}

export interface Wheel {
  readonly name: string;
  readonly filename: string;
  readonly content: Buffer;
  readonly sha256: string;
}

/** A wheel; without files it holds one module of its own name. */
export function wheel(spec: WheelSpec): Wheel {
  const { name, version = '1.0', tag = 'py3-none-any' } = spec;
  const module = name.replaceAll('-', '_');
  const info = `${module}-${version}.dist-info`;
  const files = spec.files ?? { [`${module}.py`]: `VERSION = ${JSON.stringify(version)}\n` };
  const metadata = [
    'Metadata-Version: 2.1',
    `Name: ${name}`,
    `Version: ${version}`,
    ...(spec.requiresPython === undefined ? [] : [`Requires-Python: ${spec.requiresPython}`]),
    ...(spec.extras ?? []).map((extra) => `Provides-Extra: ${extra}`),
    ...(spec.requires ?? []).map((line) => `Requires-Dist: ${line}`),
  ];
  const members: ZipMember[] = [
    ...Object.entries(files).map(([path, content]) => ({ name: path, content })),
    ...(spec.members ?? []),
    { name: `${info}/METADATA`, content: `${metadata.join('\n')}\n` },
    {
      name: `${info}/WHEEL`,
      content: `Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: ${String(tag.endsWith('-any'))}\nTag: ${tag}\n`,
    },
    ...(spec.scripts === undefined
      ? []
      : [{ name: `${info}/entry_points.txt`, content: `[console_scripts]\n${spec.scripts.join('\n')}\n` }]),
  ];
  const record = members.map(({ name: path, content }) => {
    const data = Buffer.from(content as Uint8Array);
    return `${path},sha256=${createHash('sha256').update(data).digest('base64url')},${String(data.length)}`;
  });
  const listed = [...members, { name: `${info}/RECORD`, content: `${[...record, `${info}/RECORD,,`].join('\n')}\n` }];
  const content = zip(listed);
  return {
    name,
    filename: `${module}-${version}-${tag}.whl`,
    content,
    sha256: createHash('sha256').update(content).digest('hex'),
  };
}
