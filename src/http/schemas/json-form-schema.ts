/**
 * The JSON request form: run options beside `code` or `files`.
 */
import { z } from 'zod';
import { filesSchema, text } from './files-schema.ts';
import { runOptionsShape } from './run-options-schema.ts';

export const jsonFormSchema = z
  .strictObject({
    code: text.optional().meta({ description: 'The content of main.py.' }),
    files: filesSchema.optional().meta({
      description: 'The files of the project: a list, or an object from path to text.',
    }),
    ...runOptionsShape,
  })
  .meta({ id: 'JsonForm', description: 'A project as JSON: `code` or `files`, and the options.' });
