/** The way out: what is on the list, in whatever spelling, and nothing else. Real sockets on loopback. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener, type ServerResponse } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { isPublicAddress, parseAuthority } from '../../../src/egress/destinations.ts';
import { isReachable, type EgressRules } from '../../../src/egress/dialling.ts';
import { EgressGate, type EgressAccess } from '../../../src/egress/egress-gate.ts';

const RULES = { allowsPrivateAddresses: true, bytesMax: 1 << 26, bytesSentMax: 1 << 26 };
const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function listen(server: ReturnType<typeof createServer>): Promise<number> {
  server.on('connection', (socket) => socket.on('error', () => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** A gate behind a port, with what it logged. */
async function gateTo(rules: Partial<EgressRules> & Pick<EgressRules, 'allowed'>) {
  const log: EgressAccess[] = [];
  const gate = new EgressGate({ ...RULES, ...rules }, (access) => log.push(access));
  const port = await listen(
    createServer((socket) => {
      gate.accept(socket);
    }),
  );
  closing.push(() => {
    gate.close();
  });
  return { gate, log, port };
}

/** Sends bytes, and collects what comes back until the end. */
async function say(port: number, text: string | Buffer, keepOpen = false): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port });
  closing.push(() => socket.destroy());
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => undefined);
  socket.write(text);
  if (keepOpen) await once(socket, 'data');
  else await once(socket, 'close');
  return Buffer.concat(chunks).toString('latin1');
}
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);

const web = async (listener: RequestListener) => listen(createHttpServer(listener));

describe('CONNECT', () => {
  it('P26 carries bytes exactly, both ways', async () => {
    const upstream = await listen(createServer((socket) => socket.pipe(socket)));
    const { port, log } = await gateTo({ allowed: [{ host: '127.0.0.1', port: upstream }] });
    const socket: Socket = connect({ host: '127.0.0.1', port });
    closing.push(() => socket.destroy());
    socket.write(`CONNECT 127.0.0.1:${String(upstream)} HTTP/1.1\r\nHost: 127.0.0.1:${String(upstream)}\r\n\r\n`);
    const [head] = (await once(socket, 'data')) as [Buffer];
    expect(head.toString()).toBe('HTTP/1.1 200 Connection established\r\n\r\n');
    const sent = Buffer.alloc(8 << 20, 'abcdefg');
    const received = createHash('sha256');
    let bytes = 0;
    const all = new Promise<void>((resolve) => {
      socket.on('data', (chunk: Buffer) => {
        received.update(chunk);
        bytes += chunk.length;
        if (bytes === sent.length) resolve();
      });
    });
    socket.write(sent);
    await all;
    expect(received.digest('hex')).toBe(createHash('sha256').update(sent).digest('hex'));
    socket.destroy();
    await expect.poll(() => log).toMatchObject([{ verdict: 'allowed', bytes: sent.length, method: 'CONNECT' }]);
  });

  it.each([
    ['P01 an address that is not on the list', '1.2.3.4:443', 403],
    ['P01 a v6 address', '[2606:4700::1]:443', 403],
    ['P02 127.1', '127.1:PORT', 400],
    ['P02 hexadecimal', '0x7f.0.0.1:PORT', 400],
    ['P02 one number', '2130706433:PORT', 400],
    ['P02 octal', '0177.0.0.1:PORT', 400],
    ['P03 v6 loopback', '[::1]:PORT', 403],
    ['P03 mapped', '[::ffff:127.0.0.1]:PORT', 403],
    ['P03 with a zone', '[fe80::1%lo]:PORT', 400],
    ['P07 NUL', 'evil.example\0.allowed.example:443', 400],
    ['P07 empty', ':443', 400],
    ['P07 too long', `${'a'.repeat(300)}:443`, 400],
    ['P08 a name in brackets', '[allowed.example]:443', 400],
    ['P08 brackets twice', '[[allowed.example]]:443', 400],
    ['P08 two ports', 'allowed.example:443:1', 400],
    ['P08 port 0', 'allowed.example:0', 400],
    ['P08 port 65536', 'allowed.example:65536', 400],
    ['P08 a user', 'user@allowed.example:443', 400],
    ['P08 a path', 'allowed.example/x:443', 400],
    ['P09 a longer name', 'evilallowed.example:443', 403],
    ['P09 a name below', 'x.allowed.example:443', 403],
    ['P09 a name above', 'allowed.example.evil.example:443', 403],
    ['P10 another port', 'allowed.example:22', 403],
    ['no port', 'allowed.example', 400],
  ])('%s', async (_name, authority, status) => {
    let connections = 0;
    const upstream = await listen(createServer(() => (connections += 1)));
    const { port, log } = await gateTo({
      allowed: [{ host: 'allowed.example', port: 443 }],
    });
    const target = authority.replace('PORT', String(upstream));
    const answer = await say(port, `CONNECT ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(statusOf(answer)).toBe(status);
    expect(connections).toBe(0);
    for (const { verdict } of log) expect(verdict).toBe('refused');
  });

  it('P06 one form for upper case and a trailing dot', async () => {
    const upstream = await listen(createServer((socket) => socket.end('hello')));
    const { port } = await gateTo({ allowed: [{ host: 'localhost', port: upstream }] });
    expect(await say(port, `CONNECT LocalHost.:${String(upstream)} HTTP/1.1\r\nHost: x\r\n\r\n`)).toContain('hello');
  });

  it('P04 a name that is allowed and stands for a private address', async () => {
    let connections = 0;
    const upstream = await listen(createServer(() => (connections += 1)));
    const allowed = [{ host: 'localhost', port: upstream }];
    const { port, log } = await gateTo({ allowed, allowsPrivateAddresses: false });
    const answer = await say(port, `CONNECT localhost:${String(upstream)} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(statusOf(answer)).toBe(403);
    expect(connections).toBe(0);
    expect(log).toMatchObject([{ verdict: 'refused' }]);
    expect(await isReachable(allowed[0] as never, { ...RULES, allowed, allowsPrivateAddresses: false })).toBe(false);
    expect(await isReachable(allowed[0] as never, { ...RULES, allowed })).toBe(true);
  });

  it('no tunnel to where the gate speaks TLS itself', async () => {
    let connections = 0;
    const upstream = await listen(createServer(() => (connections += 1)));
    const { port, log } = await gateTo({ allowed: [{ host: '127.0.0.1', port: upstream, tls: {} }] });
    const answer = await say(port, `CONNECT 127.0.0.1:${String(upstream)} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(statusOf(answer)).toBe(403);
    expect(connections).toBe(0);
    expect(log).toMatchObject([{ verdict: 'refused' }]);
  });

  it('P19 an empty list allows nothing', async () => {
    const upstream = await listen(createServer());
    const { port } = await gateTo({ allowed: [] });
    const answer = await say(port, `CONNECT 127.0.0.1:${String(upstream)} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(statusOf(answer)).toBe(403);
  });

  it('P21 ends everything past its bytes', async () => {
    const upstream = await listen(createServer((socket) => socket.end(Buffer.alloc(1 << 20))));
    const { port, gate } = await gateTo({ allowed: [{ host: '127.0.0.1', port: upstream }], bytesMax: 100_000 });
    const answer = await say(port, `CONNECT 127.0.0.1:${String(upstream)} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(answer.length).toBeLessThan(1 << 20);
    expect(gate.overflowed).toBe(true);
    expect(await say(port, 'CONNECT a:1 HTTP/1.1\r\n\r\n')).toBe('');
  });

  it('says 502 where nobody listens', async () => {
    const upstream = await listen(createServer());
    for (const close of closing.splice(0)) close();
    const { port, log } = await gateTo({ allowed: [{ host: '127.0.0.1', port: upstream }] });
    expect(statusOf(await say(port, `CONNECT 127.0.0.1:${String(upstream)} HTTP/1.1\r\nHost: x\r\n\r\n`))).toBe(502);
    expect(log).toMatchObject([{ verdict: 'unreachable' }]);
  });
});

describe('plain HTTP', () => {
  it('P11 P16 passes a request on with one host of ours and without credentials', async () => {
    const seen: unknown[] = [];
    const upstream = await web((request, response) => {
      seen.push([request.method, request.url, request.headers]);
      response.setHeader('keep-alive', 'timeout=999').end('page');
    });
    const { port, log } = await gateTo({ allowed: [{ host: '127.0.0.1', port: upstream }] });
    const authority = `127.0.0.1:${String(upstream)}`;
    const answer = await say(
      port,
      `GET http://${authority}/simple/?q#f HTTP/1.1\r\nHost: elsewhere.example\r\nAuthorization: Basic x\r\nCookie: a\r\nProxy-Authorization: y\r\nX-Forwarded-For: 1.1.1.1\r\nAccept: text/html\r\nConnection: close\r\n\r\n`.replace(
        '#f',
        '',
      ),
    );
    expect(statusOf(answer)).toBe(200);
    expect(answer).toContain('page');
    expect(answer).not.toContain('timeout=999');
    expect(seen).toEqual([
      [
        'GET',
        '/simple/?q',
        { host: authority, accept: 'text/html', 'accept-encoding': 'identity', connection: 'close' },
      ],
    ]);
    expect(log).toMatchObject([{ verdict: 'allowed', bytes: 4 }]);
  });

  it('P12 decides every request of a connection', async () => {
    const upstream = await web((_request, response) => response.end('page'));
    const { port } = await gateTo({ allowed: [{ host: '127.0.0.1', port: upstream }] });
    const allowed = `GET http://127.0.0.1:${String(upstream)}/ HTTP/1.1\r\nHost: a\r\n\r\n`;
    const refused = 'GET http://169.254.169.254/latest/meta-data HTTP/1.1\r\nHost: a\r\n\r\n';
    const answer = await say(port, allowed + refused);
    expect(answer.match(/HTTP\/1\.1 \d{3}/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 403']);
  });

  it.each([
    ['P11 two hosts', 'GET http://HOST/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['a body', 'POST http://HOST/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx', 400],
    ['P18 TRACE', 'TRACE http://HOST/ HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a path alone', 'GET / HTTP/1.1\r\nHost: HOST\r\n\r\n', 400],
    ['https in the clear', 'GET https://HOST/ HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['another scheme', 'GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a user', 'GET http://user:secret@HOST/ HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    [
      'P13 both lengths',
      'GET http://HOST/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['P13 a folded header', 'GET http://HOST/ HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n', 400],
    ['P22 nonsense', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', 400],
    ['P22 HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
  ])('refuses %s', async (_name, text, status) => {
    let requests = 0;
    const upstream = await web((_request, response) => {
      requests += 1;
      response.end();
    });
    const { port } = await gateTo({ allowed: [{ host: '127.0.0.1', port: upstream }] });
    const said = text.replaceAll('HOST', `127.0.0.1:${String(upstream)}`);
    const answer = await say(port, Buffer.from(said.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'), 'latin1'));
    expect(statusOf(answer)).toBe(status);
    expect(requests).toBe(0);
  });

  it('P22 an upgrade ends the connection', async () => {
    const { port } = await gateTo({ allowed: [] });
    const text = 'GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
    expect(await say(port, text)).toBe('');
  });

  it('P15 passes a redirect on without following it', async () => {
    const upstream = await web((_request, response) =>
      response.writeHead(302, { location: 'http://169.254.169.254/' }).end(),
    );
    const { port, log } = await gateTo({ allowed: [{ host: '127.0.0.1', port: upstream }] });
    const answer = await say(
      port,
      `GET http://127.0.0.1:${String(upstream)}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    );
    expect(statusOf(answer)).toBe(302);
    expect(log).toHaveLength(1);
  });

  it('an answer that breaks off does not look complete', async () => {
    const upstream = await web((_request, response) => {
      response.setHeader('content-length', 100).write('part');
      setTimeout(() => response.destroy(), 20);
    });
    const { port } = await gateTo({ allowed: [{ host: '127.0.0.1', port: upstream }] });
    const answer = await say(
      port,
      `GET http://127.0.0.1:${String(upstream)}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    );
    expect(answer.toLowerCase()).toContain('content-length: 100');
    expect(answer.endsWith('part')).toBe(true);
  });
});

describe('pages of an index', () => {
  const PAGE = Buffer.from('<a href="fine-1.0-py3-none-any.whl">fine</a>');
  /** What a client gets of a page, and what the log says of it. */
  async function pageFrom(listener: RequestListener) {
    const upstream = await web(listener);
    const { port, log, gate } = await gateTo({ allowed: [{ host: '127.0.0.1', port: upstream }] });
    const text = `GET http://127.0.0.1:${String(upstream)}/simple/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
    const answer = await say(port, text);
    await expect.poll(() => log).toHaveLength(1);
    return { answer, log, gate };
  }
  const packed = (encoding: string, body: Buffer) => (_request: unknown, response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'text/html', 'content-encoding': encoding }).end(body);
  };

  it.each([
    ['gzip', gzipSync(PAGE)],
    ['deflate', deflateSync(PAGE)],
    ['br', brotliCompressSync(PAGE)],
  ])('are unpacked where a server knows only %s', async (encoding, body) => {
    const { answer, log } = await pageFrom(packed(encoding, body));
    expect(answer.endsWith(`\r\n\r\n${String(PAGE)}`)).toBe(true);
    expect(answer.toLowerCase()).toContain(`content-length: ${String(PAGE.length)}`);
    expect(answer.toLowerCase()).not.toContain('content-encoding');
    expect(log).toMatchObject([{ verdict: 'allowed', status: 200, bytes: body.length }]);
    expect(log[0]).not.toHaveProperty('problem');
  });

  it.each<[string, string, RequestListener]>([
    ['packed in no way that is known', 'PAGE_PACKED_ODDLY', packed('zstd', PAGE)],
    ['that is not what it says it is packed as', 'PAGE_PACKED_ODDLY', packed('gzip', PAGE)],
    ['that is no br either', 'PAGE_PACKED_ODDLY', packed('br', PAGE)],
    [
      'that is packed and breaks off',
      'PAGE_CUT_OFF',
      (_request, response) => {
        const head = { 'content-type': 'text/html', 'content-encoding': 'gzip', 'content-length': 1000 };
        response.writeHead(200, head).write(gzipSync(PAGE).subarray(0, 30));
        setTimeout(() => response.destroy(), 20);
      },
    ],
    ['whose packing ends early', 'PAGE_PACKED_ODDLY', packed('gzip', gzipSync(PAGE).subarray(0, 30))],
    [
      'that breaks off',
      'PAGE_CUT_OFF',
      (_request, response) => {
        response.writeHead(200, { 'content-type': 'text/html', 'content-length': 100 }).write('part');
        setTimeout(() => response.destroy(), 20);
      },
    ],
    [
      'that breaks off in chunks',
      'PAGE_CUT_OFF',
      (_request, response) => {
        response.writeHead(200, { 'content-type': 'text/html' }).write('part');
        setTimeout(() => response.destroy(), 20);
      },
    ],
    [
      'that is elsewhere than on the web',
      'NOT_HTTP',
      (_request, response) => response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
    ],
    ['that is nowhere', 'NOT_HTTP', (_request, response) => response.writeHead(302, { location: 'http://[x' }).end()],
  ])('502 for one %s', async (_what, problem, listener) => {
    const { answer, log, gate } = await pageFrom(listener);
    expect(statusOf(answer)).toBe(502);
    expect(answer).not.toContain('part');
    expect(log).toMatchObject([{ verdict: 'allowed', problem }]);
    expect(gate.overflowed).toBe(false);
  });

  it.each<[string, RequestListener]>([
    [
      'written out',
      (_request, response) => {
        response.setHeader('content-type', 'text/html').end(Buffer.alloc((32 << 20) + 1, 'a'));
      },
    ],
    ['packed', packed('gzip', gzipSync(Buffer.alloc(400 << 20, 'a')))],
  ])('one that is too long, %s, ends everything', async (_what, listener) => {
    const { log, gate } = await pageFrom(listener);
    expect(log).toMatchObject([{ problem: 'PAGE_TOO_LONG' }]);
    expect(gate.overflowed).toBe(true);
  });

  it('nobody is told how long to wait before the next question', async () => {
    const { answer, log } = await pageFrom((_request, response) =>
      response.writeHead(429, { 'retry-after': '9999' }).end(),
    );
    expect(statusOf(answer)).toBe(429);
    expect(answer.toLowerCase()).not.toContain('retry-after');
    expect(log).toMatchObject([{ status: 429 }]);
  });

  it('a client that goes away is no problem of the page', async () => {
    const upstream = await web((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).write('part');
    });
    const { port, log } = await gateTo({ allowed: [{ host: '127.0.0.1', port: upstream }] });
    await say(port, `GET http://127.0.0.1:${String(upstream)}/x HTTP/1.1\r\nHost: a\r\n\r\n`, true);
    for (const close of closing.splice(0)) close();
    await expect.poll(() => log).toHaveLength(1);
    expect(log[0]).not.toHaveProperty('problem');
  });
});

describe('destinations', () => {
  it('have one form', () => {
    expect(parseAuthority('PyPI.org.:443')).toEqual({ host: 'pypi.org', port: 443 });
    expect(parseAuthority('pypi.org', 443)).toEqual({ host: 'pypi.org', port: 443 });
    expect(parseAuthority('[2606:4700::1]:8443')).toEqual({ host: '2606:4700::1', port: 8443 });
  });

  it.each([
    '0.0.0.0',
    '10.1.2.3',
    '100.64.0.1',
    '100.127.255.255',
    '127.0.0.1',
    '127.255.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.1',
    '192.168.1.1',
    '198.18.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:8.8.8.8',
    '64:ff9b::808:808',
    'fc00::1',
    'fd00:ec2::254',
    'fe80::1',
    'ff02::1',
    '2002:7f00:1::',
    '2001:db8::1',
    'name',
    '',
  ])('%s is not public', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  it.each([
    '1.1.1.1',
    '100.63.255.255',
    '100.128.0.1',
    '172.32.0.1',
    '151.101.0.223',
    '2606:4700::1',
    '2a04:4e42::223',
  ])('%s is public', (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });
});
