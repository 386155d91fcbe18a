/**
 * The gate for files that join a project which has passed it: the same rules, errors
 * and canonical tar as if all had come in one archive.
 *
 * The project is read and judged anew with them, so that a file that joins can
 * neither replace one of its own nor lie below one of its links.
 */
import { ServiceError } from '../domain/errors.ts';
import type { Project } from '../domain/project.ts';
import { Assembly, type AssemblyOptions } from './assembly.ts';
import { explainNotATar } from './not-a-tar.ts';
import { assembleFrom } from './read-project.ts';
import { TarWalker } from './tar-walker.ts';

export interface AddedFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly executable: boolean;
  /** As many bytes as were said, or an error. */
  read(): AsyncIterable<Uint8Array>;
}

/**
 * A new project, of the files of `project` and `files`. The old one stays its owner's.
 * @throws {ServiceError} of the archive group, storage_full; what a file's `read` throws.
 */
export async function extendProject(
  project: Project,
  files: Iterable<AddedFile>,
  options: AssemblyOptions,
): Promise<Project> {
  const assembly = new Assembly(options);
  try {
    await assembleFrom(project.read(), new TarWalker(options.limits, explainNotATar(false)), assembly);
    for (const file of files) await add(file, assembly);
    return await assembly.finish();
  } catch (error) {
    await assembly.abandon();
    throw error;
  }
}

async function add({ path, sizeBytes, executable, read }: AddedFile, assembly: Assembly): Promise<void> {
  await assembly.entry({ name: path, kind: 'file', sizeBytes, executable });
  let left = sizeBytes;
  for await (const bytes of read()) {
    left -= bytes.length;
    if (left < 0) break;
    if (bytes.length > 0) await assembly.content(bytes);
  }
  if (left !== 0) throw new ServiceError('internal', 'A file is not as long as was said.');
}
