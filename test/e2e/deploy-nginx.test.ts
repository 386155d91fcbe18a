/**
 * deploy/nginx in front of the real service: each promise of its configuration, met
 * or broken by a client. nginx is Debian's, the configuration is the shipped one.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { nodeBinary } from '../../scripts/setup/packages.mjs';
import { debianCommand } from '../support/deploy-debian.ts';
import { authorization, begin, call, startNginx, type Answer, type Call, type Nginx } from '../support/deploy-nginx.ts';
import { eventually, start, startService, type ServiceProcess } from '../support/deploy-process.ts';

const binary = await debianCommand('nginx', 'nginx-light');

/** nginx's own default for a silent upstream is 60 s; the shipped one must let a run be silent for longer. */
const SILENCE_S = 66;
/** As deploy/nginx/pyexec.conf has them. */
const BURST = 5;
const CONNECTIONS = 10;
const UPLOAD_BYTES_MAX = 100 * 2 ** 20;

const NDJSON = { accept: 'application/x-ndjson' };
const EXEC = '/api/v1/exec';
const program = (...lines: string[]) => JSON.stringify({ code: lines.join('\n') });
/** Counts as a run for nginx; the service refuses it at once. */
const NO_RUN: Call = { path: EXEC, body: '{}' };

const problemOf = ({ headers, text }: Answer) => {
  expect(headers['content-type']).toMatch(/^application\/problem\+json/);
  return JSON.parse(text) as Record<string, unknown>;
};

interface Line {
  readonly atMs: number;
  readonly text: string;
}

/** The lines of an answer, each with the moment it arrived. */
async function* linesOf(response: IncomingMessage): AsyncGenerator<Line> {
  let rest = '';
  for await (const chunk of response.setEncoding('utf8')) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const text of lines) yield { atMs: performance.now(), text };
  }
}

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe.skipIf(binary === undefined)('deploy/nginx', () => {
  let service: ServiceProcess;
  let nginx: Nginx;
  /** Runs that are silent for longer than nginx's default timeout, begun first and looked at last. */
  let silent: { readonly stream: Promise<readonly Line[]>; readonly plain: Promise<Answer> };

  beforeAll(async () => {
    service = await startService({ PYEXEC_TRUST_PROXY: '127.0.0.1' });
    const users = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi', 'silent'];
    nginx = await startNginx({ binary: binary ?? '', service: `127.0.0.1:${String(service.port)}`, users });
    const body = program('import time', `time.sleep(${String(SILENCE_S)})`, 'print("awake")');
    const plain = call(nginx, { path: EXEC, user: 'silent', body });
    const stream = begin(nginx, { path: EXEC, user: 'silent', headers: NDJSON, body }).response.then(({ response }) =>
      collect(linesOf(response)),
    );
    silent = { stream, plain };
    for (const promise of [plain, stream]) promise.catch(() => undefined);
  });
  afterAll(async () => {
    await nginx[Symbol.asyncDispose]();
    await service[Symbol.asyncDispose]();
  });

  const direct = async (path: string) => (await fetch(`${service.url}${path}`)).text();
  const metric = async (line: string) =>
    Number(
      (await direct('/metrics'))
        .split('\n')
        .find((each) => each.startsWith(line))
        ?.split(' ')
        .at(-1) ?? 0,
    );

  describe('TLS', () => {
    const handshake = (options: object) =>
      new Promise<string>((resolve) => {
        const socket = connectTls({ host: '127.0.0.1', port: nginx.port, ca: nginx.certificate, ...options }, () => {
          resolve(`${String(socket.getProtocol())} ${String(socket.alpnProtocol)}`);
          socket.destroy();
        }).on('error', (error: NodeJS.ErrnoException) => {
          resolve(error.code ?? error.message);
        });
      });

    it('speaks TLS 1.2 and 1.3, and HTTP/2', async () => {
      expect(await handshake({ maxVersion: 'TLSv1.2' })).toMatch(/^TLSv1\.2/);
      expect(await handshake({ minVersion: 'TLSv1.3', ALPNProtocols: ['h2', 'http/1.1'] })).toBe('TLSv1.3 h2');
    });

    it('refuses TLS 1.1 and ciphers without forward secrecy', async () => {
      // Both are the server's alert: the client would have taken part.
      const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
      expect(await handshake(old)).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
      const static_ = { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256:AES256-SHA' };
      expect(await handshake(static_)).toMatch(/HANDSHAKE_FAILURE/);
    });

    it('tells clients to stay with it, and says nothing of nginx', async () => {
      const { headers } = await call(nginx, { path: '/api/v1/images', user: 'alice' });
      expect(headers['strict-transport-security']).toMatch(/^max-age=\d{8}/);
      expect(headers.server).toBe('nginx');
    });

    it('does not redirect a client that sent its password in clear', async () => {
      const url = `http://127.0.0.1:${String(nginx.plainPort)}/api/v1/images`;
      const response = await fetch(url, { headers: authorization('alice'), redirect: 'manual' });
      expect(response.status).toBe(403);
      expect(await response.json()).toMatchObject({ code: 'tls_required' });
    });
  });

  describe('authentication', () => {
    it('asks for a password', async () => {
      const refused = await call(nginx, NO_RUN);
      expect(refused.status).toBe(401);
      expect(refused.headers['www-authenticate']).toBe('Basic realm="pyexec"');
      expect(problemOf(refused)).toMatchObject({ status: 401, code: 'unauthenticated', retryable: false });
      expect((await call(nginx, { path: '/api/v1/images', user: 'bob' })).status).toBe(200);
    });

    it('lets nothing of a request through before it has one', async () => {
      const path = '/api/v1/executions/never-asked-for';
      const wrong = { headers: authorization('bob', 'guess') };
      expect((await call(nginx, { path, ...wrong })).status).toBe(401);
      expect((await call(nginx, { path, headers: authorization('mallory') })).status).toBe(401);
      expect(
        (await call(nginx, { ...NO_RUN, path: EXEC, headers: { ...wrong.headers, 'x-forwarded-user': 'bob' } })).status,
      ).toBe(401);
      const seen = nginx.accessLog().filter(({ path: logged }) => logged === path);
      expect(seen.map(({ status, service: answered }) => [status, answered])).toEqual([
        [401, ''],
        [401, ''],
      ]);
    });

    it('leaves only /health open, which tells nothing', async () => {
      const health = await call(nginx, { path: '/health' });
      expect([health.status, health.text]).toEqual([200, '{"status":"ok"}']);
      expect((await call(nginx, { path: '/health', body: '{}' })).status).toBe(403);
    });
  });

  describe('limits per user', () => {
    it('allows 10 executions a minute with a burst of 5, and says when to come back', async () => {
      const burst = await Promise.all(
        Array.from({ length: BURST + 4 }, () => call(nginx, { ...NO_RUN, user: 'alice' })),
      );
      const refused = burst.filter(({ status }) => status === 429);
      expect(burst.filter(({ status }) => status === 400)).toHaveLength(BURST + 1);
      expect(refused).toHaveLength(3);
      for (const answer of refused) {
        expect(answer.headers['retry-after']).toBe('6');
        expect(problemOf(answer)).toMatchObject({ status: 429, code: 'rate_limited', retryable: true });
      }
      // Another user's runs, and this user's other requests, are not concerned.
      expect((await call(nginx, { ...NO_RUN, user: 'bob' })).status).toBe(400);
      expect((await call(nginx, { path: '/api/v1/images', user: 'alice' })).status).toBe(200);
      await sleep(6_000);
      expect((await call(nginx, { ...NO_RUN, user: 'alice' })).status).toBe(400);
      expect((await call(nginx, { ...NO_RUN, user: 'alice' })).status).toBe(429);
    });

    it('counts only who knows the password', async () => {
      const guesses = Array.from({ length: 2 * BURST }, () =>
        call(nginx, { ...NO_RUN, headers: authorization('carol', 'guess') }),
      );
      expect(new Set((await Promise.all(guesses)).map(({ status }) => status))).toEqual(new Set([401]));
      const own = await Promise.all(Array.from({ length: BURST + 1 }, () => call(nginx, { ...NO_RUN, user: 'carol' })));
      expect(own.map(({ status }) => status)).toEqual(Array.from({ length: BURST + 1 }, () => 400));
    });

    it('allows 10 requests at one time', async () => {
      const body = program('import time', 'time.sleep(300)');
      const first = await begin(nginx, { path: EXEC, user: 'dave', headers: NDJSON, body }).response;
      const streams = [first];
      onTestFinished(() => {
        for (const { request } of streams) request.destroy();
      });
      const path = `/api/v1/executions/${String(first.response.headers['x-execution-id'])}/events`;
      const follow = () => begin(nginx, { path, user: 'dave', headers: NDJSON }).response;
      while (streams.length < CONNECTIONS) streams.push(await follow());
      expect(streams.map(({ response }) => response.statusCode)).toEqual(streams.map(() => 200));

      const refused = await call(nginx, { path: '/api/v1/images', user: 'dave' });
      expect(refused.status).toBe(429);
      expect(problemOf(refused)).toMatchObject({ code: 'rate_limited' });
      expect((await call(nginx, { path: '/api/v1/images', user: 'bob' })).status).toBe(200);

      streams.pop()?.request.destroy();
      await eventually('a place after one left', async () => {
        return (await call(nginx, { path: '/api/v1/images', user: 'dave' })).status === 200;
      });
    });
  });

  describe('streams', () => {
    it.each([
      ['NDJSON', NDJSON, '{"seq"'],
      ['server-sent events', { accept: 'text/event-stream' }, 'data: '],
    ])('%s arrive line by line, as they are printed', async (_name, headers, prefix) => {
      const body = program('import time', 'for i in range(5):', '    print("tick", i)', '    time.sleep(0.4)');
      const { response } = await begin(nginx, { path: EXEC, user: 'erin', headers, body }).response;
      const ticks = (await collect(linesOf(response))).filter(
        ({ text }) => text.startsWith(prefix) && text.includes('tick'),
      );
      expect(ticks).toHaveLength(5);
      const gaps = ticks.slice(1).map(({ atMs }, i) => atMs - (ticks[i]?.atMs ?? 0));
      for (const gap of gaps) expect(gap).toBeGreaterThan(200);
      expect(response.headers['x-accel-buffering']).toBeUndefined();
      expect(response.headers['content-encoding']).toBeUndefined();
    });

    it('are not compressed, though the client would take it', async () => {
      const headers = { ...NDJSON, 'accept-encoding': 'gzip, br' };
      const { response } = await begin(nginx, { path: EXEC, user: 'erin', headers, body: program('print("x" * 5000)') })
        .response;
      expect(response.headers['content-encoding']).toBeUndefined();
      expect((await collect(linesOf(response))).some(({ text }) => text.includes('xxxx'))).toBe(true);
    });

    it('an upload reaches the service while it is sent', async () => {
      const { request, response } = begin(nginx, {
        method: 'POST',
        path: EXEC,
        user: 'erin',
        headers: { 'content-type': 'application/x-tar', 'content-length': String(50 * 2 ** 20) },
        open: true,
      });
      request.write(Buffer.alloc(64 * 1024, 'not a tar'));
      // The rest is never sent: only who has seen the beginning can answer.
      const { response: refused } = await response;
      request.destroy();
      expect(refused.statusCode).toBe(400);
    });
  });

  describe('uploads', () => {
    /** A tar of exactly `bytes` bytes whose program prints the size of the file that fills it. */
    function tarOf(bytes: number): Buffer {
      const code = 'import os\nprint(os.path.getsize("filler"))\n';
      const filler = bytes - 4 * 512 - 1024 + 512;
      const archive = Buffer.alloc(bytes);
      const header = (at: number, name: string, size: number) => {
        archive.write(name, at);
        archive.write('0000644\0' + '0000000\0' + '0000000\0', at + 100);
        archive.write(`${size.toString(8).padStart(11, '0')}\0${'0'.repeat(11)}\0`, at + 124);
        archive.write('        0', at + 148);
        archive.write('ustar\x0000', at + 257);
        const sum = archive.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
        archive.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148);
      };
      header(0, 'main.py', code.length);
      archive.write(code, 512);
      header(1024, 'filler', filler);
      return archive;
    }
    const TAR = { 'content-type': 'application/x-tar' };

    it('of exactly the limit are run', async () => {
      const body = tarOf(UPLOAD_BYTES_MAX);
      const answer = await call(nginx, { path: EXEC, user: 'frank', headers: TAR, body });
      expect(answer.status, answer.text).toBe(200);
      expect(JSON.parse(answer.text)).toMatchObject({ stdout: `${String(UPLOAD_BYTES_MAX - 2560)}\n`, exit_code: 0 });
    });

    it.each([
      ['says so', { 'content-length': String(UPLOAD_BYTES_MAX + 1) }],
      ['does not say so', { 'transfer-encoding': 'chunked' }],
    ])('above the limit are refused where the client %s', async (_name, headers) => {
      const { request, response } = begin(nginx, {
        method: 'POST',
        path: EXEC,
        user: 'frank',
        headers: { ...TAR, ...headers },
        open: true,
      });
      request.on('error', () => undefined);
      const body = tarOf(UPLOAD_BYTES_MAX + 512).subarray(0, UPLOAD_BYTES_MAX + 1);
      if ('content-length' in headers) request.flushHeaders();
      else request.end(body);
      const { response: refused } = await response;
      expect(refused.statusCode).toBe(413);
      const [problem = ''] = (await collect(linesWithRest(refused))).slice(0, 1);
      expect(JSON.parse(problem)).toMatchObject({ status: 413, code: 'body_too_large', retryable: false });
      request.destroy();
    });

    async function* linesWithRest(response: IncomingMessage): AsyncGenerator<string> {
      for await (const chunk of response.setEncoding('utf8')) yield String(chunk);
    }
  });

  describe('what is not for outside', () => {
    it.each([
      '/metrics',
      '/metrics/',
      '//metrics',
      '/%6detrics',
      '/METRICS',
      '/metrics?x=/api/',
      '/api/../metrics',
      '/api/%2e%2e/metrics',
      '/api/..%2fmetrics',
      '/api/v1/../../metrics',
      '/docs/../metrics',
      '/metrics;/../api/v1/exec',
      '/metrics%3f/../api/v1/exec',
      '/metrics%00/../api/v1/exec',
      '/ready',
      '/',
    ])('%s', async (path) => {
      const answer = await call(nginx, { path, user: 'grace' });
      expect([400, 404]).toContain(answer.status);
      expect(answer.text).not.toContain('pyexec_');
      problemOf(answer);
    });

    it('what is no request is a problem too', async () => {
      const answers = [
        await call(nginx, { path: `/api/${'x'.repeat(20_000)}` }),
        await call(nginx, { path: '/api/v1/images', headers: { 'x-long': 'x'.repeat(20_000) } }),
      ];
      expect(answers.map(({ status }) => status)).toEqual([414, 431]);
      expect(answers.map((answer) => problemOf(answer)['code'])).toEqual(['uri_too_long', 'headers_too_large']);
      const clear = await fetch(`http://127.0.0.1:${String(nginx.port)}/api/v1/images`);
      expect([clear.status, clear.headers.get('content-type')]).toEqual([400, 'application/problem+json']);
    });

    it('is there for who reaches the service itself', async () => {
      expect(await direct('/metrics')).toContain('pyexec_executions_total');
      expect(await direct('/ready')).toContain('"ready":true');
    });
  });

  describe('a client that leaves', () => {
    const endless = program('import time', 'print("started")', 'while True: time.sleep(1)');
    const cancelled = () => metric('pyexec_executions_total{outcome="cancelled"');

    it('cancels its run, streamed', async () => {
      const { request, response } = await begin(nginx, { path: EXEC, user: 'heidi', headers: NDJSON, body: endless })
        .response;
      const id = String(response.headers['x-execution-id']);
      for await (const { text } of linesOf(response)) if (text.includes('started')) break;
      request.destroy();
      await eventually('cancelled', async () => (await direct(`/api/v1/executions/${id}`)).includes('"killed"'), {
        deadlineMs: 3_000,
      });
      expect(JSON.parse(await direct(`/api/v1/executions/${id}`))).toMatchObject({ outcome: { kind: 'cancelled' } });
    });

    it('cancels its run, though nothing was to be read yet', async () => {
      const before = await cancelled();
      const acquired = () => metric('pyexec_phase_seconds_count{phase="acquire"}');
      const acquiredBefore = await acquired();
      const { request, response } = begin(nginx, { path: EXEC, user: 'heidi', body: endless });
      response.catch(() => undefined);
      await eventually('running', async () => (await acquired()) === acquiredBefore + 1);
      request.destroy();
      await eventually('cancelled', async () => (await cancelled()) === before + 1, { deadlineMs: 3_000 });
    });

    it('cancels its run over HTTP/2, where the connection stays', async () => {
      const before = await cancelled();
      const session = connectHttp2(`https://127.0.0.1:${String(nginx.port)}`, { ca: nginx.certificate });
      onTestFinished(() => {
        session.destroy();
      });
      const headers = { ...authorization('heidi'), ...NDJSON, 'content-type': 'application/json' };
      const stream = session.request({ ':method': 'POST', ':path': EXEC, ...headers });
      stream.on('error', () => undefined);
      stream.end(endless);
      for await (const chunk of stream.setEncoding('utf8')) if (String(chunk).includes('started')) break;
      stream.close(8 /* CANCEL */);
      await eventually('cancelled', async () => (await cancelled()) === before + 1, { deadlineMs: 3_000 });
      expect(session.closed).toBe(false);
    });
  });

  describe('in front of another service', () => {
    let echo: Server;
    let behindKeys: Nginx;
    beforeAll(async () => {
      echo = createServer((request, response) => {
        if (request.url?.endsWith('/busy')) {
          response.writeHead(503, { 'retry-after': '42', 'content-type': 'application/problem+json' });
          response.end('{"code":"overloaded"}');
          return;
        }
        response.end(JSON.stringify(request.headers));
      }).listen(0, '127.0.0.1');
      await once(echo, 'listening');
      const address = `127.0.0.1:${String((echo.address() as AddressInfo).port)}`;
      behindKeys = await startNginx({ binary: binary ?? '', service: address, keys: ['ci', 'agent'] });
    });
    afterAll(async () => {
      await behindKeys[Symbol.asyncDispose]();
      echo.close();
    });
    const key = (name: string) => ({ 'x-api-key': behindKeys.keys[name] ?? '' });

    it('API keys take the place of passwords', async () => {
      const path = '/api/v1/images';
      const { keys } = behindKeys;
      const secret = (keys['ci'] ?? '').split('.')[1] ?? '';
      expect((await call(behindKeys, { path, headers: key('ci') })).status).toBe(200);
      const bearer = { authorization: `Bearer ${keys['agent'] ?? ''}` };
      expect((await call(behindKeys, { path, headers: bearer })).status).toBe(200);
      const wrong: readonly Record<string, string>[] = [
        {},
        { 'x-api-key': '' },
        { 'x-api-key': secret },
        { 'x-api-key': `ci.${'0'.repeat(64)}` },
        { 'x-api-key': `agent.${secret}` },
        { 'x-api-key': `nobody.${secret}` },
        { 'x-api-key': 'nobody.' },
        authorization('ci', secret),
      ];
      for (const headers of wrong) {
        const answer = await call(behindKeys, { path, headers });
        expect(answer.status, JSON.stringify(headers)).toBe(401);
        expect(answer.headers['www-authenticate']).toBe('Bearer realm="pyexec"');
        expect(problemOf(answer)).toMatchObject({ code: 'unauthenticated' });
      }
    });

    it('limits are counted per key', async () => {
      const burst = await Promise.all(
        Array.from({ length: BURST + 3 }, () => call(behindKeys, { ...NO_RUN, headers: key('ci') })),
      );
      expect(burst.filter(({ status }) => status === 429)).toHaveLength(2);
      expect((await call(behindKeys, { ...NO_RUN, headers: key('agent') })).status).toBe(200);
    });

    it('the service hears nothing a client claims about itself', async () => {
      const claims = {
        'x-forwarded-for': '6.6.6.6',
        'x-forwarded-host': 'evil.example',
        'x-forwarded-proto': 'gopher',
        'x-forwarded-user': 'root',
        'x-remote-user': 'root',
        'remote-user': 'root',
        'x-real-ip': '6.6.6.6',
        'x-client-ip': '6.6.6.6',
        forwarded: 'for=6.6.6.6',
        cookie: 'session=1',
        te: 'trailers',
        proxy: 'http://evil.example',
        'proxy-authorization': 'Basic eDp5',
        'x-request-id': 'chosen-by-the-client',
      };
      const answer = await call(behindKeys, { path: '/api/v1/images', headers: { ...key('agent'), ...claims } });
      const heard = JSON.parse(answer.text) as Record<string, string>;
      expect(heard).toEqual({
        host: '127.0.0.1',
        connection: 'close',
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-proto': 'https',
        'x-request-id': expect.stringMatching(/^[0-9a-f]{32}$/) as string,
      });
    });

    it("the service's own refusals pass unchanged", async () => {
      const answer = await call(behindKeys, { path: '/api/v1/busy', headers: key('agent') });
      expect([answer.status, answer.text, answer.headers['retry-after']]).toEqual([503, '{"code":"overloaded"}', '42']);
    });

    it('a service that is gone is a 502, one that does not accept a 504, in the shape of a problem', async () => {
      const gone = await startNginx({ binary: binary ?? '', service: '127.0.0.1:1', keys: ['ci'] });
      const clogged = await startClogged();
      const stuck = await startNginx({
        binary: binary ?? '',
        service: `127.0.0.1:${String(clogged.port)}`,
        keys: ['ci'],
      });
      onTestFinished(async () => {
        for (const each of [gone, stuck, clogged]) await each[Symbol.asyncDispose]();
      });
      for (const [each, status, code] of [
        [gone, 502, 'service_unreachable'],
        [stuck, 504, 'service_timeout'],
      ] as const) {
        const answer = await call(each, { ...NO_RUN, headers: { 'x-api-key': each.keys['ci'] ?? '' } });
        expect(answer.status).toBe(status);
        expect(answer.headers['retry-after']).toBe('5');
        expect(problemOf(answer)).toMatchObject({ status, code, retryable: true });
      }
    });
  });

  describe('what it writes down', () => {
    it('who asked for which path, never the data in the query', async () => {
      await call(nginx, { path: `${EXEC}?env=TOKEN%3Dhunter2`, user: 'grace', body: '{}' });
      const line = await eventually('the line', () =>
        nginx.accessLog().findLast(({ caller, method }) => caller === 'grace' && method === 'POST'),
      );
      expect(line).toMatchObject({ path: EXEC, method: 'POST', address: '127.0.0.1' });
      expect(JSON.stringify(nginx.accessLog())).not.toContain('hunter2');
      // The service's log has the id nginx gave, and the client's address, not nginx's word for it.
      expect(service.printed()).toContain(String(line['request_id']));
    });
  });

  describe('runs that are silent for longer than a minute', () => {
    it('streams live on heartbeats', { timeout: SILENCE_S * 2000 }, async () => {
      const lines = await silent.stream;
      expect(lines.some(({ text }) => text.includes('awake'))).toBe(true);
      expect(lines.at(-1)?.text).toContain('"type":"result"');
      const gaps = lines.slice(1).map(({ atMs }, i) => atMs - (lines[i]?.atMs ?? 0));
      expect(lines.filter(({ text }) => text.includes('"heartbeat"')).length).toBeGreaterThanOrEqual(
        SILENCE_S / 15 - 1,
      );
      expect(Math.max(...gaps)).toBeLessThan(15_500);
    });

    it('plain answers come when the run ends', { timeout: SILENCE_S * 2000 }, async () => {
      const answer = await silent.plain;
      expect(answer.status, answer.text).toBe(200);
      expect(JSON.parse(answer.text)).toMatchObject({ stdout: 'awake\n' });
    });
  });
});

/** A server that listens and never accepts, its queue of connections full. */
async function startClogged() {
  const script =
    'require("net").createServer().listen({port:0,host:"127.0.0.1",backlog:1},function(){console.log(this.address().port)})';
  const server = start(nodeBinary(), ['-e', script], { signal: 'SIGKILL' });
  const port = await eventually('the clogged server', () => Number(server.printed()) || undefined, { owner: server });
  server.child.kill('SIGSTOP');
  const waiting: Socket[] = Array.from({ length: 4 }, () => connectTcp(port, '127.0.0.1').on('error', () => undefined));
  await sleep(200);
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const socket of waiting) socket.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}
