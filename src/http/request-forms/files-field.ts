/** Files and bytes that came in JSON, as contents. Pure. Whether a path is allowed is the gate's business. */
import type { ProjectFile } from '../../execution/project-gate.ts';
import type { FilesField } from '../schemas/files-schema.ts';
import { invalidField } from './field-errors.ts';

/**
 * @param contentField how the caller spells the content of an item of a list.
 * @throws {ServiceError} invalid_request.
 */
export function filesOf(files: FilesField, contentField: (index: number) => string): readonly ProjectFile[] {
  if (!Array.isArray(files)) {
    return Object.entries(files).map(([path, content]) => ({ path, content: Buffer.from(content, 'utf8') }));
  }
  return files.map(({ name, path, content, encoding, executable = false }, index) => ({
    path: name ?? path ?? '',
    content: encoding === 'base64' ? decodeBase64(content, contentField(index)) : Buffer.from(content, 'utf8'),
    executable,
  }));
}

/** Strict base64 (RFC 4648, 4): the standard alphabet, padded. */
export function decodeBase64(encoded: string, field: string): Buffer {
  if (encoded.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(encoded)) {
    throw invalidField(field, 'is not base64');
  }
  return Buffer.from(encoded, 'base64');
}
