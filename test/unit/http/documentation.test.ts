/** The documentation says what the server does: every route, every answer, and a page that works offline. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ERRORS } from '../../../src/domain/errors.ts';
import { QUERY_PARAMETERS } from '../../../src/http/request-forms/query-options.ts';
import { RAW_ARCHIVE_TYPES } from '../../../src/http/request-forms/raw-archive.ts';
import { eventSchema, executionSchema } from '../../../src/http/schemas/execution-schema.ts';
import { imagesAnswer } from '../../../src/http/schemas/operations-schema.ts';
import { postJson, startHttp, type TestServer } from '../../support/http-server.ts';

type Json = Record<string, unknown>;

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: { readonly content: Record<string, { readonly schema: Json }> };
  readonly responses: Record<
    string,
    { readonly description: string; readonly content?: Record<string, { schema: Json }> }
  >;
}

interface Document {
  readonly openapi: string;
  readonly info: Json;
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, Json> };
}

let server: TestServer;
let document: Document;
beforeAll(async () => {
  server = await startHttp({
    program: ({ out, sink }) => {
      out('a');
      sink.omitted('stdout', 5);
      out(Buffer.from([0xff]), 'stderr');
    },
  });
  document = (await (await fetch(`${server.url}/openapi.json`)).json()) as Document;
});
afterAll(() => server[Symbol.asyncDispose]());

/** `METHOD /path` for every route of Fastify's drawing of them. */
function routesOf(drawing: string): string[] {
  const parents: string[] = [];
  return drawing.split('\n').flatMap((line) => {
    const [, indent = '', segment = '', methods = ''] = /^([ │├└─]*)(\S+)(?: \(([^)]*)\))?$/.exec(line) ?? [];
    if (segment === '') return [];
    const depth = indent.length / 4;
    const path = (parents[depth - 1] ?? '') + segment;
    parents[depth] = path;
    return methods.split(', ').flatMap((method) => (method === '' ? [] : [`${method} ${path}`]));
  });
}

/** Every value at a key named `key`, anywhere. */
function valuesOf(value: unknown, key: string): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value as Json).flatMap(([name, inner]) => [
    ...(name === key ? [inner] : []),
    ...valuesOf(inner, key),
  ]);
}

/** What `value` has that `schema` does not mention. */
function undocumented(value: unknown, schema: Json, path = ''): string[] {
  const reference = schema['$ref'];
  if (typeof reference === 'string') {
    return undocumented(value, document.components.schemas[reference.split('/').at(-1) ?? ''] ?? {}, path);
  }
  const branches = (schema['oneOf'] ?? schema['anyOf']) as Json[] | undefined;
  if (branches) {
    const faults = branches.map((branch) => undocumented(value, branch, path));
    return faults.find(({ length }) => length === 0) ?? faults.sort((a, b) => a.length - b.length)[0] ?? [];
  }
  if (Array.isArray(value)) return value.flatMap((item) => undocumented(item, schema['items'] as Json, `${path}[]`));
  if (typeof value !== 'object' || value === null) {
    if ('const' in schema && schema['const'] !== value) return [`${path} is not ${String(schema['const'])}`];
    if (Array.isArray(schema['enum']) && !schema['enum'].includes(value)) return [`${path} is not in the list`];
    return [];
  }
  const properties = (schema['properties'] ?? {}) as Record<string, Json>;
  const more = schema['additionalProperties'];
  return Object.entries(value).flatMap(([name, inner]) => {
    if (properties[name]) return undocumented(inner, properties[name], `${path}.${name}`);
    const isMap = typeof more === 'object' && more !== null && Object.keys(more).length > 0;
    return isMap ? [] : [`${path}.${name}`];
  });
}

describe('/openapi.json', () => {
  it('is an OpenAPI 3.1 document whose references all resolve', () => {
    expect(document.openapi).toBe('3.1.0');
    expect(document.info).toMatchObject({ title: 'pyexec', version: '0.0.0-test' });
    const references = valuesOf(document, '$ref') as string[];
    expect(references.length).toBeGreaterThan(10);
    for (const reference of references) {
      expect(reference).toMatch(/^#\/components\/schemas\//);
      expect(document.components.schemas).toHaveProperty(reference.split('/').at(-1) ?? '');
    }
    const used = new Set(references.map((reference) => reference.split('/').at(-1)));
    expect(Object.keys(document.components.schemas).filter((name) => !used.has(name))).toEqual([]);
  });

  it('has the routes the server has, no more and no fewer', () => {
    const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map(
        (method) => `${method.toUpperCase()} ${path.replace('{id}', ':id').replace('/{path}', '*')}`,
      ),
    );
    // The documentation itself is not documented, nor are HEAD and OPTIONS, which every route has.
    const served = routesOf(server.app.printRoutes({ commonPrefix: false })).filter(
      (route) => !/^HEAD | \/docs/.test(route),
    );
    expect(documented.sort()).toEqual(served.sort());
    expect(served).toContain('POST /api/v1/exec');
  });

  it('has a summary, an id of its own and a problem for every operation', () => {
    const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
    for (const operation of operations) {
      expect(operation.summary).not.toBe('');
      for (const [status, { description, content }] of Object.entries(operation.responses)) {
        expect(description).not.toMatch(/^$|Default Response/);
        if (Number(status) >= 400 && status !== '503')
          expect(Object.keys(content ?? {})).toEqual(['application/problem+json']);
      }
    }
  });

  it('has the three request forms and the three response forms', () => {
    const run = document.paths['/api/v1/exec']?.['post'];
    expect(Object.keys(run?.requestBody?.content ?? {}).sort()).toEqual(
      ['application/json', 'multipart/form-data', ...RAW_ARCHIVE_TYPES].sort(),
    );
    expect(Object.keys(run?.responses['200']?.content ?? {})).toEqual([
      'application/json',
      'application/x-ndjson',
      'text/event-stream',
    ]);
    const parameters = (run?.parameters ?? []).filter((parameter) => parameter.in === 'query').map(({ name }) => name);
    expect(parameters.sort()).toEqual(Object.keys(QUERY_PARAMETERS).sort());
  });

  it('has every code of the table', () => {
    const problem = document.components.schemas['Problem'] as { properties: { code: { enum: string[] } } };
    expect(problem.properties.code.enum.sort()).toEqual(Object.keys(ERRORS).sort());
  });
});

describe('what the server answers', () => {
  it('is documented: executions, events, images, problems', async () => {
    const execution = (await (await postJson(server, { code: '' })).json()) as Json;
    executionSchema.parse(execution);
    expect(undocumented(execution, { $ref: '#/x/Execution' })).toEqual([]);
    expect(Object.keys(execution)).toEqual(expect.arrayContaining(['truncated', 'stderr_encoding', 'usage', 'limits']));

    const stream = await postJson(server, { code: '' }, { headers: { accept: 'application/x-ndjson' } });
    for (const line of (await stream.text()).trimEnd().split('\n')) {
      const event = eventSchema.parse(JSON.parse(line));
      expect(undocumented(event, { $ref: '#/x/ExecutionEvent' })).toEqual([]);
    }

    const images = (await (await fetch(`${server.url}/api/v1/images`)).json()) as Json;
    expect(imagesAnswer.parse(images)).toEqual({
      images: [
        { reference: 'pyexec/slim:latest', id: 'sha256:1', default: true, labels: { a: 'b' }, size_bytes: 7 },
        {
          reference: 'pyexec/data:latest',
          id: 'sha256:2',
          default: false,
          python: '3.13.5',
          packages: { numpy: '2.2.4' },
          labels: { 'pyexec.python': '3.13.5' },
          size_bytes: 8,
        },
        { reference: 'other', id: 'sha256:3', default: false, packages: {}, labels: {}, size_bytes: 9 },
      ],
    });
    expect(undocumented(images, { $ref: '#/x/ImageList' })).toEqual([]);

    const problem = (await (await postJson(server, { code: 1 })).json()) as Json;
    expect(undocumented(problem, { $ref: '#/x/Problem' })).toEqual([]);
  });

  it('the metrics have the content type they came with', async () => {
    const response = await fetch(`${server.url}/metrics`);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await response.text()).toBe('up 1\n');
  });
});

describe('/docs', () => {
  it.each(['/docs', '/docs/', '/docs/index.html'])('%s is a page that loads all it needs from here', async (path) => {
    const response = await fetch(server.url + path, { redirect: 'manual' });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('text/html');
    const html = await response.text();
    // Nothing inline: the policy below would stop it.
    expect(html).not.toMatch(/<script(?![^>]* src=)[^>]*>\s*\S|\son\w+=|<style/);
    const assets = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, target]) => target ?? '');
    expect(assets.length).toBeGreaterThan(4);
    for (const asset of assets) {
      const url = new URL(asset, server.url + path);
      expect(url.host).toBe(new URL(server.url).host);
      const loaded = await fetch(url);
      expect([asset, loaded.status]).toEqual([asset, 200]);
      const body = await loaded.text();
      if (asset.endsWith('swagger-initializer.js')) {
        expect(body).toContain('/openapi.json');
        expect(body).toMatch(/validatorUrl: null/);
      }
    }
  });

  it('has a policy that lets its scripts run and nothing else in', async () => {
    const policy = (await fetch(`${server.url}/docs`)).headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).toContain("connect-src 'self'");
    expect(policy).not.toContain('https:');
    expect(policy).not.toContain('upgrade-insecure-requests');
  });
});
