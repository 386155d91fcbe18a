/**
 * The files of each input, judged by the archive gate against the project they lie
 * over. An error names the input and the file at fault: `inputs[3].files["../x"]`.
 */
import type { AssemblyOptions } from '../archive/assembly.ts';
import { ProjectOverlays } from '../archive/overlay-project.ts';
import { ServiceError } from '../domain/errors.ts';
import { inputField, type AskedInput, type InputFile, type Overlay } from '../domain/inputs.ts';
import type { Project } from '../domain/project.ts';

/**
 * One for each input, undefined for those without files.
 * @throws {ServiceError} those of the archive group; `field` names the file.
 */
export async function inputOverlays(
  inputs: readonly AskedInput[],
  project: Project,
  options: Pick<AssemblyOptions, 'limits' | 'spoolDirectory'>,
): Promise<readonly (Overlay | undefined)[]> {
  if (!inputs.some(({ files }) => files?.length)) return [];
  const overlays = new ProjectOverlays(project, options);
  const built: (Overlay | undefined)[] = [];
  for (const [index, { files }] of inputs.entries()) {
    let field = inputField(index, 'files');
    const each = function* (of: readonly InputFile[]) {
      for (const file of of) {
        field = inputField(index, 'files', file.path);
        yield file;
      }
      field = inputField(index, 'files');
    };
    try {
      built.push(files?.length ? await overlays.build(each(files)) : undefined);
    } catch (error) {
      throw named(error, field);
    }
  }
  return built;
}

function named(error: unknown, field: string): unknown {
  if (!(error instanceof ServiceError) || error.status >= 500) return error;
  return new ServiceError(error.code, `${field}: ${error.message}`, {
    cause: error,
    members: { ...error.members, field },
  });
}
