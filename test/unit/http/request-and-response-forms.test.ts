/** Every request form with every response form, and what each form refuses. */
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EXEC, postJson, postTar, startHttp, tar, type TestServer } from '../../support/http-server.ts';
import { archive, file } from '../../support/hostile-archives.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startHttp({
    program: ({ out, plan }) => {
      out(`args ${plan.args.join(',')}\n`);
      out('bad\n', 'stderr');
    },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

const OPTIONS = { args: ['a', 'b'] };

function form(parts: Record<string, Blob | string>, names: Record<string, string> = {}): FormData {
  const data = new FormData();
  for (const [name, value] of Object.entries(parts)) {
    if (typeof value === 'string') data.append(name, value);
    else data.append(name, value, names[name] ?? 'file');
  }
  return data;
}

const post = (body: FormData, headers: Record<string, string> = {}) =>
  fetch(server.url + EXEC, { method: 'POST', body, headers });

const json = (value: unknown) => new Blob([JSON.stringify(value)], { type: 'application/json' });

type Send = (headers: Record<string, string>) => Promise<Response>;

const REQUEST_FORMS: Record<string, Send> = {
  'raw tar': (headers) => postTar(server, tar(), { query: '?arg=a&arg=b', headers }),
  'raw tar as octets': (headers) =>
    postTar(server, tar(), {
      query: '?arg=a&arg=b',
      headers: { ...headers, 'content-type': 'application/octet-stream' },
    }),
  'gzip by type': (headers) =>
    postTar(server, gzipSync(tar()), {
      query: '?arg=a&arg=b',
      headers: { ...headers, 'content-type': 'application/gzip' },
    }),
  'gzip by encoding': (headers) =>
    postTar(server, gzipSync(tar()), { query: '?arg=a&arg=b', headers: { ...headers, 'content-encoding': 'gzip' } }),
  'gzip by its bytes': (headers) => postTar(server, gzipSync(tar()), { query: '?arg=a&arg=b', headers }),
  'JSON code': (headers) => postJson(server, { code: 'print(1)', ...OPTIONS }, { headers }),
  'JSON files': (headers) =>
    postJson(
      server,
      {
        files: [
          { name: 'main.py', content: 'import b' },
          { path: 'b.py', content: Buffer.from('x=1').toString('base64'), encoding: 'base64', executable: true },
        ],
        ...OPTIONS,
      },
      { headers },
    ),
  'JSON file map': (headers) => postJson(server, { files: { 'main.py': 'x', 'd/b.py': '' }, ...OPTIONS }, { headers }),
  'form, tar first': (headers) => post(form({ tar: new Blob([tar()]), metadata: JSON.stringify(OPTIONS) }), headers),
  'form, metadata first': (headers) =>
    post(form({ metadata: JSON.stringify(OPTIONS), tar: new Blob([tar()]) }), headers),
  'form, metadata a JSON file': (headers) => post(form({ tar: new Blob([tar()]), metadata: json(OPTIONS) }), headers),
  'form, gzipped tar': (headers) =>
    post(form({ tar: new Blob([gzipSync(tar())], { type: 'application/gzip' }), metadata: json(OPTIONS) }), headers),
};

const EXPECTED = {
  status: 'completed',
  exit_code: 0,
  outcome: { kind: 'exited', exit_code: 0 },
};

describe.each(Object.entries(REQUEST_FORMS))('%s', (_name, send) => {
  it('answers JSON when the run has ended', async () => {
    const response = await send({});
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
    const execution = (await response.json()) as Record<string, unknown>;
    expect(execution).toMatchObject({ ...EXPECTED, stdout: 'args a,b\n', stderr: 'bad\n' });
    expect(response.headers.get('x-execution-id')).toBe(execution['execution_id']);
  });

  it('streams NDJSON', async () => {
    const response = await send({ accept: 'application/x-ndjson' });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/x-ndjson');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('x-accel-buffering')).toBe('no');
    const text = await response.text();
    expect(text.endsWith('\n')).toBe(true);
    const events = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.map(({ type }) => type)).toEqual(['status', 'status', 'stdout', 'stderr', 'result']);
    expect(events.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5]);
    expect(events.at(-1)).toMatchObject({ ...EXPECTED, execution_id: response.headers.get('x-execution-id') });
  });

  it('streams server-sent events', async () => {
    const response = await send({ accept: 'text/event-stream' });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    const events = (await response.text()).trimEnd().split('\n\n');
    expect(events).toHaveLength(5);
    for (const [index, event] of events.entries()) {
      const [id, type, data] = event.split('\n');
      const body = JSON.parse(data?.replace(/^data: /, '') ?? '') as Record<string, unknown>;
      expect([id, type]).toEqual([`id: ${String(index + 1)}`, `event: ${String(body['type'])}`]);
      expect(body['seq']).toBe(index + 1);
    }
  });
});

describe('a request that is refused', () => {
  it.each<[string, () => Promise<Response>, number, string, string?]>([
    ['JSON without a project', () => postJson(server, {}), 400, 'missing_project'],
    ['JSON with no file', () => postJson(server, { files: [] }), 400, 'missing_project'],
    ['JSON with code and files', () => postJson(server, { code: '', files: [] }), 400, 'invalid_request', 'files'],
    ['JSON with an unknown field', () => postJson(server, { code: '', codes: '' }), 400, 'unknown_field', 'codes'],
    ['a file without a name', () => postJson(server, { files: [{ content: '' }] }), 400, 'invalid_request', 'files.0'],
    [
      'a file with two',
      () => postJson(server, { files: [{ name: 'a', path: 'a', content: '' }] }),
      400,
      'invalid_request',
      'files.0',
    ],
    [
      'a file with an unknown field',
      () => postJson(server, { files: [{ name: 'a', content: '', mode: 1 }] }),
      400,
      'unknown_field',
      'files.0.mode',
    ],
    [
      'a file without content',
      () => postJson(server, { files: [{ name: 'a' }] }),
      400,
      'invalid_request',
      'files.0.content',
    ],
    [
      'a file of bad base64',
      () => postJson(server, { files: [{ name: 'a', content: 'x', encoding: 'base64' }] }),
      400,
      'invalid_request',
      'files.0.content',
    ],
    ['a file map of numbers', () => postJson(server, { files: { 'a.py': 1 } }), 400, 'invalid_request', 'files.a.py'],
    ['a file that escapes', () => postJson(server, { files: { '../a.py': '' } }), 400, 'path_escape'],
    ['a JSON array', () => postJson(server, []), 400, 'invalid_request'],
    ['no JSON', () => postJson(server, '{'), 400, 'invalid_json'],
    ['empty JSON', () => postJson(server, ''), 400, 'invalid_json'],
    ['a prototype', () => postJson(server, '{"code":"","__proto__":{"detach":true}}'), 400, 'invalid_json'],
    [
      'a limit above the maximum',
      () => postJson(server, { code: '', limits: { wall_ms: 900_001 } }),
      422,
      'limit_too_high',
      'limits.wall_ms',
    ],
    ['the network', () => postJson(server, { code: '', network: true }), 403, 'network_not_allowed'],
    [
      'a variable of the loader',
      () => postJson(server, { code: '', env: { LD_PRELOAD: 'x' } }),
      422,
      'invalid_environment',
    ],
    [
      'an entry point that is not there',
      () => postJson(server, { code: '', entrypoint: 'b.py' }),
      422,
      'entrypoint_missing',
    ],
    ['an unknown parameter', () => postTar(server, tar(), { query: '?wall=1' }), 400, 'unknown_field', 'wall'],
    [
      'parameters beside JSON',
      () =>
        fetch(`${server.url}${EXEC}?wall_ms=1`, {
          method: 'POST',
          body: '{"code":""}',
          headers: { 'content-type': 'application/json' },
        }),
      400,
      'unknown_field',
      'wall_ms',
    ],
    ['a query that is not UTF-8', () => postTar(server, tar(), { query: '?stdin=%ff' }), 400, 'invalid_request'],
    ['an empty archive', () => postTar(server, new Uint8Array()), 400, 'not_a_tar'],
    ['zeros', () => postTar(server, new Uint8Array(1024)), 400, 'empty_project'],
    ['no tar', () => postTar(server, Buffer.from('print(1)\n'.repeat(100))), 400, 'not_a_tar'],
    ['a tar cut off', () => postTar(server, tar().subarray(0, 700)), 400, 'truncated'],
    [
      'two layers of gzip, said',
      () =>
        postTar(server, gzipSync(gzipSync(tar())), {
          headers: { 'content-type': 'application/gzip', 'content-encoding': 'gzip' },
        }),
      415,
      'unsupported_content_encoding',
    ],
    [
      'two layers of gzip, sent',
      () => postTar(server, gzipSync(gzipSync(tar())), { headers: { 'content-type': 'application/gzip' } }),
      400,
      'not_a_tar',
    ],
    [
      'gzip, gzip',
      () => postTar(server, gzipSync(tar()), { headers: { 'content-encoding': 'gzip, gzip' } }),
      415,
      'unsupported_content_encoding',
    ],
    [
      'brotli',
      () => postTar(server, tar(), { headers: { 'content-encoding': 'br' } }),
      415,
      'unsupported_content_encoding',
    ],
    [
      'compressed JSON',
      () => postJson(server, '{}', { headers: { 'content-encoding': 'gzip' } }),
      415,
      'unsupported_content_encoding',
    ],
    [
      'gzip that is none',
      () => postTar(server, tar(), { headers: { 'content-type': 'application/gzip' } }),
      400,
      'invalid_gzip',
    ],
    [
      'another type',
      () => postTar(server, tar(), { headers: { 'content-type': 'application/zip' } }),
      415,
      'unsupported_media_type',
    ],
    ['plain text', () => fetch(server.url + EXEC, { method: 'POST', body: 'print(1)' }), 415, 'unsupported_media_type'],
    ['no body at all', () => fetch(server.url + EXEC, { method: 'POST' }), 400, 'missing_project'],
    [
      'an answer nobody makes',
      () => postJson(server, { code: '' }, { headers: { accept: 'text/html' } }),
      406,
      'not_acceptable',
    ],
    ['a form without tar', () => post(form({ metadata: '{}' })), 400, 'missing_project'],
    [
      'a form with another part',
      () => post(form({ tar: new Blob([tar()]), extra: 'x' })),
      400,
      'unknown_field',
      'extra',
    ],
    [
      'a form with a part named __proto__',
      () => post(form({ tar: new Blob([tar()]), ['__proto__']: 'x', toString: 'y' })),
      400,
      'unknown_field',
    ],
    [
      'a form whose metadata is no JSON',
      () => post(form({ tar: new Blob([tar()]), metadata: '{' })),
      400,
      'invalid_json',
    ],
    [
      'a form whose metadata has a key twice',
      () => post(form({ tar: new Blob([tar()]), metadata: new Blob(['{"a":1,"a":1}'], { type: 'application/json' }) })),
      400,
      'invalid_json',
    ],
    [
      'a form with an unknown option',
      () => post(form({ metadata: '{"x":1}', tar: new Blob([tar()]) })),
      400,
      'unknown_field',
      'x',
    ],
    [
      'a form with a bad archive',
      () => post(form({ tar: new Blob([archive(file('../x.py'))]), metadata: '{}' })),
      400,
      'path_escape',
    ],
    [
      'a form that is none',
      () => fetch(server.url + EXEC, { method: 'POST', body: 'x', headers: { 'content-type': 'multipart/form-data' } }),
      400,
      'invalid_multipart',
    ],
    [
      'a form cut off',
      () =>
        fetch(server.url + EXEC, {
          method: 'POST',
          body: '--b\r\ncontent-disposition: form-data; name="tar"; filename="x"\r\n\r\nabc',
          headers: { 'content-type': 'multipart/form-data; boundary=b' },
        }),
      400,
      'invalid_multipart',
    ],
  ])('%s', async (_what, send, status, code, field?) => {
    const planned = server.plans.length;
    const response = await send();
    const problem = (await response.json()) as Record<string, unknown>;
    expect(problem).toMatchObject({ status, code, ...(field === undefined ? {} : { field }) });
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(server.plans).toHaveLength(planned);
    expect(server.spooled()).toEqual([]);
  });

  it('a second tar', async () => {
    const data = form({ tar: new Blob([tar()]) });
    data.append('tar', new Blob([tar()]), 'again.tar');
    const response = await post(data);
    expect([response.status, await response.json()]).toMatchObject([400, { code: 'invalid_request', field: 'tar' }]);
  });

  it('says what it would have accepted', async () => {
    const type = await postTar(server, tar(), { headers: { 'content-type': 'application/zip' } });
    expect(type.headers.get('accept')).toContain('application/x-tar');
    const encoding = await postTar(server, tar(), { headers: { 'content-encoding': 'br' } });
    expect(encoding.headers.get('accept-encoding')).toBe('gzip');
  });
});

describe('what reaches the sandbox', () => {
  it('is what was asked for', async () => {
    await postJson(server, { code: '', stdin: 'in', env: { A: 'b' }, limits: { wall_ms: 1234 }, on_overflow: 'kill' });
    expect(server.plans.at(-1)).toMatchObject({
      stdin: Buffer.from('in'),
      environment: { A: 'b' },
      limits: { wall_ms: 1234 },
      onOverflow: 'kill',
      entryPoint: { kind: 'script', path: 'main.py' },
    });
  });

  it('was timed and counted', async () => {
    await postTar(server, tar());
    expect(server.archives.at(-1)).toMatchObject({ bytes: tar().length });
    await postTar(server, Buffer.from(archive(file('/x.py'))));
    expect(server.archives.at(-1)).toMatchObject({ refusedCode: 'path_escape' });
  });
});
