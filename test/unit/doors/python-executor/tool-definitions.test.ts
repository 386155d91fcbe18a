import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { runRequestOfMetadata, evalRequestOf } from '../../../../src/doors/python-executor/run-requests.ts';
import { TOOL_FORMATS, toolDefinitions } from '../../../../src/doors/python-executor/tool-definitions.ts';
import { evalBodySchema, toolArgumentsSchema } from '../../../../src/doors/python-executor/wire-schemas.ts';
import { refusalInWireWords } from '../../../../src/doors/python-executor/wire-words.ts';
import { ServiceError } from '../../../../src/domain/errors.ts';

const FACTS = { timeoutSeconds: 30, memoryMib: 256 };

/** What the two APIs ask of a tool: a name they allow, a description, a schema of an object. */
const jsonSchema = z.looseObject({
  type: z.literal('object'),
  properties: z.looseObject({ code: z.looseObject({ type: z.literal('string') }) }),
  required: z.tuple([z.literal('code')]),
});
const name = z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/);
const SHAPES = {
  openai: z.strictObject({
    type: z.literal('function'),
    function: z.strictObject({ name, description: z.string(), parameters: jsonSchema }),
  }),
  anthropic: z.strictObject({ name, description: z.string(), input_schema: jsonSchema }),
};

describe('tools for models', () => {
  it.each(TOOL_FORMATS)('%s', (format) => {
    const [tool, ...more] = toolDefinitions(format, FACTS);
    expect(more).toEqual([]);
    SHAPES[format].parse(tool);
    expect(JSON.stringify(tool)).toContain('30 seconds and 256 MiB');
  });

  it('in another format are refused, naming those there are', () => {
    expect(() => toolDefinitions('gemini', FACTS)).toThrow('format must be one of openai, anthropic.');
  });

  it('take arguments that are the body of an eval, with the same meaning when they are left out', () => {
    for (const field of Object.keys(toolArgumentsSchema.shape)) expect(evalBodySchema.shape).toHaveProperty(field);
    expect(JSON.stringify(z.toJSONSchema(toolArgumentsSchema, { io: 'input' }))).not.toContain('"default"');
    const call = { code: '1+1', stdin: 'x', eval_last_expr: true, config: { timeout_seconds: 5 } };
    expect(toolArgumentsSchema.parse(call)).toEqual(call);
    expect(evalRequestOf(call).run).toMatchObject({ wantsLastValue: true, limits: { wall_ms: 5000 } });
  });
});

describe('refusals in the words of the door', () => {
  it.each<[string, object, string]>([
    ['limits.wall_ms', { maximum: 900_000 }, "config.timeout_seconds may be at most 900, the operator's maximum"],
    ['limits.memory_bytes', { minimum: 32 * 2 ** 20 }, 'config.memory_mb must be at least 32'],
    ['limits.disk_bytes', { maximum: 2 ** 30 }, "config.disk_mb may be at most 1024, the operator's maximum"],
    ['limits.cpus', { maximum: 2 }, "config.cpu_shares may be at most 2048, the operator's maximum"],
    ['limits.cpus', { minimum: 0.05 }, 'config.cpu_shares must be at least 52'],
    ['limits.pids', { maximum: 5 }, 'said'],
  ])('%s %j', (field, members, sentence) => {
    expect(refusalInWireWords(new ServiceError('limit_too_high', 'said', { members: { field, ...members } }))).toBe(
      sentence,
    );
  });
});

it('metadata has no last expression', () => {
  expect(runRequestOfMetadata({ eval_last_expr: true }).run).not.toHaveProperty('wantsLastValue');
});
