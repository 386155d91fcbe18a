/**
 * The documentation: /openapi.json, made from the routes and their schemas, and
 * /docs, a page to try them. The page and all it loads come from this server.
 */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { RAW_ARCHIVE_TYPES } from '../request-forms/raw-archive.ts';
import { openapiSchema } from '../schemas/route-schemas.ts';

const DOCS = '/docs';
const DOCUMENT = '/openapi.json';

/** Other addresses of the page and of the document: where python-executor has them. */
export function rewriteDocsUrl(url: string): string {
  if (url === `${DOCS}/doc.json`) return DOCUMENT;
  return url === `${DOCS}/index.html` ? DOCS : url;
}

/** What the page of @fastify/swagger-ui needs: its own scripts, styles set by script, images as data. */
const DOCS_CSP = {
  'default-src': ["'none'"],
  'script-src': ["'self'"],
  'style-src': ["'self'", "'unsafe-inline'"],
  'img-src': ["'self'", 'data:'],
  'font-src': ["'self'", 'data:'],
  'connect-src': ["'self'"],
  'base-uri': ["'none'"],
  'form-action': ["'none'"],
  'frame-ancestors': ["'none'"],
};

type JsonObject = Record<string, unknown>;

/** Registers the documentation. To be called before the routes it describes. */
export async function documentRoutes(app: FastifyInstance, version: string): Promise<void> {
  // Schemas describe; requests are read by request-forms/ and answers are built from our own types.
  app.setValidatorCompiler(() => (value: unknown) => ({ value }));
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'pyexec',
        version,
        description: 'Runs untrusted Python projects, each once, in a throwaway hardened container.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/' }],
      tags: [{ name: 'executions' }, { name: 'operations' }],
    },
    transform: jsonSchemaTransform,
    transformObject: (document) => complete(jsonSchemaTransformObject(document)),
  });
  app.get(DOCUMENT, { schema: openapiSchema, config: { access: 'docs' } }, async (_request, reply) =>
    reply.send(app.swagger()),
  );
  await app.register(swaggerUi, {
    routePrefix: DOCS,
    staticCSP: DOCS_CSP,
    theme: { title: 'pyexec' },
    // Absolute, so that the page finds it from each of its addresses.
    uiConfig: { urls: [{ url: DOCUMENT, name: 'pyexec' }], docExpansion: 'list', tryItOutEnabled: true },
  });
}

interface Described {
  readonly paths: Record<string, Record<string, JsonObject>>;
  readonly components: { readonly schemas: JsonObject };
}

/** Adds what routes cannot say in Fastify's terms, and drops components nothing refers to. */
function complete<Document extends object>(document: Document): Document {
  const completed = structuredClone(document);
  const described = completed as unknown as Described;
  const run = described.paths['/api/v1/exec']?.['post'];
  if (run) {
    run['requestBody'] = requestBody();
    const responses = run['responses'] as Record<string, JsonObject>;
    const executionId = { 'X-Execution-Id': header('The id of the execution.') };
    addHeaders(responses['200'], executionId);
    addHeaders(responses['202'], { ...executionId, Location: header('Where the execution can be fetched.') });
    for (const status of ['429', '503']) {
      addHeaders(responses[status], { 'Retry-After': header('Seconds after which to try again.') });
    }
  }
  nameWildcards(described);
  dropUnreferenced(described);
  return completed;
}

/** Fastify calls the rest of a path `*`; a document has to give it a name. */
function nameWildcards({ paths }: Described): void {
  for (const [path, methods] of Object.entries(paths)) {
    if (!path.includes('{*}')) continue;
    for (const { parameters } of Object.values(methods)) {
      for (const parameter of parameters as JsonObject[]) if (parameter['name'] === '*') parameter['name'] = 'path';
    }
    paths[path.replace('{*}', '{path}')] = methods;
    Reflect.deleteProperty(paths, path);
  }
}

function header(description: string): JsonObject {
  return { description, schema: { type: 'string' } };
}

function addHeaders(response: JsonObject | undefined, headers: JsonObject): void {
  if (response) response['headers'] = headers;
}

function requestBody(): JsonObject {
  const archive = { schema: { type: 'string', format: 'binary' } };
  const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });
  return {
    required: true,
    description:
      'A form with the archive and its options, JSON with the files in it, or the archive itself with the options in the query. An archive may be gzipped, once.',
    content: {
      'application/json': { schema: ref('JsonFormInput') },
      'multipart/form-data': {
        schema: {
          type: 'object',
          required: ['tar'],
          additionalProperties: false,
          properties: { tar: { type: 'string', format: 'binary' }, metadata: ref('RunOptionsInput') },
        },
        encoding: { metadata: { contentType: 'application/json' } },
      },
      ...Object.fromEntries(RAW_ARCHIVE_TYPES.map((type) => [type, archive])),
    },
  };
}

/** The schemas are registered once as input and once as output; most are only one of them. */
function dropUnreferenced(document: Described): void {
  const { schemas } = document.components;
  for (;;) {
    const text = JSON.stringify(document);
    const unused = Object.keys(schemas).filter((name) => !text.includes(`"#/components/schemas/${name}"`));
    if (unused.length === 0) return;
    for (const name of unused) delete schemas[name];
  }
}
