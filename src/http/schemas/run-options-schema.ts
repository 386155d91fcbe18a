/**
 * The words a caller can use to say how a project is run, as they go over the wire.
 *
 * Two vocabularies, ours and python-executor's, for the same things; giving one
 * thing in both is refused (request-forms/run-options.ts). Every object is strict:
 * an unknown field is an error, so that a misspelled limit is never ignored.
 */
import { z } from 'zod';
import { filesSchema, text } from './files-schema.ts';

const whole = z.int().positive();
/** A day. */
const QUEUE_TIMEOUT_MS_MAX = 86_400_000;
/** As python-executor has it: 0 stands for the default. */
const wholeOrDefault = z.int().nonnegative();

const limitsSchema = z.strictObject({
  wall_ms: whole.optional().meta({ description: 'Wall time in milliseconds.' }),
  cpu_ms: whole.optional().meta({ description: 'CPU time of all processes together in milliseconds.' }),
  memory_bytes: whole.optional().meta({ description: 'Memory, files in /work and /tmp included.' }),
  pids: whole.optional().meta({ description: 'Processes and threads at one time.' }),
  disk_bytes: whole.optional().meta({ description: 'Size of /work.' }),
  output_bytes: whole.optional().meta({ description: 'Bytes kept of stdout, and as many of stderr.' }),
  open_files: whole.optional().meta({ description: 'File descriptors per process.' }),
  cpus: z.number().positive().optional().meta({ description: 'CPU bandwidth in cores.' }),
});

const configSchema = z
  .strictObject({
    timeout_seconds: wholeOrDefault.optional().meta({ description: 'limits.wall_ms in seconds; 0: the default.' }),
    network_disabled: z.boolean().optional().meta({ description: 'The opposite of network.' }),
    memory_mb: wholeOrDefault.optional().meta({ description: 'limits.memory_bytes in MiB; 0: the default.' }),
    disk_mb: wholeOrDefault.optional().meta({ description: 'limits.disk_bytes in MiB; 0: the default.' }),
    cpu_shares: wholeOrDefault.optional().meta({ description: 'limits.cpus times 1024; 0: the default.' }),
  })
  .meta({ description: "python-executor's names for limits and network." });

export const runOptionsShape = {
  entrypoint: text.optional().meta({
    description: 'File or directory of the project to run. Default: main.py, __main__.py, or the only .py file.',
  }),
  module: text.optional().meta({ description: 'Module to run as `python -m` does, instead of entrypoint.' }),
  args: z.array(text).optional().meta({ description: 'sys.argv[1:].' }),
  stdin: text.optional().meta({ description: 'What the program reads from stdin.' }),
  stdin_base64: z.string().optional().meta({ description: 'stdin as base64, for bytes that are not text.' }),
  env: z.record(z.string(), text).optional().meta({ description: 'Environment variables.' }),
  image: z.string().optional().meta({ description: 'One of GET /api/v1/images. Default: the operator decides.' }),
  limits: limitsSchema.optional().meta({ description: 'Limits that differ from the defaults.' }),
  on_overflow: z.enum(['truncate', 'kill']).optional().meta({
    description: 'What happens when a stream passes output_bytes. Default: truncate, keeping head and tail.',
  }),
  analyze: z.boolean().optional().meta({
    description: 'Whether a report about the code is wanted, made beside the run. Default: false.',
  }),
  displays: z.boolean().optional().meta({
    description: 'Whether figures, tables and pictures the program shows are wanted. Default: true.',
  }),
  eval_last_expr: z.boolean().optional().meta({
    description: 'Whether the value of the last expression is wanted: its repr() as result, richer forms as a display.',
  }),
  artifacts: z
    .union([z.boolean(), z.array(text)])
    .optional()
    .meta({
      description:
        'The files to collect when the run ends: true for every new or changed one below /work that is not a cache, false for none, or a list of paths and patterns (`*`, `?`, `**`). Default: true.',
    }),
  artifacts_inline_bytes: wholeOrDefault.optional().meta({
    description:
      'Artifacts of at most this many bytes are in the answer as base64 too, in their order and up to 4 MiB together; the others are fetched. Default: 0, none.',
  }),
  files_from: z
    .array(
      z.strictObject({
        execution_id: text.meta({ description: 'An earlier execution of yours.' }),
        path: text.exactOptional().meta({ description: 'One of its artifacts. Default: all of them.' }),
        as: text.exactOptional().meta({
          description: 'Where it goes in the project; where all are meant, the folder. Default: where it was.',
        }),
      }),
    )
    .optional()
    .meta({ description: 'Files that earlier executions left, put into this project beside its own.' }),
  network: z.boolean().optional().meta({ description: 'Whether the run needs the network. Default: false.' }),
  detach: z.boolean().optional().meta({ description: 'Whether the run goes on when the client disconnects.' }),
  webhook: z
    .strictObject({
      url: text.meta({ description: 'An https URL on the public internet.' }),
      secret: text.optional().meta({ description: "Signs the message; 16 to 1,024 bytes. Default: the operator's." }),
    })
    .optional()
    .meta({ description: 'Who is told when the run has ended: a signed POST of the execution.' }),
  priority: z.enum(['low', 'normal', 'high']).optional().meta({
    description: 'Which of your own runs goes first where they wait. Default: normal.',
  }),
  queue_timeout_ms: whole.max(QUEUE_TIMEOUT_MS_MAX).optional().meta({
    description:
      'How long the run may wait for a place; then it ends as queue_timeout, without having run. Default: the operator decides.',
  }),
  inputs: z
    .array(
      z.strictObject({
        args: z.array(text).optional().meta({ description: 'sys.argv[1:] for this input.' }),
        stdin: text.optional(),
        stdin_base64: z.string().optional(),
        files: filesSchema.optional().meta({
          description:
            'Files that are there for this input only: a list, or an object from path to text. They may replace files of the project.',
        }),
      }),
    )
    .min(1)
    .optional()
    .meta({
      description:
        'Runs the program once for each, one after the other, in one sandbox. In JSON or in metadata, not in the query string.',
    }),
  stop_on_failure: z.boolean().optional().meta({
    description: 'Whether the inputs after one that did not exit with 0 are left out. Default: false.',
  }),
  pre_commands: z
    .array(text)
    .optional()
    .meta({ description: 'Shell commands run before the program, in its sandbox.' }),
  docker_image: z.string().optional().meta({ description: "python-executor's name for image.", deprecated: true }),
  script_args: z.array(text).optional().meta({ description: "python-executor's name for args.", deprecated: true }),
  env_vars: z.array(text).optional().meta({
    description: "python-executor's form of env: a list of NAME=value.",
    deprecated: true,
  }),
  config: configSchema.optional(),
  requirements: z
    .union([text, z.array(text)])
    .optional()
    .meta({
      description:
        'Packages to install beforehand, as the text of a requirements file or a list of its lines: names, extras, versions, markers, hashes.',
    }),
  requirements_txt: text
    .optional()
    .meta({ description: "python-executor's name for requirements; `-` stands for none.", deprecated: true }),
};

export const runOptionsSchema = z
  .strictObject(runOptionsShape)
  .meta({ id: 'RunOptions', description: 'How the project is run. Everything is optional.' });

export type RunOptions = z.output<typeof runOptionsSchema>;
