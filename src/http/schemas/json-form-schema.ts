/**
 * The JSON request form: run options beside `code` or `files`.
 */
import { z } from 'zod';
import { runOptionsShape, text } from './run-options-schema.ts';

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

export const jsonFormSchema = z
  .strictObject({
    code: text.optional().meta({ description: 'The content of main.py.' }),
    files: z
      .union([z.array(fileSchema), z.record(z.string(), text)])
      .optional()
      .meta({ description: 'The files of the project: a list, or an object from path to text.' }),
    ...runOptionsShape,
  })
  .meta({ id: 'JsonForm', description: 'A project as JSON: `code` or `files`, and the options.' });

export type FilesField = NonNullable<z.output<typeof jsonFormSchema>['files']>;
