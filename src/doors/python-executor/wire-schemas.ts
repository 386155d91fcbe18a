/**
 * What the documentation says about this door's routes, and what a tool call is
 * made of. Documentation only: requests are read by run-requests.ts, which takes
 * what python-executor takes.
 */
import { z } from 'zod';

const seconds = z.int().min(1).meta({ description: 'Seconds the run may take, everything included.' });

const configSchema = z.looseObject({
  timeout_seconds: seconds.optional(),
  network_disabled: z.boolean().optional().meta({ description: 'Default true here.' }),
  memory_mb: z.int().optional(),
  disk_mb: z.int().optional().meta({ description: 'Size of /work; it is memory.' }),
  cpu_shares: z.int().optional().meta({ description: '1024 are one core.' }),
});

const requirements = z.string().meta({ description: 'Refused where packages cannot be installed.' });

/** The body of POST /api/v1/eval. */
export const evalBodySchema = z.looseObject({
  code: z.string().optional().meta({ description: 'Python source, run as the file main.py.' }),
  files: z
    .array(z.looseObject({ name: z.string(), content: z.string() }))
    .optional()
    .meta({ description: 'Instead of code; the first one is run unless entrypoint names another.' }),
  entrypoint: z.string().optional(),
  stdin: z.string().optional().meta({ description: 'Text the program reads from stdin.' }),
  config: configSchema.optional(),
  python_version: z.string().optional().meta({ description: 'Such as 3.13; unknown ones are a 400 naming the known.' }),
  eval_last_expr: z
    .boolean()
    .default(false)
    .meta({ description: 'Also answer with repr() of the last expression, as a notebook cell shows it.' }),
  requirements_txt: requirements.optional().meta({ description: '"-" turns the detection of imports off.' }),
});

/** The part `metadata` of /exec/sync and /exec/async. */
const metadataSchema = z.looseObject({
  entrypoint: z.string().meta({ description: 'A path in the archive, or a directory with a __main__.py.' }),
  docker_image: z.string().optional(),
  requirements_txt: requirements.optional(),
  pre_commands: z.array(z.string()).optional().meta({ description: 'Shell, run first in the same sandbox.' }),
  stdin: z.string().optional(),
  env_vars: z.array(z.string()).optional().meta({ description: 'NAME=value' }),
  script_args: z.array(z.string()).optional(),
  config: configSchema.optional(),
});

const resultSchema = z.looseObject({
  execution_id: z.string(),
  status: z.enum(['pending', 'running', 'completed', 'failed', 'killed']),
  stdout: z.string().optional().meta({ description: 'Left out when empty.' }),
  stderr: z.string().optional().meta({ description: 'Left out when empty.' }),
  exit_code: z.int(),
  error: z.string().optional(),
  error_type: z.string().optional(),
  error_line: z.int().optional(),
  started_at: z.iso.datetime().optional(),
  finished_at: z.iso.datetime().optional(),
  duration_ms: z.int().optional(),
  result: z.string().optional().meta({ description: 'repr() of the last expression; left out for None.' }),
});

const answer = (description: string, schema: z.ZodType) => ({
  description,
  content: { 'application/json': { schema } },
});

const refusal = (description: string) => answer(description, z.looseObject({ error: z.string() }));

const REFUSALS = {
  400: refusal('The request, or the archive in it, is not valid.'),
  403: refusal('The operator does not allow the image or the network.'),
  413: refusal('Too large.'),
  422: refusal('A limit, the entry point or a variable is refused.'),
  429: refusal('There is no room for another run.'),
  503: refusal('No run can be started now.'),
};

const TAGS = ['python-executor'];

const execSchema = {
  tags: TAGS,
  consumes: ['multipart/form-data'],
  body: z.looseObject({ tar: z.string().meta({ format: 'binary' }), metadata: metadataSchema }),
};

export const syncSchema = {
  ...execSchema,
  operationId: 'execSync',
  summary: 'Run a project and wait for its end',
  response: { 200: answer('However the run ended.', resultSchema), ...REFUSALS },
};

export const asyncSchema = {
  ...execSchema,
  operationId: 'execAsync',
  summary: 'Run a project, and ask for it by its id',
  response: { 202: answer('Accepted.', z.looseObject({ execution_id: z.string() })), ...REFUSALS },
};

export const evalSchema = {
  tags: TAGS,
  operationId: 'eval',
  summary: 'Run code and wait for its end',
  body: evalBodySchema,
  response: { 200: answer('However the run ended.', resultSchema), ...REFUSALS },
};

export const toolsSchema = {
  tags: TAGS,
  operationId: 'tools',
  summary: 'The eval route as a tool for a model',
  querystring: z.looseObject({ format: z.enum(['openai', 'anthropic']).optional() }),
  response: { 200: answer('The tools, as the API of the model takes them.', z.array(z.looseObject({}))) },
};

/** The arguments of a tool call: those of the eval body that a model has a use for. */
export const toolArgumentsSchema = z.object({
  code: z.string().meta({ description: 'Python source, run as the file main.py. Print what you want to see.' }),
  stdin: evalBodySchema.shape.stdin,
  eval_last_expr: z
    .boolean()
    .optional()
    .meta({ description: 'True: the answer also has `result`, repr() of the last expression, as in a notebook.' }),
  config: z.object({ timeout_seconds: seconds.optional() }).optional(),
});
