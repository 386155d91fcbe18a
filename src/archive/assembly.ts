/**
 * Turns entries, one after another, into a Project: judges each, adds it to the
 * tree, encodes it. Both doors of this stage (read-project.ts and
 * build-project.ts) end here, so a tar and a JSON request obey the same rules.
 *
 * Whoever makes an Assembly must end it with `finish` or `abandon`.
 */
import type { Project, ProjectEntry } from '../domain/project.ts';
import type { ArchiveLimits } from './archive-limits.ts';
import { CanonicalTar } from './canonical-tar.ts';
import { checkLinkTarget, checkPath } from './entry-rules.ts';
import { checkLinkChains } from './link-chains.ts';
import { ProjectTree } from './project-tree.ts';
import { Spool } from './spool.ts';
import type { TarEntry } from './tar-walker.ts';

export interface AssemblyOptions {
  readonly limits: ArchiveLimits;
  /** Where a project too large for memory is kept. Must exist. */
  readonly spoolDirectory: string;
  /** Paths, relative to the root, that a project must not use, nor anything below them. */
  readonly reservedNames?: readonly string[];
  /** Hears of every entry as it comes, accepted or not. */
  readonly onEntry?: () => void;
}

export class Assembly {
  readonly #limits: ArchiveLimits;
  readonly #tree: ProjectTree;
  readonly #spool: Spool;
  readonly #tar: CanonicalTar;
  readonly #onEntry: (() => void) | undefined;
  #bytesToCome = 0;

  constructor(options: AssemblyOptions) {
    this.#limits = options.limits;
    this.#onEntry = options.onEntry;
    this.#tree = new ProjectTree(options.limits, options.reservedNames ?? []);
    this.#spool = new Spool({ memoryBytes: options.limits.memorySpoolBytes, directory: options.spoolDirectory });
    this.#tar = new CanonicalTar(this.#spool);
  }

  async entry(entry: TarEntry): Promise<void> {
    this.#onEntry?.();
    const { name, kind, sizeBytes, executable, linkTarget } = entry;
    const components = checkPath(name, kind, this.#limits);
    const link =
      linkTarget === undefined
        ? undefined
        : {
            target: linkTarget,
            components: checkLinkTarget(name, linkTarget, components.length - 1, this.#limits),
          };
    for (const added of this.#tree.add(components, { kind, sizeBytes, executable, ...(link && { link }) })) {
      await this.#tar.start(added);
    }
    if (kind !== 'file') return;
    this.#bytesToCome = sizeBytes;
    if (sizeBytes === 0) await this.#tar.endFile();
  }

  /** The next bytes of the last file. A promise, when given, must settle before the next call. */
  content(bytes: Uint8Array): Promise<void> | undefined {
    this.#bytesToCome -= bytes.length;
    const written = this.#tar.write(bytes);
    if (this.#bytesToCome > 0) return written;
    return written ? written.then(() => this.#tar.endFile()) : this.#tar.endFile();
  }

  /** Judges the project as a whole and hands it over. */
  async finish(): Promise<Project> {
    this.#tree.checkNotEmpty();
    checkLinkChains(this.#tree.links);
    await this.#tar.finish();
    const spool = this.#spool;
    const sha256 = await spool.finish();
    const entries: readonly ProjectEntry[] = this.#tree.entries;
    return {
      entries,
      contentBytes: this.#tree.contentBytes,
      tarBytes: spool.bytes,
      sha256,
      read: () => spool.read(),
      readInto: (target, position) => spool.readInto(target, position),
      dispose: () => spool.dispose(),
    };
  }

  /** Drops everything. */
  async abandon(): Promise<void> {
    await this.#tar.abandon();
    await this.#spool.dispose();
  }
}
