/**
 * The eval route as a tool for models: what GET /api/v1/tools answers.
 *
 * The arguments of a call are, as they are, the body of POST /api/v1/eval, so an
 * agent needs no code between the two. The schema is made from the same fields (wire-schemas.ts).
 */
import { z } from 'zod';
import { ServiceError } from '../../domain/errors.ts';
import { toolArgumentsSchema } from './wire-schemas.ts';

export const TOOL_FORMATS = ['openai', 'anthropic'] as const;
type ToolFormat = (typeof TOOL_FORMATS)[number];

const NAME = 'run_python';

function description({ timeoutSeconds, memoryMib }: ToolFacts): string {
  return [
    'Runs a Python program once, in a fresh sandbox that is destroyed afterwards: nothing is kept between calls.',
    'There is no network. Files can be written in the working directory and in /tmp.',
    `By default a run has ${String(timeoutSeconds)} seconds and ${String(memoryMib)} MiB of memory.`,
    'The answer has stdout, stderr, exit_code, result (the value of the last expression), and for failures',
    'error_type, error_line and a hint. It is text alone: print what is to be seen; figures and files are not in it.',
  ].join(' ');
}

export interface ToolFacts {
  readonly timeoutSeconds: number;
  readonly memoryMib: number;
}

/**
 * The tools as the API of a model takes them.
 * @throws {ServiceError} invalid_request for a format that is not known.
 */
export function toolDefinitions(format: string, facts: ToolFacts): readonly unknown[] {
  const { $schema: _dialect, ...schema } = z.toJSONSchema(toolArgumentsSchema, { io: 'input' });
  switch (format as ToolFormat) {
    case 'openai':
      return [{ type: 'function', function: { name: NAME, description: description(facts), parameters: schema } }];
    case 'anthropic':
      return [{ name: NAME, description: description(facts), input_schema: schema }];
    default:
      throw new ServiceError('invalid_request', `format must be one of ${TOOL_FORMATS.join(', ')}.`, {
        members: { field: 'format' },
      });
  }
}
