/**
 * What the documentation says about each route. Documentation only: requests are
 * read by request-forms/, where errors can name what the caller wrote.
 *
 * The body of POST /api/v1/exec has three forms; plugins/openapi.ts adds them.
 */
import { z } from 'zod';
import { QUERY_PARAMETERS } from '../request-forms/query-options.ts';
import {
  artifactListSchema,
  cancelledSchema,
  eventSchema,
  executionId,
  executionSchema,
  heartbeatSchema,
} from './execution-schema.ts';
import { healthAnswer, imagesAnswer, isolationAnswer, metricsAnswer, readyAnswer } from './operations-schema.ts';
import { ARCHIVE_CODES, problemResponses } from './problem-schema.ts';

const EXECUTIONS = ['executions'];
const OPERATIONS = ['operations'];

const EVENT_STREAM = {
  'application/x-ndjson': { schema: z.union([eventSchema, heartbeatSchema]) },
  'text/event-stream': { schema: eventSchema },
};

const answer = (description: string, schema: z.ZodType) => ({
  description,
  content: { 'application/json': { schema } },
});

const byId = z.strictObject({ id: executionId });

/** One parameter of the query-string form, as text that is read strictly. */
function queryParameter(kind: (typeof QUERY_PARAMETERS)[string]): z.ZodType {
  switch (kind) {
    case 'text':
      return z.string().optional();
    case 'list':
      return z.array(z.string()).optional().meta({ description: 'Repeatable; the order is kept.' });
    case 'selection':
      return z.array(z.string()).optional().meta({ description: 'true, false, or repeatable: a path or pattern.' });
    case 'references':
      return z.array(z.string()).optional().meta({ description: 'Repeatable: EXECUTION_ID/PATH, or EXECUTION_ID.' });
    case 'assignments':
      return z.array(z.string()).optional().meta({ description: 'Repeatable: NAME=value.' });
    case 'whole':
      return z.int().nonnegative().optional();
    case 'decimal':
      return z.number().positive().optional();
    case 'boolean':
      return z.boolean().optional();
  }
}

export const createExecutionSchema = {
  operationId: 'createExecution',
  tags: EXECUTIONS,
  summary: 'Run a Python project',
  description:
    'Runs the project once in a throwaway container. The query parameters are the options of the raw archive form; the other forms carry theirs in the body. A program that fails is a 200 with its outcome.',
  querystring: z.strictObject(
    Object.fromEntries(Object.entries(QUERY_PARAMETERS).map(([name, kind]) => [name, queryParameter(kind)])),
  ),
  headers: z.looseObject({
    prefer: z
      .string()
      .optional()
      .meta({ description: '`respond-async`, with `wait=<seconds>` if you like (RFC 7240).' }),
    'idempotency-key': z.string().optional().meta({
      description:
        'A key of yours, 1 to 255 visible characters: the same request with the same key is the same execution, which leaving does not cancel.',
    }),
    'x-request-id': z.string().optional().meta({ description: 'Your id for this request, echoed and logged.' }),
  }),
  response: {
    200: {
      description: 'The run has ended, or its events follow.',
      content: { 'application/json': { schema: executionSchema }, ...EVENT_STREAM },
    },
    202: answer('The run goes on; Location says where to ask.', executionSchema),
    ...problemResponses(
      'invalid_request',
      'unknown_field',
      'invalid_json',
      'invalid_multipart',
      'missing_project',
      'not_acceptable',
      'request_timeout',
      'body_too_large',
      'unsupported_media_type',
      'unsupported_content_encoding',
      ...ARCHIVE_CODES,
      'not_found',
      'artifact_not_found',
      'idempotency_key_reused',
      'entrypoint_missing',
      'invalid_entrypoint',
      'invalid_environment',
      'limit_too_high',
      'image_not_allowed',
      'network_not_allowed',
      'requirements_not_supported',
      'advisory_findings',
      'advisories_unavailable',
      'invalid_webhook',
      'queue_full',
      'queue_timeout',
      'budget_exhausted',
      'overloaded',
      'storage_full',
      'storage_unavailable',
      'image_unavailable',
      'sandbox_unavailable',
      'sandbox_failed',
    ),
  },
};

export const getExecutionSchema = {
  operationId: 'getExecution',
  tags: EXECUTIONS,
  summary: 'An execution as it stands',
  params: byId,
  response: { 200: answer('The execution.', executionSchema), ...problemResponses('not_found') },
};

export const cancelExecutionSchema = {
  operationId: 'cancelExecution',
  tags: EXECUTIONS,
  summary: 'End a pending or running execution',
  params: byId,
  response: { 200: answer('The status after it.', cancelledSchema), ...problemResponses('not_found') },
};

export const streamEventsSchema = {
  operationId: 'streamEvents',
  tags: EXECUTIONS,
  summary: 'Replay and follow the events of an execution',
  description: 'A reader that leaves cancels nothing. An EventSource that has everything is answered 204.',
  params: byId,
  querystring: z.strictObject({
    after: z.int().nonnegative().optional().meta({ description: 'The last seq you have.' }),
  }),
  headers: z.looseObject({
    'last-event-id': z.string().optional().meta({ description: 'The same as after; wins where both are given.' }),
  }),
  response: {
    200: { description: 'The events after the position, until the terminal one.', content: EVENT_STREAM },
    204: z.null().meta({ description: 'The execution has ended and the EventSource has every event.' }),
    ...problemResponses('not_found', 'not_acceptable', 'invalid_request', 'unknown_field'),
  },
};

const BYTES = z.string().meta({ format: 'binary' });

export const listArtifactsSchema = {
  operationId: 'listArtifacts',
  tags: EXECUTIONS,
  summary: 'The files an execution left, as a list or as a tar',
  description: 'Accept: application/x-tar gives every file in one archive; it can be sent in again.',
  params: byId,
  response: {
    200: {
      description: 'The list, or the archive.',
      content: { 'application/json': { schema: artifactListSchema }, 'application/x-tar': { schema: BYTES } },
    },
    ...problemResponses('not_found', 'artifact_not_found', 'not_acceptable'),
  },
};

export const getArtifactSchema = {
  operationId: 'getArtifact',
  tags: EXECUTIONS,
  summary: 'One file an execution left',
  description: 'Takes Range, If-Range, If-Match and If-None-Match; the ETag is the SHA-256 of the content.',
  params: z.strictObject({ id: executionId, '*': z.string().meta({ description: 'Its path, relative to /work.' }) }),
  headers: z.looseObject({
    range: z.string().optional().meta({ description: 'One range of bytes (RFC 9110, 14.2).' }),
    'if-range': z.string().optional(),
    'if-match': z.string().optional(),
    'if-none-match': z.string().optional(),
  }),
  response: {
    200: { description: 'The file.', content: { 'application/octet-stream': { schema: BYTES } } },
    206: { description: 'The range.', content: { 'application/octet-stream': { schema: BYTES } } },
    304: z.null().meta({ description: 'You have it.' }),
    ...problemResponses('not_found', 'artifact_not_found', 'precondition_failed', 'range_not_satisfiable'),
  },
};

export const listImagesSchema = {
  operationId: 'listImages',
  tags: EXECUTIONS,
  summary: 'The images that can be run',
  response: { 200: answer('The images.', imagesAnswer), ...problemResponses('sandbox_unavailable') },
};

export const isolationSchema = {
  operationId: 'isolation',
  tags: OPERATIONS,
  summary: 'The isolation that is really applied',
  description:
    'A probe is run like any program and tries what it must not be able to do. Nothing is read back from settings.',
  response: {
    200: answer('What the probe found.', isolationAnswer),
    ...problemResponses('queue_full', 'shutting_down', 'sandbox_unavailable', 'sandbox_failed'),
  },
};

export const healthSchema = {
  operationId: 'health',
  tags: OPERATIONS,
  summary: 'Whether this process answers',
  response: { 200: answer('It does.', healthAnswer), ...problemResponses() },
};

export const readySchema = {
  operationId: 'ready',
  tags: OPERATIONS,
  summary: 'Whether a run would be accepted now',
  response: {
    ...problemResponses(),
    200: answer('It would.', readyAnswer),
    503: answer('It would not; the checks say why.', readyAnswer),
  },
};

export const metricsSchema = {
  operationId: 'metrics',
  tags: OPERATIONS,
  summary: 'Metrics for Prometheus',
  response: {
    200: { description: 'The metrics.', content: { 'text/plain': { schema: metricsAnswer } } },
    ...problemResponses(),
  },
};

export const openapiSchema = {
  operationId: 'openapi',
  tags: OPERATIONS,
  summary: 'This document',
  response: { 200: answer('An OpenAPI 3.1 document.', z.looseObject({})), ...problemResponses() },
};
