/**
 * The gate for projects that arrive as named contents (JSON `code` and `files`)
 * rather than as an archive: the same rules, errors and canonical tar as
 * read-project.ts.
 */
import type { Project } from '../domain/project.ts';
import { Assembly, type AssemblyOptions } from './assembly.ts';

export interface ProjectFile {
  readonly path: string;
  readonly content: Uint8Array;
  readonly executable?: boolean;
}

export interface BuildProjectOptions extends AssemblyOptions {
  /** Its reason is thrown as it is. */
  readonly signal?: AbortSignal;
}

/** Throws the ServiceErrors of readProject, as far as they can apply. */
export async function buildProject(files: Iterable<ProjectFile>, options: BuildProjectOptions): Promise<Project> {
  const assembly = new Assembly(options);
  try {
    for (const { path, content, executable = false } of files) {
      options.signal?.throwIfAborted();
      await assembly.entry({ name: path, kind: 'file', sizeBytes: content.length, executable });
      if (content.length > 0) await assembly.content(content);
    }
    options.signal?.throwIfAborted();
    return await assembly.finish();
  } catch (error) {
    await assembly.abandon();
    throw error;
  }
}
