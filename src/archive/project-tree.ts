/**
 * The entries accepted so far, as the tree they will unpack to.
 *
 * A path is taken once and never replaced, and nothing may lie below a file or a
 * link: so no unpacker, in whatever order, can be led to write through a link
 * (CVE-2026-7774, CVE-2025-4517 and their family start that way). Parents that the
 * archive leaves out are added, and count as entries.
 *
 * Names arrive already judged by entry-rules.ts; where links lead is judged by
 * link-chains.ts at the end.
 */
import type { ProjectEntry } from '../domain/project.ts';
import type { ArchiveLimits } from './archive-limits.ts';
import type { EntryKind } from './entry-rules.ts';
import { refuseArchive, refuseEntry } from './refusal.ts';

/** Tens of thousands of these are held at once, so they are kept small. */
export interface TreeNode {
  readonly path: string;
  readonly kind: EntryKind;
  readonly parent: TreeNode | undefined;
  children: Map<string, TreeNode> | undefined;
  /** Directories only: whether the archive has an entry for it, not just for something below. */
  isStated: boolean;
  /** Symlinks only: the components of the target. */
  readonly target: readonly string[];
}

export interface NewEntry {
  readonly kind: EntryKind;
  readonly sizeBytes: number;
  readonly executable: boolean;
  readonly link?: { readonly target: string; readonly components: readonly string[] };
}

const NO_TARGET: readonly string[] = [];

type TreeLimits = Pick<ArchiveLimits, 'entries' | 'contentBytes' | 'totalNameBytes'>;

export class ProjectTree {
  readonly root = node('', 'directory', undefined, NO_TARGET);
  readonly entries: ProjectEntry[] = [];
  readonly links: TreeNode[] = [];
  contentBytes = 0;
  #nameBytes = 0;
  #files = 0;
  readonly #limits: TreeLimits;
  readonly #reserved: readonly string[];

  constructor(limits: TreeLimits, reservedNames: readonly string[]) {
    this.#limits = limits;
    this.#reserved = reservedNames;
  }

  /**
   * Adds an entry and returns what is new, parents first: nothing when a directory
   * is stated that was already implied.
   */
  add(components: readonly string[], entry: NewEntry): ProjectEntry[] {
    const path = components.join('/');
    this.#checkReserved(path, entry.kind);
    const known = this.entries.length;
    let parent = this.root;
    for (let depth = 0; depth < components.length - 1; depth++) {
      parent = this.#descend(parent, components[depth] as string, path);
    }
    const name = components.at(-1);
    const existing = name === undefined ? this.root : parent.children?.get(name);
    if (existing !== undefined) this.#restate(existing, path, entry.kind);
    else this.#insert(parent, name as string, entry);
    return this.entries.slice(known);
  }

  /** Throws unless there is something to run. */
  checkNotEmpty(): void {
    if (this.#files === 0) throw refuseArchive('empty_project', 'The project holds no file.');
  }

  #descend(parent: TreeNode, name: string, path: string): TreeNode {
    const child = parent.children?.get(name);
    if (child === undefined) {
      const implied = this.#insert(parent, name, { kind: 'directory', sizeBytes: 0, executable: true });
      implied.isStated = false;
      return implied;
    }
    if (child.kind === 'symlink') throw refuseEntry('write_through_link', path, 'lies below a symbolic link');
    if (child.kind === 'file') throw refuseEntry('type_conflict', path, 'lies below an entry that is a file');
    return child;
  }

  #restate(existing: TreeNode, path: string, kind: EntryKind): void {
    if (existing.kind === 'directory' && kind === 'directory' && !existing.isStated) {
      existing.isStated = true;
      return;
    }
    const isConflict = existing.kind !== kind && existing.kind !== 'symlink' && kind !== 'symlink';
    if (isConflict) throw refuseEntry('type_conflict', path, `is a ${kind} here and a ${existing.kind} before`);
    throw refuseEntry('duplicate_entry', path || './', 'appears twice');
  }

  #insert(parent: TreeNode, name: string, entry: NewEntry): TreeNode {
    const path = parent.path === '' ? name : `${parent.path}/${name}`;
    if (this.entries.length >= this.#limits.entries) {
      throw refuseArchive(
        'too_many_entries',
        `The project has more than ${this.#limits.entries} entries, directories included.`,
      );
    }
    this.#nameBytes += Buffer.byteLength(path) + Buffer.byteLength(entry.link?.target ?? '');
    if (this.#nameBytes > this.#limits.totalNameBytes) {
      throw refuseArchive(
        'project_too_large',
        `The names in the project add up to more than ${this.#limits.totalNameBytes} bytes.`,
      );
    }
    this.contentBytes += entry.sizeBytes;
    if (this.contentBytes > this.#limits.contentBytes) {
      throw refuseEntry('project_too_large', path, `takes the project beyond ${this.#limits.contentBytes} bytes`);
    }
    const { kind, sizeBytes, executable, link } = entry;
    const added = node(path, kind, parent, link?.components ?? NO_TARGET);
    parent.children ??= new Map();
    parent.children.set(name, added);
    this.entries.push({ path, kind, sizeBytes, executable, ...(link && { linkTarget: link.target }) });
    if (kind === 'symlink') this.links.push(added);
    if (kind === 'file') this.#files++;
    return added;
  }

  #checkReserved(path: string, kind: EntryKind): void {
    for (const reserved of this.#reserved) {
      const isTaken = path === reserved || path.startsWith(`${reserved}/`);
      const isInTheWay = kind !== 'directory' && reserved.startsWith(`${path}/`);
      if (isTaken || isInTheWay) {
        throw refuseEntry('reserved_name', path, `uses the name ${JSON.stringify(reserved)}, which is reserved`);
      }
    }
  }
}

function node(path: string, kind: EntryKind, parent: TreeNode | undefined, target: readonly string[]): TreeNode {
  return { path, kind, parent, children: undefined, isStated: parent !== undefined, target };
}
