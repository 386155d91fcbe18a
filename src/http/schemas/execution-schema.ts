/**
 * An execution and its events as they go over the wire, for the documentation and
 * for the tests that hold the answers to it. The words are those of src/domain.
 *
 * Objects are open: a client must expect members that are added later.
 */
import { z } from 'zod';

const count = z.int().nonnegative();
const time = z.iso.datetime().meta({ description: 'RFC 3339, UTC, milliseconds.' });

export const executionId = z
  .string()
  .regex(/^exe_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  .meta({ examples: ['exe_0b0f3b1e-6a0f-4c58-9a3c-2f7f6f1f2d11'] });

const executionStatus = z.enum(['pending', 'running', 'completed', 'failed', 'killed']);

const outcomeSchema = z
  .discriminatedUnion('kind', [
    z.looseObject({ kind: z.literal('exited'), exit_code: z.int() }),
    z.looseObject({ kind: z.literal('signaled'), signal: z.string(), signal_number: z.int() }),
    z.looseObject({ kind: z.literal('timed_out'), limit: z.enum(['wall_ms', 'cpu_ms']), limit_ms: count }),
    z.looseObject({ kind: z.literal('out_of_memory'), limit_bytes: count }),
    z.looseObject({ kind: z.literal('output_limit'), limit_bytes: count }),
    z.looseObject({
      kind: z.literal('cancelled'),
      reason: z.enum(['requested', 'client_disconnected', 'key_revoked', 'shutdown']),
    }),
    z.looseObject({ kind: z.literal('queue_timeout'), limit_ms: count }),
    z.looseObject({ kind: z.literal('interrupted'), reason: z.string() }),
    z.looseObject({ kind: z.literal('infrastructure_error'), code: z.string(), detail: z.string() }),
  ])
  .meta({ id: 'Outcome', description: 'How the run ended. Absent until it has.' });

const appliedLimits = z
  .looseObject({
    wall_ms: count,
    cpu_ms: count,
    memory_bytes: count,
    pids: count,
    disk_bytes: count,
    output_bytes: count,
    open_files: count,
    cpus: z.number(),
  })
  .meta({ id: 'Limits', description: 'The limits as applied.' });

const usage = z
  .looseObject({ wall_ms: count, cpu_ms: count.optional(), memory_peak_bytes: count.optional() })
  .meta({ id: 'Usage', description: 'What the run used, as measured inside its container.' });

const truncation = z.looseObject({ total_bytes: count, kept_bytes: count, omitted_bytes: count });

const queuePlace = z
  .looseObject({
    position: z.int().positive().meta({ description: '1: it goes next.' }),
    estimated_wait_ms: count.optional().meta({ description: 'Absent as long as nothing is known to tell it from.' }),
    expires_in_ms: count
      .optional()
      .meta({ description: 'After so long it ends as queue_timeout. Absent where it waits as long as it takes.' }),
  })
  .meta({ id: 'QueuePlace', description: 'Where a run stands that waits for a place to run: an estimate.' });
const displayShape = {
  data: z.record(z.string(), z.unknown()).meta({
    description: 'By media type: text as it is, JSON as a value, everything else as base64.',
  }),
  metadata: z.record(z.string(), z.unknown()).optional(),
  truncated: z.literal(true).optional().meta({ description: 'A representation was too large and is left out.' }),
};
const display = z.looseObject(displayShape).meta({ id: 'Display', description: 'Something the program showed.' });
const exception = z
  .looseObject({
    type: z.string(),
    message: z.string(),
    file: z.string().optional().meta({ description: 'The innermost file of the project in the traceback.' }),
    line: z.int().optional().meta({ description: 'The line in that file.' }),
    traceback: z.string().meta({ description: 'The frames of the project alone, then type and message.' }),
  })
  .meta({ id: 'ProgramException', description: 'The uncaught exception that ended the program.' });
const artifactShape = {
  path: z.string().meta({ description: 'Relative to /work.' }),
  size: count,
  media_type: z.string().meta({ description: 'By the name alone.' }),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  executable: z.literal(true).optional().meta({ description: 'Where the run made it executable.' }),
  content: z
    .string()
    .optional()
    .meta({ description: 'base64, where artifacts_inline_bytes asked for it and there was room.' }),
};
const artifact = z.looseObject(artifactShape).meta({ id: 'Artifact', description: 'A file the run left.' });
const artifactsSkipped = z
  .looseObject({
    count,
    entries: z.array(
      z.looseObject({
        path: z.string(),
        reason: z.enum([
          'not_a_regular_file',
          'name',
          'too_deep',
          'unreadable',
          'too_large',
          'too_many',
          'deadline',
          'storage',
        ]),
      }),
    ),
  })
  .meta({ id: 'ArtifactsSkipped', description: 'What was there and was not collected; the first of it by name.' });

const severity = z.enum(['low', 'medium', 'high']);
const inputPlace = count.optional().meta({ description: 'Of a file that one of many inputs brought: which.' });
const finding = z
  .looseObject({
    id: z.string().meta({ description: 'The number of the check.', examples: ['B602'] }),
    name: z.string(),
    severity,
    confidence: severity,
    file: z.string().meta({ description: 'Relative to the project.' }),
    input: inputPlace,
    line: count,
    message: z.string(),
    cwe: z.int().optional().meta({ description: 'Number in the Common Weakness Enumeration.' }),
  })
  .meta({ id: 'Finding', description: 'Something the analysis of the code points at.' });
const analysis = z
  .looseObject({
    status: z
      .enum(['pending', 'complete', 'incomplete', 'too_large', 'timed_out', 'failed', 'interrupted'])
      .meta({ description: 'How far it came. Unless it is `complete`, no findings mean nothing.' }),
    detail: z.string().optional().meta({ description: 'Why it is not complete.' }),
    tool: z
      .string()
      .optional()
      .meta({ examples: ['bandit 1.7.10'] }),
    files_analyzed: count.optional(),
    skipped: z
      .looseObject({
        count,
        entries: z.array(
          z.looseObject({
            file: z.string(),
            input: inputPlace,
            reason: z.enum(['syntax_error', 'not_readable', 'too_large', 'timed_out', 'crashed']),
          }),
        ),
      })
      .optional()
      .meta({ description: 'Sources that could not be read: how many, and the first of them.' }),
    counts: z.looseObject({ low: count, medium: count, high: count }).optional(),
    findings: z.array(finding).optional().meta({ description: 'The worst first.' }),
    truncated: z.literal(true).optional().meta({ description: 'There are more than are listed; all are counted.' }),
  })
  .meta({ id: 'Analysis', description: 'What an analysis of the code came to. It is no guarantee.' });

const advisoryFinding = z
  .looseObject({
    package: z.string(),
    version: z.string(),
    ids: z.array(z.string()).meta({ description: 'The ids of the source.', examples: [['GHSA-j8r2-6x86-q33q']] }),
    aliases: z.array(z.string()).meta({ examples: [['CVE-2023-32681']] }),
    severity: z.enum(['unknown', 'low', 'medium', 'high', 'critical']),
    fixed_versions: z.array(z.string()).meta({ description: 'Above this version, the lowest first.' }),
    summary: z.string().optional(),
    accepted: z.literal(true).optional().meta({ description: 'The operator puts up with it.' }),
    details_missing: z.literal(true).optional().meta({ description: 'Only its id could be had from the source.' }),
  })
  .meta({ id: 'AdvisoryFinding', description: 'A known vulnerability of a package.' });
export const advisoriesSchema = z
  .looseObject({
    status: z
      .enum(['complete', 'incomplete', 'unavailable'])
      .meta({ description: 'How far the check came. Unless it is `complete`, no findings mean nothing.' }),
    detail: z.string().optional().meta({ description: 'Why it is not complete.' }),
    checked_at: time.optional().meta({ description: 'When the source was asked.' }),
    packages_checked: count.optional(),
    count: count.optional().meta({ description: 'All findings that are not accepted, listed or not.' }),
    findings: z.array(advisoryFinding).optional().meta({ description: 'The worst first, accepted ones last.' }),
    truncated: z.literal(true).optional().meta({ description: 'There are more than are listed.' }),
  })
  .meta({ id: 'Advisories', description: 'What is known of vulnerabilities of the packages that were installed.' });

const resultShape = {
  execution_id: executionId,
  status: executionStatus,
  exit_code: z.int().meta({ description: '0 until the run has ended; 124 after a timeout, 128+n after signal n.' }),
  error: z.string().optional().meta({ description: 'Why the run did not complete by itself.' }),
  outcome: outcomeSchema.optional(),
  error_type: z.string().optional(),
  error_line: z.int().optional(),
  exception: exception.optional(),
  hint: z.string().optional().meta({ description: 'What to try next, where we know.' }),
  image: z.string().optional(),
  packages: z.array(z.string()).optional().meta({ description: '`name==version` of what was installed for the run.' }),
  advisories: advisoriesSchema.optional(),
  analysis: analysis.optional(),
  runtime: z.string().optional().meta({ description: 'The OCI runtime the container used.' }),
  created_at: time,
  started_at: time.optional(),
  finished_at: time.optional(),
  duration_ms: count.optional(),
  usage: usage.optional(),
  truncated: z
    .looseObject({
      stdout: truncation.optional(),
      stderr: truncation.optional(),
      displays: z.looseObject({ omitted_count: count }).optional(),
      result: truncation.optional(),
    })
    .optional()
    .meta({
      description:
        'The streams of which the middle was left out, how many displays were, and the result where its end was.',
    }),
  limits: appliedLimits.optional(),
  queue: queuePlace.optional().meta({ description: 'Only while it waits for a place to run.' }),
  artifacts: z.array(artifact).optional(),
  artifacts_skipped: artifactsSkipped.optional(),
};

const inputResultShape = {
  index: count,
  exit_code: z.int(),
  outcome: z
    .looseObject({ kind: z.string() })
    .meta({ description: 'As of an execution, or `not_run` with a `reason`.' }),
  usage: usage.optional(),
  error_type: z.string().optional(),
  error_line: z.int().optional(),
  exception: exception.optional(),
  result: z.string().optional().meta({ description: 'With eval_last_expr: repr() of its last expression.' }),
  stdout: z.string(),
  stdout_encoding: z.literal('base64').optional(),
  stderr: z.string(),
  stderr_encoding: z.literal('base64').optional(),
  omitted: z.looseObject({ stdout: count, stderr: count }).optional(),
};

export const executionSchema = z
  .looseObject({
    ...resultShape,
    stdout: z.string().optional(),
    stdout_encoding: z.literal('base64').optional().meta({ description: 'Present when stdout was not UTF-8.' }),
    stderr: z.string().optional(),
    stderr_encoding: z.literal('base64').optional().meta({ description: 'Present when stderr was not UTF-8.' }),
    displays: z.array(display).optional().meta({ description: 'What the program showed, in order.' }),
    results: z
      .array(z.looseObject(inputResultShape))
      .optional()
      .meta({ description: 'Of a program with many inputs: how each ended, in their order.' }),
  })
  .meta({ id: 'Execution', description: 'An execution with the output collected so far.' });

const envelope = {
  seq: z.int().positive().meta({ description: '1, 2, 3, ... within the execution.' }),
  t_ms: z.number().nonnegative().meta({ description: 'Milliseconds since the execution was accepted.' }),
};

export const eventSchema = z
  .discriminatedUnion('type', [
    z.looseObject({
      ...envelope,
      type: z.literal('status'),
      status: z.enum(['pending', 'running']),
      queue: queuePlace.optional().meta({ description: 'Where it stood when it was accepted, if it had to wait.' }),
    }),
    z.looseObject({
      ...envelope,
      type: z.enum(['stdout', 'stderr']),
      data: z.string(),
      encoding: z.literal('base64').optional().meta({ description: 'Present when the bytes are not UTF-8.' }),
    }),
    z.looseObject({
      ...envelope,
      type: z.literal('truncated'),
      stream: z.enum(['stdout', 'stderr']),
      omitted_bytes: count,
    }),
    z.looseObject({ ...envelope, type: z.literal('display'), ...displayShape }),
    z.looseObject({ ...envelope, type: z.literal('artifact'), ...artifactShape }),
    z.looseObject({ ...envelope, type: z.literal('input_result'), ...inputResultShape }),
    z.looseObject({ ...envelope, type: z.literal('result'), ...resultShape }),
    z.looseObject({ ...envelope, type: z.literal('error'), code: z.string(), detail: z.string(), ...resultShape }),
  ])
  .meta({
    id: 'ExecutionEvent',
    description: 'Exactly one event of a stream is terminal, its last: `result`, or `error` when the service failed.',
  });

export const heartbeatSchema = z
  .looseObject({ type: z.literal('heartbeat'), t_ms: z.number().nonnegative() })
  .meta({ id: 'Heartbeat', description: 'A line of an NDJSON stream that is no event; it has no seq.' });

export const artifactListSchema = z
  .looseObject({
    execution_id: executionId,
    status: executionStatus,
    artifacts: z.array(artifact),
    artifacts_skipped: artifactsSkipped.optional(),
  })
  .meta({ id: 'ArtifactList', description: 'What the run left; empty until it has ended.' });

export const cancelledSchema = z
  .looseObject({ status: executionStatus })
  .meta({ id: 'CancelledExecution', description: 'The status as observed.' });
