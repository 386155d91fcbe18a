/**
 * The request form for programs that write JSON: `code` or `files`, with the
 * options beside them in one document.
 */
import { ServiceError } from '../../domain/errors.ts';
import type { ProjectFile } from '../../execution/project-gate.ts';
import type { FilesField } from '../schemas/files-schema.ts';
import { jsonFormSchema } from '../schemas/json-form-schema.ts';
import { fieldError, invalidField } from './field-errors.ts';
import { filesOf } from './files-field.ts';
import type { AskedProject, FormContext } from './request-form.ts';
import { toAskedRun } from './run-options.ts';
import { parseStrictJson } from './strict-json.ts';

const CODE_PATH = 'main.py';

/**
 * @param body the whole body, as sent.
 * @throws {ServiceError} invalid_json, unknown_field, invalid_request, missing_project and those of the gate.
 */
export async function readJsonForm(body: Uint8Array, { gate, exchange }: FormContext): Promise<AskedProject> {
  const value = parseStrictJson(body, 'The body');
  const parsed = jsonFormSchema.safeParse(value);
  if (!parsed.success) throw fieldError(parsed.error);
  const { code, files, ...options } = parsed.data;
  const asked = toAskedRun(options);
  const project = await gate.buildFromFiles(projectFiles(code, files), exchange.gone);
  return { ...asked, project };
}

function projectFiles(code: string | undefined, files: FilesField | undefined): readonly ProjectFile[] {
  if (code !== undefined && files !== undefined) {
    throw invalidField('files', 'cannot be given together with "code"');
  }
  if (code !== undefined) return [{ path: CODE_PATH, content: Buffer.from(code, 'utf8') }];
  const listed = files === undefined ? [] : filesOf(files, (index) => `files.${String(index)}.content`);
  if (listed.length === 0) {
    throw new ServiceError('missing_project', 'The body needs "code" or at least one entry in "files".');
  }
  return listed;
}
