/** The H cases of the catalogue of hostile requests that are about this door, over plain sockets. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { gzipSync } from 'node:zlib';
import { archive, file } from '../../support/hostile-archives.ts';
import { endless, EXEC, eventually, postJson, startHttp, tar, type TestServer } from '../../support/http-server.ts';
import { countAnswers, exchange, parseAnswer, RawConnection } from '../../support/http-raw.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startHttp();
});
afterAll(() => server[Symbol.asyncDispose]());

// Whatever was sent: the service lives, and nothing is left of it.
afterEach(async () => {
  const response = await fetch(`${server.url}/health`);
  expect(response.status).toBe(200);
  expect(server.spooled()).toEqual([]);
});

const post = (headers: string, body: string | Uint8Array = ''): Buffer =>
  Buffer.concat([
    Buffer.from(`POST ${EXEC} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`, 'latin1'),
    Buffer.from(body as Uint8Array),
  ]);

const JSON_BODY = '{"code":""}';

function expectProblem(received: string, status: number, code: string): void {
  const answer = parseAnswer(received);
  expect([answer.status, answer.headers['content-type']]).toEqual([status, 'application/problem+json; charset=utf-8']);
  expect(JSON.parse(answer.body)).toMatchObject({ status, code });
}

describe('H02: a body whose length is in doubt', () => {
  it.each([
    ['both lengths', 'Content-Length: 11\r\nTransfer-Encoding: chunked\r\n'],
    ['two lengths', 'Content-Length: 11\r\nContent-Length: 12\r\n'],
    ['a list of lengths', 'Content-Length: 11, 11\r\n'],
    ['a sign', 'Content-Length: +11\r\n'],
    ['a negative length', 'Content-Length: -1\r\n'],
    ['a hexadecimal length', 'Content-Length: 0x0b\r\n'],
    ['an overflow', 'Content-Length: 18446744073709551627\r\n'],
    ['pigeons', 'Transfer-Encoding: pigeons\r\n'],
    ['chunked not last', 'Transfer-Encoding: chunked, identity\r\n'],
    ['a space before the colon', 'Content-Length : 11\r\n'],
    ['a folded header', 'Content-Type: application/json\r\n x\r\n'],
    ['a bare line feed', 'Content-Length: 11\nX: 1\r\n'],
    ['a NUL', 'X: a\0b\r\n'],
  ])('%s: 400 and the end', async (_what, headers) => {
    const received = await exchange(server.port, post(`Content-Type: application/json\r\n${headers}`, JSON_BODY));
    expectProblem(received, 400, 'invalid_request');
    expect(countAnswers(received)).toBe(1);
    expect(parseAnswer(received).headers['connection']).toBe('close');
  });

  it('in a coding beside chunked: 400 and the end', async () => {
    const chunked = (coding: string) =>
      post(
        `Content-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: ${coding}\r\n`,
        `${JSON_BODY.length.toString(16)}\r\n${JSON_BODY}\r\n0\r\n\r\n`,
      );
    expect(parseAnswer(await exchange(server.port, chunked('Chunked'))).status).toBe(200);
    const received = await exchange(server.port, chunked('gzip, chunked'));
    expectProblem(received, 400, 'invalid_request');
    expect(parseAnswer(received).headers['connection']).toBe('close');
  });

  it('HTTP/1.1 without a Host is refused like everything else, HTTP/1.0 is not', async () => {
    expectProblem(await exchange(server.port, 'GET /health HTTP/1.1\r\n\r\n'), 400, 'invalid_request');
    expect(parseAnswer(await exchange(server.port, 'GET /health HTTP/1.0\r\n\r\n')).status).toBe(200);
  });

  it.each([
    'GET / HTTP/1.1\r\n\r\n',
    'garbage\r\n\r\n',
    'GET / HTTP/9.9\r\nHost: x\r\n\r\n',
    '\x16\x03\x01\x02\x00',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  ])('no request at all: %j', async (bytes) => {
    const received = await exchange(server.port, bytes);
    expect(parseAnswer(received).status).toBeGreaterThanOrEqual(400);
    expect(parseAnswer(received).status).toBeLessThan(500);
  });
});

describe('H03: a body that breaks after it was begun', () => {
  it.each([
    ['a bad chunk size', 'zz\r\n'],
    ['a bad chunk terminator', `${tar().length.toString(16)}\r\n${tar().toString('latin1')}XX0\r\n\r\n`],
    ['a bad chunk after a whole archive', `${tar().length.toString(16)}\r\n${tar().toString('latin1')}\r\nq\r\n`],
  ])('%s is no upload', async (_what, chunks) => {
    const planned = server.plans.length;
    await using raw = await RawConnection.open(server.port);
    raw.send(post('Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n'));
    await new Promise((resolve) => setTimeout(resolve, 20));
    raw.send(chunks);
    expectProblem(await raw.closed(), 400, 'invalid_request');
    expect(server.plans).toHaveLength(planned);
  });
});

describe('H04, H05: slow requests', () => {
  it('are ended with a 408', async () => {
    await using slow = await startHttp({ settings: { uploadTimeoutMs: 250 } });
    for (const begin of [
      'GET /health HTTP/1.1\r\nHo',
      post('Content-Type: application/x-tar\r\nContent-Length: 9000\r\n', 'x'),
    ]) {
      await using raw = await RawConnection.open(slow.port);
      raw.send(begin);
      const trickle = setInterval(() => {
        if (raw.socket.writable) raw.send('x');
      }, 60);
      const received = await raw.closed(3_000);
      clearInterval(trickle);
      expectProblem(received, 408, 'request_timeout');
    }
    expect(slow.plans).toEqual([]);
    expect(slow.spooled()).toEqual([]);
    await eventually(() => slow.requests.length === 2, 'both are observed');
    expect(slow.requests.map(({ status, route }) => [status, route])).toEqual([
      [408, 'unparsed'],
      [408, EXEC],
    ]);
  });

  it('are ended sooner when they stop altogether', async () => {
    await using slow = await startHttp({ settings: { stallTimeoutMs: 200 } });
    const received = await exchange(
      slow.port,
      post('Content-Type: application/json\r\nContent-Length: 50\r\n', '{'),
      3_000,
    );
    expectProblem(received, 408, 'request_timeout');
  });
});

describe('H08: much of everything', () => {
  it.each([
    [
      'a header of 17 KB',
      `GET /health HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(17_000)}\r\n\r\n`,
      431,
      'headers_too_large',
    ],
    [
      '3000 headers',
      `GET /health HTTP/1.1\r\nHost: x\r\n${'a:1\r\n'.repeat(3_000)}Connection: close\r\n\r\n`,
      431,
      'headers_too_large',
    ],
    ['a URL of 100 KB', `GET /${'a'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 414, 'uri_too_long'],
  ])('%s', async (_what, bytes, status, code) => {
    expectProblem(await exchange(server.port, bytes), status, code);
  });
});

describe('H07: connections without end', () => {
  const HEALTH = 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n';
  const MAX = 20;

  it.each([
    ['that say nothing', ''],
    ['that asked something once', HEALTH],
    ['that begin a request', 'GET /health HTTP/1.1\r\nHo'],
  ])('%s keep nobody out, and no run is lost to them', async (_what, bytes) => {
    let finish: () => void = () => undefined;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    await using small = await startHttp({ settings: { connectionsMax: MAX }, program: () => finished });
    const running = postJson(small, { code: '' });
    await eventually(() => small.plans.length === 1, 'it runs');
    const idle: RawConnection[] = [];
    for (let n = 0; n < 10 * MAX; n += 1) {
      const raw = await RawConnection.open(small.port);
      raw.send(bytes);
      if (bytes === HEALTH) await raw.until('"ok"');
      idle.push(raw);
      if (n % MAX !== 0) continue;
      const health = await exchange(small.port, 'GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      expect(parseAnswer(health).status).toBe(200);
    }
    await eventually(() => idle.filter(({ socket }) => !socket.destroyed).length < MAX, 'the others are closed');
    finish();
    expect((await running).status).toBe(200);
    for (const { socket } of idle) socket.destroy();
  });

  it('that are all busy are left alone: who comes is closed', async () => {
    await using small = await startHttp({ settings: { connectionsMax: 2 }, program: endless });
    const busy = [await RawConnection.open(small.port), await RawConnection.open(small.port)];
    for (const raw of busy) raw.send(post('Content-Type: application/json\r\nContent-Length: 11\r\n', JSON_BODY));
    await eventually(() => small.plans.length === 2, 'both run');
    expect(await exchange(small.port, HEALTH, 2_000)).toBe('');
    expect(busy.map(({ socket }) => socket.destroyed)).toEqual([false, false]);
    for (const { socket } of busy) socket.destroy();
    await eventually(() => small.executions.activeCount === 0, 'both are over');
  });

  it('of one caller leave room for others: the rest of its requests are told so', async () => {
    await using small = await startHttp({ settings: { connectionsMax: 8 }, program: endless });
    const busy = Array.from({ length: 6 }, () => postJson(small, { code: '' }).catch(() => undefined));
    await eventually(() => small.plans.length === 6, 'six run');
    const refused = await postJson(small, { code: '' });
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1']);
    expect(await refused.json()).toMatchObject({ code: 'rate_limited' });
    expect((await fetch(`${small.url}/health`)).status).toBe(200);
    await small.executions.drain(0);
    await Promise.all(busy);
    expect((await fetch(`${small.url}/api/v1/images`)).status).toBe(200);
  });
});

describe('H09: names that are properties of objects', () => {
  it('as headers', async () => {
    const received = await exchange(
      server.port,
      'GET /health HTTP/1.1\r\nHost: x\r\n__proto__: x\r\nconstructor: y\r\ntoString: z\r\nConnection: close\r\n\r\n',
    );
    expect(parseAnswer(received).status).toBe(200);
  });
});

describe('H10: lengths that lie', () => {
  it('a chunked archive beyond the limit', async () => {
    const large = archive(file('a.py'), file('b.bin', Buffer.alloc(5_000_000)));
    const bytes = Buffer.concat([Buffer.from(`${large.length.toString(16)}\r\n`), large, Buffer.from('\r\n0\r\n\r\n')]);
    expectProblem(
      await exchange(server.port, post('Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n', bytes)),
      413,
      'body_too_large',
    );
  });

  it('chunked JSON beyond the limit', async () => {
    const text = JSON.stringify({ code: 'x'.repeat(5_000_000) });
    const bytes = `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;
    expectProblem(
      await exchange(server.port, post('Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n', bytes)),
      413,
      'body_too_large',
    );
  });

  it('a form that never comes to its first part', async () => {
    const bytes = `${(5_000_000).toString(16)}\r\n${'x'.repeat(5_000_000)}\r\n0\r\n\r\n`;
    expectProblem(
      await exchange(
        server.port,
        post('Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n', bytes),
      ),
      413,
      'body_too_large',
    );
  });

  it('a body shorter than its length', async () => {
    await using raw = await RawConnection.open(server.port);
    raw.send(post('Content-Type: application/json\r\nContent-Length: 100\r\n', JSON_BODY));
    raw.socket.end();
    expectProblem(await raw.closed(), 400, 'invalid_request');
  });

  it('a body longer than its length is another request, and not a valid one', async () => {
    const received = await exchange(
      server.port,
      post('Content-Type: application/json\r\nContent-Length: 11\r\n', `${JSON_BODY}{"code":""}`),
    );
    // The answer that was owed may or may not get out before the connection ends.
    expect(countAnswers(received)).toBeLessThanOrEqual(1);
  });
});

describe('H11: compressed bombs', () => {
  it('are stopped while they expand', async () => {
    const bomb = gzipSync(archive(file('main.py', Buffer.alloc(40_000_000))));
    const response = await fetch(server.url + EXEC, {
      method: 'POST',
      body: Buffer.from(bomb),
      headers: { 'content-type': 'application/gzip' },
    });
    expect([response.status, await response.json()]).toMatchObject([413, { code: 'compression_ratio' }]);
  });
});

describe('H12: forms made to hurt', () => {
  const part = (name: string, content: string, more = '') =>
    `--b\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${content}\r\n`;
  const form = (body: string) =>
    exchange(
      server.port,
      post(
        `Content-Type: multipart/form-data; boundary=b\r\nConnection: close\r\nContent-Length: ${String(Buffer.byteLength(body, 'latin1'))}\r\n`,
        Buffer.from(body, 'latin1'),
      ),
    );
  const project = part('tar', tar().toString('latin1'), '; filename="x"');

  it.each([
    ['100,000 parts', part('x', '').repeat(20_000), 400, 'unknown_field'],
    ['many metadata parts', `${part('metadata', '{}').repeat(100)}--b--\r\n`, 400, 'invalid_request'],
    [
      'a huge field',
      `${project}${part('metadata', `{"stdin":"${'x'.repeat(3_000_000)}"}`)}--b--\r\n`,
      413,
      'body_too_large',
    ],
    [
      'a huge part header',
      `--b\r\nContent-Disposition: form-data; name="${'x'.repeat(200_000)}"\r\n\r\n`,
      400,
      'invalid_multipart',
    ],
    ['a part named __proto__', `${project}${part('__proto__', 'x')}--b--\r\n`, 400, 'unknown_field'],
    [
      'a part named toString before it',
      `${part('toString', 'x', '; filename="x"')}${project}--b--\r\n`,
      400,
      'unknown_field',
    ],
    ['no end', project, 400, 'invalid_multipart'],
    ['nothing but an end', '--b--\r\n', 400, 'missing_project'],
    ['a part without a name', '--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n', 400, 'unknown_field'],
  ])('%s', async (_what, body, status, code) => {
    const planned = server.plans.length;
    expectProblem(await form(body), status, code);
    expect(server.plans).toHaveLength(planned);
  });

  it('a tar before metadata that is wrong is dropped', async () => {
    expectProblem(await form(`${project}${part('metadata', '{"a":')}--b--\r\n`), 400, 'invalid_json');
  });
});

describe('H13: content types made to confuse', () => {
  it.each([
    ['application/json\tx', 415],
    ['application/json garbage', 415],
    ['application/json, text/plain', 415],
    ['application/json/x', 415],
    ['application/jsonx', 415],
    ['"application/json"', 415],
    ['application/x-tar, application/json', 415],
    ['text/plain; application/json', 415],
    [' application/json', 200],
    ['application/json;', 200],
    ['application/json; charset=utf-8', 200],
    ['APPLICATION/JSON', 200],
  ])('%j: %d', async (type, status) => {
    const received = await exchange(
      server.port,
      post(`Content-Type:${type}\r\nConnection: close\r\nContent-Length: 11\r\n`, JSON_BODY),
    );
    expect(parseAnswer(received).status).toBe(status);
  });
});

describe('H14: JSON made to hurt', () => {
  it.each([
    ['a prototype', '{"code":"","__proto__":{}}'],
    ['a constructor', '{"code":"","constructor":{"prototype":{}}}'],
    ['a key twice', '{"code":"","code":"1"}'],
    ['deep nesting', `{"code":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
    ['huge numbers', '{"code":"","limits":{"cpus":1e999}}'],
    ['numbers beyond integers', '{"code":"","limits":{"wall_ms":9007199254740993}}'],
    ['many keys', JSON.stringify(Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [String(i), 0])))],
  ])('%s', async (_what, text) => {
    const response = await postJson(server, text);
    expect(response.status).toBe(400);
  });
});

describe('H16: many requests at once, and odd ones', () => {
  it('answers 1000 pipelined requests in order', async () => {
    await using raw = await RawConnection.open(server.port);
    const requests = Array.from(
      { length: 1_000 },
      (_, i) =>
        `GET /health HTTP/1.1\r\nHost: x\r\nX-Request-Id: r${String(i)}\r\n${i === 999 ? 'Connection: close\r\n' : ''}\r\n`,
    );
    raw.send(requests.join(''));
    const received = await raw.closed(20_000);
    const ids = [...received.matchAll(/^x-request-id: (r\d+)/gim)].map(([, id]) => id);
    expect(ids).toEqual(Array.from({ length: 1_000 }, (_, i) => `r${String(i)}`));
  });

  it.each(['CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n', 'BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n'])(
    'ends %j',
    async (bytes) => {
      const received = await exchange(server.port, bytes);
      expect(received === '' || parseAnswer(received).status >= 400).toBe(true);
    },
  );

  it('takes an upgrade for an ordinary request', async () => {
    const received = await exchange(
      server.port,
      'GET /health HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n',
    );
    expect(parseAnswer(received).status).toBe(200);
  });

  it('writes no error in the place of an answer that is owed', async () => {
    await using slow = await startHttp({ program: () => new Promise((resolve) => setTimeout(resolve, 300)) });
    const received = await exchange(
      slow.port,
      Buffer.concat([
        post('Content-Type: application/json\r\nContent-Length: 11\r\n', JSON_BODY),
        Buffer.from('garbage\r\n\r\n'),
      ]),
    );
    expect(received).not.toContain('invalid_request');
  });
});

describe('H18: forwarded addresses', () => {
  it('are believed from configured proxies only', async () => {
    const clientOf = async (target: TestServer) => {
      await fetch(`${target.url}/health`, { headers: { 'x-forwarded-for': '203.0.113.7' } });
      await eventually(() => target.log.some(({ msg }) => msg === 'request'), 'the line is written');
      return target.log.findLast(({ msg }) => msg === 'request')?.['client'];
    };
    expect(await clientOf(server)).toBe('127.0.0.1');
    await using behind = await startHttp({ settings: { trustProxy: ['127.0.0.1/32'] } });
    expect(await clientOf(behind)).toBe('203.0.113.7');
  });
});
