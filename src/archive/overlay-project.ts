/**
 * The gate for files that lie over a project for one run of several: the rules of
 * build-project.ts, and those of a project in which they replace what has their path.
 *
 * A file may replace a file. It may not lie where the project has a directory or a
 * link, nor below a file or a link, so that nothing is ever written through a link.
 */
import type { InputFile, Overlay } from '../domain/inputs.ts';
import { diskBytes, type Project, type ProjectEntry } from '../domain/project.ts';
import type { AssemblyOptions } from './assembly.ts';
import { buildProject } from './build-project.ts';
import { refuseArchive, refuseEntry } from './refusal.ts';

export class ProjectOverlays {
  readonly #options: AssemblyOptions;
  readonly #project: Project;
  readonly #kinds: ReadonlyMap<string, ProjectEntry['kind']>;

  constructor(project: Project, options: AssemblyOptions) {
    this.#options = options;
    this.#project = project;
    this.#kinds = new Map(project.entries.map(({ path, kind }) => [path, kind]));
  }

  /** Throws the ServiceErrors of buildProject, each while the file at fault is the last that was taken from `files`. */
  async build(files: Iterable<InputFile>): Promise<Overlay> {
    const built = await buildProject(this.#judged(files), this.#options);
    try {
      this.#checkTotals(built);
      const tar = new Uint8Array(built.tarBytes);
      for (let at = 0; at < tar.length;) at += await built.readInto(tar.subarray(at), at);
      const paths = built.entries.filter(({ kind }) => kind === 'file').map(({ path }) => path);
      return { tar, diskBytes: diskBytes(built.entries), paths };
    } finally {
      await built.dispose();
    }
  }

  /** The files, each compared with the project once the gate has accepted it. */
  *#judged(files: Iterable<InputFile>): Generator<InputFile> {
    for (const file of files) {
      yield file;
      this.#checkPlace(file.path.replace(/^\.\//, ''));
    }
  }

  #checkPlace(path: string): void {
    const known = this.#kinds.get(path);
    if (known === 'directory')
      throw refuseEntry('type_conflict', path, 'is a file here and a directory in the project');
    if (known === 'symlink') throw refuseEntry('type_conflict', path, 'is a file here and a link in the project');
    if (known === 'file') return;
    for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) {
      const parent = this.#kinds.get(path.slice(0, end));
      if (parent === 'file') throw refuseEntry('type_conflict', path, 'lies below a file of the project');
      if (parent === 'symlink') throw refuseEntry('write_through_link', path, 'lies below a link of the project');
    }
  }

  /** As if nothing were replaced. */
  #checkTotals({ contentBytes, entries }: Project): void {
    const { limits } = this.#options;
    if (this.#project.contentBytes + contentBytes > limits.contentBytes) {
      throw refuseArchive(
        'project_too_large',
        `The project with these files exceeds ${String(limits.contentBytes)} bytes.`,
      );
    }
    if (this.#project.entries.length + entries.length > limits.entries) {
      throw refuseArchive(
        'too_many_entries',
        `The project with these files has more than ${String(limits.entries)} entries.`,
      );
    }
  }
}
