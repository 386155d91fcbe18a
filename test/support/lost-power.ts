/**
 * The directory a machine would find after it lost its power: rebuilt from the system calls of the process that
 * wrote to it, without what was not synced.
 *
 * The disk is as bad as POSIX lets it be. Of a file there is what an fsync or fdatasync of it covered that had
 * returned, and of the rest nothing, or any choice of its 4 KiB pages. A name is there, or gone, or another's, once
 * its directory was synced after that; until then as it was, or either. No file system is asked to be kinder, as
 * those with a journal are, which write a file's name when the file is synced.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { descriptorOf, lastNumberOf, pathsOf, stringsOf, type Call, type Moment } from './traced-calls.ts';

const PAGE_BYTES = 4096;

/** `synced`: nothing else. `everything`: as when the process is killed. A function: which of so many versions. */
export type Keeping = 'synced' | 'everything' | ((versions: number) => number);

interface Content {
  readonly pages: readonly (Buffer | undefined)[];
  readonly size: number;
}

const NOTHING: Content = { pages: [], size: 0 };

class File {
  now: Content = NOTHING;
  /** How often it was changed. */
  version = 0;
  /** What is on the disk for certain. */
  synced = { content: NOTHING, version: 0 };
  /** What was there since, page by page. */
  #since: { readonly version: number; readonly page: number; readonly bytes: Buffer }[] = [];
  #sizes: { readonly version: number; readonly size: number }[] = [];

  write(data: Buffer, position: number): void {
    const pages = [...this.now.pages];
    this.version += 1;
    for (let at = 0; at < data.length;) {
      const page = Math.floor((position + at) / PAGE_BYTES);
      const begin = (position + at) % PAGE_BYTES;
      const bytes = Buffer.alloc(PAGE_BYTES);
      pages[page]?.copy(bytes);
      at += data.copy(bytes, begin, at);
      pages[page] = bytes;
      this.#since.push({ version: this.version, page, bytes });
    }
    this.#become({ pages, size: Math.max(this.now.size, position + data.length) });
  }

  truncate(size: number): void {
    const last = Math.ceil(size / PAGE_BYTES) - 1;
    const pages = this.now.pages.slice(0, last + 1);
    this.version += 1;
    const partial = pages[last];
    if (partial && size % PAGE_BYTES > 0) {
      const bytes = Buffer.alloc(PAGE_BYTES);
      partial.copy(bytes, 0, 0, size % PAGE_BYTES);
      pages[last] = bytes;
    }
    this.#become({ pages, size });
  }

  /** What was there at that version is on the disk. */
  sync(content: Content, version: number): void {
    if (version < this.synced.version) return;
    this.synced = { content, version };
    this.#since = this.#since.filter((each) => each.version > version);
    this.#sizes = this.#sizes.filter((each) => each.version > version);
  }

  rebuilt(keeping: Keeping): Buffer {
    if (keeping === 'synced') return bytesOf(this.synced.content);
    if (keeping === 'everything') return bytesOf(this.now);
    const sizes = [this.synced.content.size, ...this.#sizes.map(({ size }) => size)];
    const pages = [...this.synced.content.pages];
    for (const [page, changes] of Map.groupBy(this.#since, (each) => each.page)) {
      const chosen = keeping(changes.length + 1);
      if (chosen > 0) pages[page] = changes[chosen - 1]?.bytes;
    }
    return bytesOf({ pages, size: sizes[keeping(sizes.length)] ?? 0 });
  }

  #become(content: Content): void {
    this.now = content;
    this.#sizes.push({ version: this.version, size: content.size });
  }
}

function bytesOf({ pages, size }: Content): Buffer {
  const bytes = Buffer.alloc(size);
  for (const [page, content] of pages.entries()) content?.copy(bytes, page * PAGE_BYTES);
  return bytes;
}

type Names = Map<string, File | Directory>;

class Directory {
  readonly names: Names = new Map();
  synced: Names = new Map();

  rebuilt(keeping: Keeping): Names {
    if (keeping === 'synced') return this.synced;
    if (keeping === 'everything') return this.names;
    const chosen: Names = new Map();
    for (const name of new Set([...this.synced.keys(), ...this.names.keys()])) {
      const either = [this.synced.get(name), this.names.get(name)];
      const node = either[0] === either[1] ? either[0] : either[keeping(2)];
      if (node) chosen.set(name, node);
    }
    return chosen;
  }
}

const WRITES = new Set(['write', 'writev', 'pwrite64', 'pwritev', 'pwritev2']);
const SYNCS = new Set(['fsync', 'fdatasync']);

export class LostPower {
  readonly #root: string;
  readonly #isVolatile: (path: string) => boolean;
  readonly #top = new Directory();
  /** Where writes without a place of their own go, by descriptor. */
  readonly #positions = new Map<number, number | 'end'>();
  /** What syncs in progress will have made sure of. */
  readonly #syncing = new Map<Call, () => void>();

  /**
   * @param root an empty directory, whose own name is on the disk.
   * @param isVolatile files that are memory shared by processes, and are made anew: `-shm` of SQLite.
   */
  constructor(root: string, isVolatile: (path: string) => boolean = () => false) {
    this.#root = root;
    this.#isVolatile = isVolatile;
  }

  /** Takes the next moment of the trace. @throws {Error} for a call that changes a file in a way not known here. */
  take({ at, call }: Moment): void {
    if (at === 'began') {
      // What is written while it goes on it may miss.
      if (SYNCS.has(call.name)) this.#beginSync(call);
      return;
    }
    if (call.result === undefined || call.result < 0) return;
    if (SYNCS.has(call.name)) {
      this.#syncing.get(call)?.();
      this.#syncing.delete(call);
    } else if (WRITES.has(call.name)) this.#write(call);
    else this.#change(call);
  }

  /** Writes the directory as it may be found after the moment that was taken last. */
  rebuild(target: string, keeping: Keeping): void {
    write(this.#top, target, keeping);
  }

  #beginSync(call: Call): void {
    const node = this.#open(descriptorOf(call).path);
    if (node instanceof File) {
      const { now, version } = node;
      this.#syncing.set(call, () => {
        node.sync(now, version);
      });
    } else if (node) {
      const names = new Map(node.names);
      this.#syncing.set(call, () => {
        node.synced = names;
      });
    }
  }

  #write(call: Call): void {
    const { number, path } = descriptorOf(call);
    const file = this.#open(path);
    if (!(file instanceof File)) return;
    const data = Buffer.concat(stringsOf(call)).subarray(0, call.result);
    if (data.length !== call.result) throw new Error(`the trace lacks what ${call.name} wrote`);
    if (call.name.startsWith('p')) {
      file.write(data, lastNumberOf(call));
      return;
    }
    const position = this.#positions.get(number) ?? 0;
    const from = position === 'end' ? file.now.size : position;
    file.write(data, from);
    if (position !== 'end') this.#positions.set(number, from + data.length);
  }

  #change(call: Call): void {
    switch (call.name) {
      case 'open':
      case 'openat':
        this.#opened(call);
        break;
      case 'mkdir':
      case 'mkdirat':
        this.#place(pathsOf(call)[0], new Directory());
        break;
      case 'unlink':
      case 'unlinkat':
      case 'rmdir':
        this.#place(pathsOf(call)[0], undefined);
        break;
      case 'rename':
      case 'renameat':
      case 'renameat2': {
        const [from = '', to] = pathsOf(call);
        const node = this.#nodeOf(from);
        this.#place(from, undefined);
        this.#place(to, node);
        break;
      }
      case 'ftruncate': {
        const file = this.#open(descriptorOf(call).path);
        if (file instanceof File) file.truncate(lastNumberOf(call));
        break;
      }
      case 'mmap':
        if (call.text.includes('MAP_SHARED') && call.text.includes('PROT_WRITE')) this.#refuse(call);
        break;
      default:
        this.#refuse(call);
    }
  }

  #opened(call: Call): void {
    const [path = ''] = pathsOf(call);
    if (this.#placeIn(path) === undefined) return;
    if (call.text.includes('O_CREAT') && !this.#nodeOf(path)) this.#place(path, new File());
    const file = this.#nodeOf(path);
    if (call.text.includes('O_TRUNC') && file instanceof File && file.now.size > 0) file.truncate(0);
    this.#positions.set(call.result ?? -1, call.text.includes('O_APPEND') ? 'end' : 0);
  }

  /** @throws {Error} where it is about something in the directory. */
  #refuse(call: Call): void {
    const named = [
      ...pathsOf(call),
      ...[...call.text.matchAll(/\d+<([^>]*)>/g)].map(([of]) => descriptorOf({ ...call, text: of }).path),
    ];
    const ours = named.find((path) => this.#placeIn(path) !== undefined);
    if (ours !== undefined) throw new Error(`${call.name} of ${ours}: what the disk has of it is not known`);
  }

  /** What a descriptor of this path is open on, if it is ours and has its name still. */
  #open(path: string): File | Directory | undefined {
    if (path === this.#root) return this.#top;
    return this.#placeIn(path) === undefined ? undefined : this.#nodeOf(path);
  }

  #nodeOf(path: string): File | Directory | undefined {
    const place = this.#placeIn(path);
    return place?.directory?.names.get(place.name);
  }

  #place(path: string | undefined, node: File | Directory | undefined): void {
    const place = path === undefined ? undefined : this.#placeIn(path);
    if (!place) return;
    if (!place.directory) throw new Error(`${String(path)} lies in a directory that was never made`);
    if (node) place.directory.names.set(place.name, node);
    else place.directory.names.delete(place.name);
  }

  /** The directory of a path and its name in it; undefined where it is not below the root. */
  #placeIn(path: string): { readonly directory: Directory | undefined; readonly name: string } | undefined {
    const parts = relative(this.#root, path).split(sep);
    const name = parts.pop() ?? '';
    if (path === this.#root || parts[0] === '..' || name === '..' || this.#isVolatile(path)) return undefined;
    let directory: Directory | undefined = this.#top;
    for (const part of parts) {
      const next: File | Directory | undefined = directory?.names.get(part);
      directory = next instanceof Directory ? next : undefined;
    }
    return { directory, name };
  }
}

function write(directory: Directory, target: string, keeping: Keeping): void {
  mkdirSync(target, { recursive: true, mode: 0o700 });
  for (const [name, node] of directory.rebuilt(keeping)) {
    const path = join(target, name);
    if (node instanceof Directory) write(node, path, keeping);
    else writeFileSync(path, node.rebuilt(keeping), { mode: 0o600 });
  }
}
