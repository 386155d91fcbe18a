/**
 * Unpacks canonical tars with other people's readers, as the judges of what they
 * really hold: the system's `tar`, Python's `tarfile` and tar-stream.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { extract } from 'tar-stream';

/** One entry as found, in a form that can be compared. */
export interface Found {
  path: string;
  kind: string;
  mode?: string;
  content?: string;
  target?: string;
}

const PYTHON = `
import hashlib, io, json, sys, tarfile
kinds = {tarfile.REGTYPE: 'file', tarfile.DIRTYPE: 'directory', tarfile.SYMTYPE: 'symlink'}
found = []
with tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()), mode='r:') as tar:
    for member in tar:
        kind = kinds[member.type]
        entry = {'path': member.name, 'kind': kind}
        if kind == 'file':
            entry['mode'] = format(member.mode, '04o')
            entry['content'] = hashlib.sha256(tar.extractfile(member).read()).hexdigest()
        if kind == 'directory':
            entry['mode'] = format(member.mode, '04o')
        if kind == 'symlink':
            entry['target'] = member.linkname
        assert (member.uid, member.gid, member.mtime, member.uname, member.gname) == (0, 0, 946684800, '', '')
        found.append(entry)
json.dump(found, sys.stdout)
`;

/** Whether a program is on this machine; tests that need it are skipped where it is not. */
export function hasCommand(name: string): boolean {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0;
}

export const HAS_PYTHON = hasCommand('python3');

export function readWithPython(tar: Buffer): Found[] {
  const output = execFileSync('python3', ['-c', PYTHON], { input: tar, maxBuffer: 1 << 28 });
  return (JSON.parse(output.toString()) as Found[]).sort(byPath);
}

/** Unpacks with the system's tar into a fresh directory and lists what is there. */
export function unpackWithTar(tar: Buffer): Found[] {
  const root = mkdtempSync(join(tmpdir(), 'archive-unpacked-'));
  try {
    execFileSync('tar', ['-x', '-p', '-f', '-', '-C', root], { input: tar, stdio: ['pipe', 'ignore', 'pipe'] });
    return listTree(root, '').sort(byPath);
  } finally {
    rmSync(root, { recursive: true });
  }
}

export async function readWithTarStream(tar: Buffer): Promise<Found[]> {
  const found: Found[] = [];
  const reader = extract();
  Readable.from([tar]).pipe(reader as never);
  for await (const entry of reader) {
    const hash = createHash('sha256');
    for await (const part of entry as AsyncIterable<Buffer>) hash.update(part);
    const { name, type, mode, linkname } = entry.header;
    const path = name.replace(/\/$/, '');
    if (type === 'symlink') found.push({ path, kind: type, target: linkname });
    else {
      const content = type === 'file' ? { content: hash.digest('hex') } : {};
      found.push({ path, kind: type, mode: octal(mode), ...content });
    }
  }
  return found.sort(byPath);
}

function listTree(root: string, below: string): Found[] {
  return readdirSync(join(root, below)).flatMap((name): Found[] => {
    const path = below === '' ? name : `${below}/${name}`;
    const status = lstatSync(join(root, path));
    const mode = octal(status.mode & 0o7777);
    if (status.isSymbolicLink()) return [{ path, kind: 'symlink', target: readlinkSync(join(root, path)) }];
    if (status.isDirectory()) return [{ path, kind: 'directory', mode }, ...listTree(root, path)];
    return [{ path, kind: 'file', mode, content: sha256(readFileSync(join(root, path))) }];
  });
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function byPath(a: { path: string }, b: { path: string }): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
