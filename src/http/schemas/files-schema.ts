/**
 * Files as JSON: a list with a content each, or an object from path to text.
 */
import { z } from 'zod';

/** Text that survives being written as UTF-8; JSON can hold half a surrogate pair. */
export const text = z.string().refine((value) => value.isWellFormed(), { error: 'expected well-formed Unicode' });

const fileSchema = z
  .strictObject({
    name: text.optional().meta({ description: 'Path below the project root.' }),
    path: text.optional().meta({ description: 'The same as name.' }),
    content: text.meta({ description: 'The content, as `encoding` says.' }),
    encoding: z.enum(['utf8', 'base64']).optional().meta({ description: 'Default: utf8.' }),
    executable: z.boolean().optional().meta({ description: 'Whether the file gets mode 0755. Default: false.' }),
  })
  .refine(({ name, path }) => (name === undefined) !== (path === undefined), {
    error: 'expected either name or path',
  });

export const filesSchema = z.union([z.array(fileSchema), z.record(z.string(), text)]);

export type FilesField = z.output<typeof filesSchema>;
