/**
 * Requests that never start a program: status, text and order of what is refused,
 * and the routes around the runs.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formOf, metadataPart, tarPart, type Part } from '../../support/python-executor-client.ts';
import { Door } from '../../support/python-executor-requests.ts';
import { plainTar } from '../../support/python-executor-tars.ts';

const NO_FORM = "parsing form: request Content-Type isn't multipart/form-data";
const NO_BOUNDARY = 'parsing form: no multipart boundary param in Content-Type';
const NO_TAR = 'missing tar file: http: no such file';
const NO_CODE = "either 'code' or 'files' must be provided";
const TAR = plainTar({ 'main.py': 'print(1)\n' });

let door: Door;
beforeAll(async () => {
  door = await Door.open({ PYEXEC_POOL_SIZE: '0' });
});
afterAll(() => door[Symbol.asyncDispose]());

const post = (path: string, contentType: string | undefined, body: string | Uint8Array<ArrayBuffer>) =>
  door.request(path, {
    method: 'POST',
    headers: contentType === undefined ? {} : { 'content-type': contentType },
    // Bytes, because fetch names a type for text.
    body: typeof body === 'string' ? Buffer.from(body) : body,
  });

const postForm = (path: string, ...parts: Part[]) => {
  const { contentType, body } = formOf(...parts);
  return post(path, contentType, body);
};

describe.each(['/api/v1/exec/sync', '/api/v1/exec/async'])('%s', (path) => {
  it.each<[string, string | undefined, string, string]>([
    ['no content type', undefined, 'x', NO_FORM],
    ['no body either', undefined, '', NO_FORM],
    ['JSON', 'application/json', '{}', NO_FORM],
    ['another multipart type', 'multipart/mixed; boundary=x', '--x--', NO_FORM],
    ['a content type that is none', ';;;', 'x', NO_FORM],
    ['no boundary', 'multipart/form-data', 'x', NO_BOUNDARY],
    ['an empty boundary', 'multipart/form-data; boundary=', 'x', NO_BOUNDARY],
  ])('is no form: %s', async (_name, contentType, body, error) => {
    const answer = await post(path, contentType, body);
    expect(answer).toMatchObject({ status: 400, body: { error } });
    expect(Object.keys(answer.body)).toEqual(['error']);
    expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
  });

  it.each<[string, Part[], string]>([
    ['no parts but another', [{ name: 'x', content: 'y' }], NO_TAR],
    ['no tar', [metadataPart({ entrypoint: 'main.py' })], NO_TAR],
    ['neither', [{ name: 'x', content: 'y', filename: 'z' }], NO_TAR],
    ['a tar that is a field', [{ name: 'tar', content: 'x' }, metadataPart({})], NO_TAR],
    ['a tar whose file name is empty', [{ ...tarPart(TAR), filename: '' }, metadataPart({})], NO_TAR],
    ['no metadata', [tarPart(TAR)], 'missing metadata'],
    ['empty metadata', [tarPart(TAR), metadataPart('')], 'missing metadata'],
    ['metadata that is a file', [tarPart(TAR), { ...metadataPart({}), filename: 'metadata.json' }], 'missing metadata'],
    ['another case', [{ ...tarPart(TAR), name: 'TAR' }, metadataPart({})], NO_TAR],
  ])('misses a part: %s', async (_name, parts, error) => {
    expect(await postForm(path, ...parts)).toMatchObject({ status: 400, body: { error } });
  });

  it.each<[string, string]>([
    ['no JSON', '{'],
    ['JSON with more behind it', '{} x'],
    ['a list', '[]'],
    ['a text', '"x"'],
    ['a number for a text', '{"entrypoint":1}'],
    ['a text for a number', '{"config":{"timeout_seconds":"5"}}'],
    ['a fraction', '{"config":{"timeout_seconds":5.5}}'],
    ['a text for a list', '{"pre_commands":"ls"}'],
    ['a number in a list', '{"script_args":[1]}'],
    ['an object for a list', '{"env_vars":{"A":"1"}}'],
    ['a number for a condition', '{"config":{"network_disabled":1}}'],
    ['a list for the config', '{"config":[]}'],
  ])('cannot read the metadata: %s', async (_name, metadata) => {
    const answer = await postForm(path, tarPart(TAR), metadataPart(metadata));
    expect(answer.status).toBe(400);
    expect(answer.body['error']).toMatch(/^parsing metadata: ./);
  });

  it('takes a metadata of the query before that of the form, also an empty one', async () => {
    const parts = [tarPart(TAR), metadataPart({ entrypoint: 'main.py' })];
    const broken = await postForm(`${path}?metadata=%7B`, ...parts);
    expect(broken.body['error']).toMatch(/^parsing metadata: /);
    expect((await postForm(`${path}?metadata=`, ...parts)).body).toEqual({ error: 'missing metadata' });
  });

  it('ends in the middle of a form', async () => {
    const { contentType, body } = formOf(tarPart(TAR), metadataPart({ entrypoint: 'main.py' }));
    const answer = await post(path, contentType, body.subarray(0, body.length - 40));
    expect(answer.status).toBe(400);
    expect(answer.body['error']).toMatch(/^parsing form: /);
  });

  it('looks at the form before the metadata', async () => {
    expect((await postForm(path, metadataPart('{'))).body).toEqual({ error: NO_TAR });
  });

  it('difference: `requirements_txt`', async () => {
    const answer = await postForm(
      path,
      tarPart(TAR),
      metadataPart({ entrypoint: 'main.py', requirements_txt: '--index-url https://index.example/simple' }),
    );
    expect(answer).toMatchObject({
      status: 422,
      body: { error: expect.stringMatching(/^Line 1 is an option/) as string },
    });
  });
});

describe('/api/v1/eval', () => {
  const PATH = '/api/v1/eval';
  const TOO_LONG = 'x'.repeat(102_401);

  it.each<[string, string, string | RegExp]>([
    ['nothing', '', 'invalid JSON: EOF'],
    ['blanks', ' \n', 'invalid JSON: EOF'],
    ['no JSON', 'code', /^invalid JSON: ./],
    ['JSON cut off', '{"code":', /^invalid JSON: ./],
    ['a list', '[]', /^invalid JSON: ./],
    ['a number for the code', '{"code":1}', /^invalid JSON: ./],
    ['a text for the files', '{"files":"x"}', /^invalid JSON: ./],
    ['a text for the wish', '{"code":"1","eval_last_expr":"true"}', /^invalid JSON: ./],
    ['a text for the timeout', '{"code":"1","config":{"timeout_seconds":"5"}}', /^invalid JSON: ./],
    ['no code', '{}', NO_CODE],
    ['null', 'null', NO_CODE],
    ['empty code', '{"code":""}', NO_CODE],
    ['no files', '{"files":[]}', NO_CODE],
    [
      'a version there is not',
      '{"code":"1","python_version":"2.7"}',
      /^unsupported python_version "2\.7"; supported versions: .*3\.\d+/,
    ],
    ['no code before the version', '{"python_version":"2.7"}', NO_CODE],
    ['the version before the size', JSON.stringify({ code: TOO_LONG, python_version: '2.7' }), /^unsupported/],
  ])('400 for %s', async (_name, body, error) => {
    const answer = await post(PATH, 'application/json', body);
    expect(answer.status).toBe(400);
    expect(answer.body['error']).toEqual(typeof error === 'string' ? error : (expect.stringMatching(error) as unknown));
    expect(Object.keys(answer.body)).toEqual(['error']);
  });

  it('413 for too much code', async () => {
    for (const body of [
      { code: TOO_LONG },
      {
        files: [
          { name: 'a.py', content: TOO_LONG.slice(1) },
          { name: 'b.py', content: 'x' },
        ],
      },
    ]) {
      expect(await post(PATH, 'application/json', JSON.stringify(body))).toMatchObject({
        status: 413,
        body: { error: 'total code size 102401 bytes exceeds limit of 102400 bytes' },
      });
    }
  });

  it('difference: `requirements_txt`', async () => {
    const answer = await post(PATH, 'application/json', '{"code":"1","requirements_txt":"git+https://x/y"}');
    expect(answer).toMatchObject({ status: 422, body: { error: expect.stringMatching(/^Line 1 is a URL/) as string } });
  });
});

describe('executions', () => {
  it.each(['exe_0b0f3b1e-6a0f-4c58-9a3c-2f7f6f1f2d11', 'x', '..%2f'])('an unknown id: %s', async (id) => {
    for (const method of ['GET', 'DELETE']) {
      const answer = await door.request(`/api/v1/executions/${id}`, { method });
      expect(answer).toMatchObject({ status: 404, body: { error: 'execution not found' } });
    }
  });
});

describe('around the runs', () => {
  it('/health', async () => {
    const answer = await door.request('/health');
    expect(answer).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
  });

  it('the page of the documentation', async () => {
    const page = await door.request('/docs/index.html');
    expect(page.status).toBe(200);
    expect(page.headers.get('content-type')).toMatch(/^text\/html/);
    const [, script] = /<script src="([^"]*swagger-ui-bundle\.js)"/.exec(page.text) ?? [];
    const address = new URL(script ?? '', `${door.url}/docs/index.html`).pathname;
    expect((await door.request(address)).status).toBe(200);
  });

  it('difference: `/docs/doc.json`', async () => {
    const answer = await door.request('/docs/doc.json');
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({ openapi: '3.1.0' });
    const paths = answer.body['paths'] as Record<string, Record<string, { requestBody?: unknown; responses?: object }>>;
    for (const path of ['/api/v1/exec/sync', '/api/v1/exec/async', '/api/v1/eval']) {
      expect(paths[path]?.['post']?.requestBody).toBeDefined();
    }
    expect(Object.keys(paths['/api/v1/exec/async']?.['post']?.responses ?? {})).toContain('202');
    const evalBody = JSON.stringify(paths['/api/v1/eval']?.['post']?.requestBody);
    for (const field of ['python_version', 'eval_last_expr', 'requirements_txt']) expect(evalBody).toContain(field);
    expect(Object.keys(paths).filter((path) => path.endsWith('/'))).toEqual([]);
  });

  it.each<[string, string, number, string]>([
    ['GET', '/health/', 301, '/health'],
    ['GET', '/api/v1/executions/exe_x/?a=b', 301, '/api/v1/executions/exe_x?a=b'],
    ['DELETE', '/api/v1/executions/exe_x/', 307, '/api/v1/executions/exe_x'],
    ['POST', '/api/v1/eval/', 307, '/api/v1/eval'],
    ['POST', '/api/v1/exec/sync/?metadata=%7B%7D', 307, '/api/v1/exec/sync?metadata=%7B%7D'],
    ['POST', '/api/v1/exec/async/', 307, '/api/v1/exec/async'],
  ])('a slash too many: %s %s', async (method, path, status, location) => {
    const answer = await door.request(path, { method, ...(method === 'POST' ? { body: '{"code":"1"}' } : {}) });
    expect(answer.status).toBe(status);
    expect(answer.headers.get('location')).toBe(location);
  });

  it('difference: Unknown routes and methods', async () => {
    expect(await door.request('/nothing')).toMatchObject({ status: 404, body: { code: 'route_not_found' } });
    const answer = await door.request('/api/v1/eval');
    expect(answer).toMatchObject({ status: 405, body: { code: 'method_not_allowed' } });
    expect(answer.headers.get('allow')).toContain('POST');
  });
});
