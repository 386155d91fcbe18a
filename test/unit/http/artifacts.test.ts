/** The files of a run over HTTP: listed, as a tar, one by one, in ranges, and never as a page. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentDisposition } from '../../../src/http/response-forms/attachment.ts';
import { byteRange } from '../../../src/http/response-forms/byte-range.ts';
import { filesOf } from '../../support/artifacts.ts';
import {
  endless,
  EXEC,
  postJson,
  postTar,
  startHttp,
  tar,
  type Program,
  type TestServer,
} from '../../support/http-server.ts';

const FILES: Record<string, string> = {
  'data.csv': '0123456789',
  'page.html': '<script>1</script>',
  'out/é 漢 #?%.png': 'not really',
  empty: '',
};

/** Leaves FILES, in two pieces each, and names one that was skipped. */
const leaving: Program = async ({ sink }) => {
  for (const [path, text] of Object.entries(FILES)) {
    const content = Buffer.from(text);
    sink.artifacts?.begin({ path, size: content.length, executable: false });
    await sink.artifacts?.data(content.subarray(0, 3));
    await sink.artifacts?.data(content.subarray(3));
    await sink.artifacts?.end(true);
  }
  sink.artifacts?.skipped([{ path: 'link', reason: 'not_a_regular_file' }], 3);
};

let server: TestServer;
let id: string;
beforeAll(async () => {
  server = await startHttp({ program: leaving });
  id = ((await (await postJson(server, { code: '1' })).json()) as { execution_id: string }).execution_id;
});
afterAll(() => server[Symbol.asyncDispose]());

const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(`${server.url}/api/v1/executions/${id}/artifacts${path}`, { headers, method });
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

describe('the list', () => {
  it('is in the execution and at its own address', async () => {
    const listed = (await (await get('')).json()) as Record<string, unknown>;
    expect(listed).toEqual({
      execution_id: id,
      status: 'completed',
      artifacts: [
        { path: 'data.csv', size: 10, media_type: 'text/csv', sha256: sha256('0123456789') },
        { path: 'page.html', size: 18, media_type: 'text/html', sha256: sha256('<script>1</script>') },
        { path: 'out/é 漢 #?%.png', size: 10, media_type: 'image/png', sha256: sha256('not really') },
        { path: 'empty', size: 0, media_type: 'application/octet-stream', sha256: sha256('') },
      ],
      artifacts_skipped: { count: 3, entries: [{ path: 'link', reason: 'not_a_regular_file' }] },
    });
    const execution = (await (await fetch(`${server.url}/api/v1/executions/${id}`)).json()) as Record<string, unknown>;
    expect(execution['artifacts']).toEqual(listed['artifacts']);
  });

  it('is a tar where that is asked for', async () => {
    const answer = await get('', { accept: 'application/x-tar' });
    expect(answer.headers.get('content-type')).toBe('application/x-tar');
    expect(answer.headers.get('content-disposition')).toBe(
      `attachment; filename="${id}.tar"; filename*=UTF-8''${id}.tar`,
    );
    const bytes = await answer.bytes();
    expect(answer.headers.get('content-length')).toBe(String(bytes.length));
    const files = await filesOf(bytes);
    expect([...files].map(([path, { content }]) => [path, content.toString()])).toEqual(Object.entries(FILES));
    const head = await get('', { accept: 'application/x-tar' }, 'HEAD');
    expect(head.headers.get('content-length')).toBe(String(bytes.length));
    expect((await get('', { accept: 'image/png' })).status).toBe(406);
  });

  it('is empty while the run goes on, and there is no tar then', async () => {
    await using running = await startHttp({ program: endless });
    const submitted = await postJson(running, { code: '1' }, { headers: { prefer: 'respond-async' } });
    const url = `${running.url}${submitted.headers.get('location') ?? ''}/artifacts`;
    expect(await (await fetch(url)).json()).toMatchObject({ artifacts: [] });
    const refused = await fetch(url, { headers: { accept: 'application/x-tar' } });
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([404, 'artifact_not_found']);
  });
});

describe('one file', () => {
  it('comes whole, with its hash as ETag, and cannot become a page', async () => {
    const answer = await get('/page.html');
    expect(await answer.text()).toBe('<script>1</script>');
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'content-disposition': `attachment; filename="page.html"; filename*=UTF-8''page.html`,
      'content-security-policy': expect.stringContaining('sandbox') as string,
      'x-content-type-options': 'nosniff',
      'cross-origin-resource-policy': 'same-origin',
      'accept-ranges': 'bytes',
      'content-length': '18',
      etag: `"${sha256('<script>1</script>')}"`,
    });
  });

  it('is found by its name, however odd', async () => {
    const answer = await get(`/out/${encodeURIComponent('é 漢 #?%.png')}`);
    expect(await answer.text()).toBe('not really');
    expect(answer.headers.get('content-disposition')).toBe(
      `inline; filename="_ _ __%.png"; filename*=UTF-8''%C3%A9%20%E6%BC%A2%20%23%3F%25.png`.replace('%.png"', '_.png"'),
    );
    expect((await get('/empty')).headers.get('content-length')).toBe('0');
  });

  it.each(['/nothing', '/', '/../data.csv', '/%2e%2e%2fdata.csv', '/data.csv/', '/%2Fetc%2Fpasswd', '/data.csv%00'])(
    '%s is not there',
    async (path) => {
      const answer = await get(path);
      expect(answer.status).toBe(404);
      expect((await answer.json()) as object).toMatchObject({
        code: expect.stringMatching(/^(artifact|route)_not_found$/) as string,
      });
    },
  );

  it.each([
    ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
    ['bytes=7-', 206, '789', 'bytes 7-9/10'],
    ['bytes=-4', 206, '6789', 'bytes 6-9/10'],
    ['bytes=0-99', 206, '0123456789', 'bytes 0-9/10'],
    ['bytes=0-1,3-4', 200, '0123456789', null],
    ['bytes=4-2', 200, '0123456789', null],
    ['lines=1-2', 200, '0123456789', null],
  ])('%s', async (range, status, text, contentRange) => {
    const answer = await get('/data.csv', { range });
    expect([answer.status, await answer.text(), answer.headers.get('content-range')]).toEqual([
      status,
      text,
      contentRange,
    ]);
    expect(answer.headers.get('content-length')).toBe(String(text.length));
    const head = await get('/data.csv', { range }, 'HEAD');
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '10']);
  });

  it('refuses a range behind its end, and says how long it is', async () => {
    const answer = await get('/data.csv', { range: 'bytes=10-' });
    expect(answer.status).toBe(416);
    expect(answer.headers.get('content-range')).toBe('bytes */10');
    expect((await get('/empty', { range: 'bytes=0-' })).status).toBe(416);
  });

  it('is not sent to who has it, and whole to who has another', async () => {
    const etag = `"${sha256('0123456789')}"`;
    for (const tag of [etag, `W/${etag}`, '*', `"x", ${etag}`, `"x,",${etag}`]) {
      expect((await get('/data.csv', { 'if-none-match': tag })).status, tag).toBe(304);
    }
    for (const tag of ['"x"', `"a,${etag.slice(1, -1)},b"`, etag.slice(1, -1), '']) {
      expect((await get('/data.csv', { 'if-none-match': tag })).status, tag).toBe(200);
    }
    for (const tag of ['"x"', `W/${etag}`, 'Sat, 28 Nov 2026 00:00:00 GMT']) {
      expect((await get('/data.csv', { 'if-range': tag, range: 'bytes=1-2' })).status, tag).toBe(200);
    }
    expect((await get('/data.csv', { 'if-range': etag, range: 'bytes=1-2' })).status).toBe(206);
  });

  it('is sent under If-Match only when that names it, and before If-None-Match and Range are looked at', async () => {
    const etag = `"${sha256('0123456789')}"`;
    for (const tag of [etag, '*', `"x", ${etag}`]) {
      expect((await get('/data.csv', { 'if-match': tag })).status, tag).toBe(200);
    }
    for (const tag of ['"x"', `W/${etag}`, '']) {
      const answer = await get('/data.csv', { 'if-match': tag, 'if-none-match': etag, range: 'bytes=99-' });
      expect([answer.status, ((await answer.json()) as { code: string }).code], tag).toEqual([
        412,
        'precondition_failed',
      ]);
    }
    expect((await get('/data.csv', { 'if-match': '"x"' }, 'HEAD')).status).toBe(412);
    expect((await get('/data.csv', { 'if-match': etag, 'if-none-match': etag })).status).toBe(304);
    expect((await get('/nothing', { 'if-match': '*' })).status).toBe(404);
  });
});

describe('what a request says about them', () => {
  const planned = async (query: string, document?: unknown) => {
    const before = server.plans.length;
    const answer = document === undefined ? await postTar(server, tar(), { query }) : await postJson(server, document);
    expect(answer.status).toBe(200);
    return server.plans[before]?.artifacts;
  };

  it('is the same in every form; without a word, all that is new', async () => {
    const all = { patterns: [], inlineBytes: 0, files: 10, bytes: 2 ** 20 };
    const some = { ...all, patterns: ['out/*.png', 'b'], inlineBytes: 5 };
    expect(await planned('')).toEqual(all);
    expect(await planned('?artifacts=true')).toEqual(all);
    expect(await planned('?artifacts=false')).toBeUndefined();
    expect(await planned('?artifacts=out/*.png&artifacts=./b/&artifacts_inline_bytes=5')).toEqual(some);
    expect(await planned('', { code: '1' })).toEqual(all);
    expect(await planned('', { code: '1', artifacts: false })).toBeUndefined();
    expect(await planned('', { code: '1', artifacts: ['out/*.png', 'b'], artifacts_inline_bytes: 5 })).toEqual(some);
    const form = new FormData();
    form.append('metadata', JSON.stringify({ artifacts: ['a'] }));
    form.append('tar', new Blob([tar()]));
    expect((await fetch(server.url + EXEC, { method: 'POST', body: form })).status).toBe(200);
    expect(server.plans.at(-1)?.artifacts?.patterns).toEqual(['a']);
  });

  it.each([
    [{ artifacts: ['/etc'] }, 'invalid_request', 'artifacts.0'],
    [{ artifacts: ['a', '../b'] }, 'invalid_request', 'artifacts.1'],
    [{ artifacts: [''] }, 'invalid_request', 'artifacts.0'],
    [{ artifacts: Array(101).fill('a') }, 'invalid_request', 'artifacts'],
    [{ artifacts: 'a' }, 'invalid_request', 'artifacts'],
    [{ artifacts_inline_bytes: 1001 }, 'limit_too_high', 'artifacts_inline_bytes'],
  ])('%j is refused', async (options, code, field) => {
    const answer = await postJson(server, { code: '1', ...options });
    expect((await answer.json()) as object).toMatchObject({ code, field });
  });
});

describe('names for saving', () => {
  it.each([
    ['a/b/c.txt', 'text/plain', `inline; filename="c.txt"; filename*=UTF-8''c.txt`],
    ['x".html', 'text/html', `attachment; filename="x_.html"; filename*=UTF-8''x%22.html`],
    [
      "it's (1)*.svg",
      'image/svg+xml',
      `attachment; filename="it_s _1__.svg"; filename*=UTF-8''it%27s%20%281%29%2A.svg`,
    ],
    ['a;b=c\\d', 'application/octet-stream', `attachment; filename="a_b_c_d"; filename*=UTF-8''a%3Bb%3Dc%5Cd`],
  ])('%s', (path, type, header) => {
    expect(contentDisposition(path, type)).toBe(header);
  });

  it('a range is inside the file or nothing', () => {
    for (const bytes of [0, 1, 10]) {
      for (const text of [
        'bytes=0-0',
        'bytes=-1',
        'bytes=-0',
        'bytes=-99',
        'bytes=9-9',
        'bytes=10-10',
        'bytes=-',
        'bytes=',
      ]) {
        const range = byteRange(text, bytes);
        if (typeof range !== 'object') continue;
        expect(range.start).toBeGreaterThanOrEqual(0);
        expect(range.end).toBeGreaterThan(range.start);
        expect(range.end).toBeLessThanOrEqual(bytes);
      }
    }
  });

  it('a range has numbers of any length, and its unit any case', () => {
    const long = '9'.repeat(400);
    expect(byteRange(`bytes=2-${long}`, 10)).toEqual({ start: 2, end: 10 });
    expect(byteRange(`bytes=-${long}`, 10)).toEqual({ start: 0, end: 10 });
    expect(byteRange(`bytes=${long}-`, 10)).toBe('unsatisfiable');
    expect(byteRange('Bytes=2-3', 10)).toEqual({ start: 2, end: 4 });
    expect(byteRange(`bytes=${long}-${long}`, 10)).toBe('unsatisfiable');
  });
});
