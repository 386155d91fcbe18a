/**
 * H01: bytes that are not quite HTTP, one connection each, and what chance makes of a good
 * request. What is no request is refused or hung up on; nothing hangs, breaks, or is run twice.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it, test } from 'vitest';
import fc from 'fast-check';
import { EXEC, startHttp, type TestServer } from '../../support/http-server.ts';
import { RawConnection } from '../../support/http-raw.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startHttp({ settings: { connectionsMax: 50 } });
});
afterAll(() => server[Symbol.asyncDispose]());
afterEach(async () => {
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
  expect(server.spooled()).toEqual([]);
});

const BODY = '{"code":""}';
const HOST = 'Host: x\r\n';
const GET = `GET /health HTTP/1.1\r\n${HOST}`;
const POST = `POST ${EXEC} HTTP/1.1\r\n${HOST}Content-Type: application/json\r\n`;
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`;
const CHUNK = `b\r\n${BODY}\r\n`;
const LAST = '0\r\n\r\n';

/** Sends all of it, shuts down the sending side, and waits for the end: the statuses that came. */
async function statusesOf(bytes: string): Promise<number[]> {
  await using raw = await RawConnection.open(server.port);
  raw.send(bytes);
  raw.socket.end();
  const received = await raw.closed(8_000);
  return [...received.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status));
}

const REFUSED: Readonly<Record<string, readonly string[]>> = {
  'a request line': [
    '\0\r\n\r\n',
    'GET\r\n\r\n',
    'GET /health\r\n\r\n',
    `GET /health HTTP\r\n${HOST}\r\n`,
    `GET /health HTTP/\r\n${HOST}\r\n`,
    `GET /health HTTP/1\r\n${HOST}\r\n`,
    `GET /health HTTP/1.\r\n${HOST}\r\n`,
    `GET /health HTTP/.1\r\n${HOST}\r\n`,
    `GET /health HTTP/11\r\n${HOST}\r\n`,
    `GET /health HTTP/1.11\r\n${HOST}\r\n`,
    `GET /health HTTP/0.9\r\n${HOST}\r\n`,
    `GET /health HTTP/1.2\r\n${HOST}\r\n`,
    `GET /health HTTP/3.0\r\n${HOST}\r\n`,
    `GET /health http/1.1\r\n${HOST}\r\n`,
    `GET /health HTPP/1.1\r\n${HOST}\r\n`,
    `GET /health HTTP/1.1 x\r\n${HOST}\r\n`,
    `GET /health HTTP/1.1\r${HOST}\r\n`,
    `GET\t/health HTTP/1.1\r\n${HOST}\r\n`,
    `GET /health\tHTTP/1.1\r\n${HOST}\r\n`,
    ` GET /health HTTP/1.1\r\n${HOST}\r\n`,
    `get /health HTTP/1.1\r\n${HOST}\r\n`,
    `G3T /health HTTP/1.1\r\n${HOST}\r\n`,
    `GETS /health HTTP/1.1\r\n${HOST}\r\n`,
    `${'A'.repeat(100)} /health HTTP/1.1\r\n${HOST}\r\n`,
    `GET health HTTP/1.1\r\n${HOST}\r\n`,
    `GET ../health HTTP/1.1\r\n${HOST}\r\n`,
    `GET /hea\0lth HTTP/1.1\r\n${HOST}\r\n`,
    `GET /hea\rlth HTTP/1.1\r\n${HOST}\r\n`,
    `GET /hea\x01lth HTTP/1.1\r\n${HOST}\r\n`,
    `GET /hea\x7flth HTTP/1.1\r\n${HOST}\r\n`,
    `GET http:///health HTTP/1.1\r\n${HOST}\r\n`,
    `GET http://[ HTTP/1.1\r\n${HOST}\r\n`,
    `GET ${EXEC} HTTP/1.1\r\n${HOST}\r\n`,
    `HTTP/1.1 200 OK\r\n${HOST}\r\n`,
    `CONNECT x HTTP/1.1\r\n${HOST}\r\n`,
    `QUERY /health HTTP/1.1\r\n${HOST}\r\n`,
    `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0`,
    `SSH-2.0-OpenSSH_9.2\r\n`,
    `\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03`,
    `{"jsonrpc":"2.0"}\n`,
    `\r\n`.repeat(20) + 'x',
  ],
  'the headers': [
    'GET /health HTTP/1.1\r\n\r\n',
    `GET /health HTTP/1.1\r\n${HOST}${HOST}\r\n`,
    `GET /health HTTP/1.1\r\nHost : x\r\n\r\n`,
    `${GET}X\r\n\r\n`,
    `${GET}: y\r\n\r\n`,
    `${GET} X: y\r\n\r\n`,
    `${GET}X : y\r\n\r\n`,
    `${GET}X\t: y\r\n\r\n`,
    `${GET}X Y: z\r\n\r\n`,
    `${GET}X(Y): z\r\n\r\n`,
    `${GET}X,Y: z\r\n\r\n`,
    `${GET}X\0: z\r\n\r\n`,
    `${GET}\xe4: z\r\n\r\n`,
    `${GET}X\x01: z\r\n\r\n`,
    `${GET}X: a\0b\r\n\r\n`,
    `${GET}X: a\x01b\r\n\r\n`,
    `${GET}X: a\x7fb\r\n\r\n`,
    `${GET}X: a\rb\r\n\r\n`,
    `${GET}X: a\r\r\nY: b\r\n\r\n`,
    `${GET}X: a\r\n b\r\n\r\n`,
    `${GET}X: a\r\n\tb\r\n\r\n`,
    `${GET}X: a\rY: b\r\n\r\n`,
    `${GET}X: a\n\r\n`,
    `${GET}X: a\nY: b\r\n\r\n`,
    `${GET}X: a\r\n\rY: b\r\n\r\n`,
    `${GET}X: a`,
    `${GET}X`,
    `${GET}`,
    `${GET}\r`,
    `${GET}\rX\n`,
  ],
  'the length of a body': [
    ...[
      '',
      ' ',
      '+11',
      '-11',
      '11 11',
      '11,11',
      '11, 12',
      '11;',
      '0x0b',
      '0b',
      '1e1',
      '11.0',
      '１１',
      '11\t',
      '11x',
    ].map((length) => `${POST}Content-Length: ${length}${length === '11\t' ? 'x' : ''}\r\n\r\n${BODY}`),
    ...['99999999999999999999', '18446744073709551627', '9223372036854775819', '4294967307'].map(
      (length) => `${POST}Content-Length: ${length}\r\n\r\n${BODY}`,
    ),
    `${POST}Content-Length: 11\r\nContent-Length: 11\r\n\r\n${BODY}`,
    `${POST}Content-Length: 11\r\ncontent-length: 0\r\n\r\n${BODY}`,
    `${POST}Content-Length: 12\r\n\r\n${BODY}`,
    `${POST}\r\n${BODY}`,
    `${POST}Content-Length: 11\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNK}${LAST}`,
    `${POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n${CHUNK}${LAST}`,
    ...[
      '',
      ' ',
      'identity',
      'pigeons',
      'chunkedx',
      'xchunked',
      'chunked, identity',
      'chunked,',
      'chunked chunked',
      'chunked;x',
      '"chunked"',
      '\x0bchunked',
      'chunked\0',
      'gzip',
    ].map((encoding) => `${POST}Transfer-Encoding: ${encoding}\r\n\r\n${CHUNK}${LAST}`),
    `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n${CHUNK}${LAST}`,
    `${POST}Transfer-Encoding:\r\n chunked\r\n\r\n${CHUNK}${LAST}`,
    `${POST}Transfer-Encoding : chunked\r\n\r\n${CHUNK}${LAST}`,
    `${POST}Transfer_Encoding: chunked\r\n\r\n${CHUNK}${LAST}`,
  ],
  'the chunks of a body': [
    ...[
      '',
      'z',
      '-b',
      '+b',
      '0xb',
      ' b',
      'b b',
      'b_',
      'b\0',
      '１',
      'ffffffffffffffff',
      '10000000000000000',
      'fffffffff',
    ].map((size) => `${CHUNKED}${size}\r\n${BODY}\r\n${LAST}`),
    `${CHUNKED}b${';x=y'.repeat(10_000)}\r\n${BODY}\r\n${LAST}`,
    `${CHUNKED}b;\rx\r\n${BODY}\r\n${LAST}`,
    `${CHUNKED}b;\nx\r\n${BODY}\r\n${LAST}`,
    `${CHUNKED}b;x="\0"\r\n${BODY}\r\n${LAST}`,
    `${CHUNKED}b\n${BODY}\r\n${LAST}`,
    `${CHUNKED}b\r${BODY}\r\n${LAST}`,
    `${CHUNKED}b\r\n${BODY}${LAST}`,
    `${CHUNKED}b\r\n${BODY}\n${LAST}`,
    `${CHUNKED}b\r\n${BODY}XX${LAST}`,
    `${CHUNKED}b\r\n${BODY}\r\n`,
    `${CHUNKED}b\r\n${BODY}\r\n0`,
    `${CHUNKED}b\r\n${BODY}\r\n0\r\n`,
    `${CHUNKED}b\r\n${BODY}\r\n0\r\nX\r\n\r\n`,
    `${CHUNKED}b\r\n${BODY}\r\n0\r\nX : y\r\n\r\n`,
    `${CHUNKED}b\r\n${BODY}\r\n0\r\nX: \0\r\n\r\n`,
    `${CHUNKED}b\r\n${BODY}\r\n0\r\n X: y\r\n\r\n`,
    `${CHUNKED}a\r\n${BODY}\r\n${LAST}`,
    `${CHUNKED}c\r\n${BODY}\r\n${LAST}`,
    CHUNKED,
    `${CHUNKED}${LAST}`,
  ],
};

const READABLE = (bytes: string) => JSON.stringify(bytes.length > 120 ? `${bytes.slice(0, 120)}…` : bytes);

describe.each(Object.entries(REFUSED))('%s that is not one', (_what, requests) => {
  it.each(requests.map((bytes) => [READABLE(bytes), bytes] as const))('%s', async (_name, bytes) => {
    const planned = server.plans.length;
    const statuses = await statusesOf(bytes);
    expect(statuses.length).toBeLessThanOrEqual(1);
    for (const status of statuses) {
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
    }
    expect(server.plans).toHaveLength(planned);
  });
});

describe('what looks odd and is right', () => {
  it.each<[string, string]>([
    ['empty lines before it', `\r\n\r\n${GET}\r\n`],
    // Node's parser is lenient here, and nothing depends on it.
    ['two spaces before the target', `GET  /health HTTP/1.1\r\n${HOST}\r\n`],
    ['a target with a fragment', `GET /health#x HTTP/1.1\r\n${HOST}\r\n`],
    ['an absolute target', `GET http://x/health HTTP/1.1\r\n${HOST}\r\n`],
    ['a header without a value', `${GET}X:\r\n\r\n`],
    ['a header of tabs', `${GET}X:\t\ty\t\r\n\r\n`],
    ['bytes above ASCII', `${GET}X: \xe4\xff\r\n\r\n`],
    ['HTTP/1.0', 'GET /health HTTP/1.0\r\nHost: x\r\n\r\n'],
    ['a length of 0 where there is no body', `${GET}Content-Length: 0\r\n\r\n`],
  ])('%s', async (_what, bytes) => {
    // The sending side stays open: who shuts it down has gone.
    await using raw = await RawConnection.open(server.port);
    raw.send(bytes);
    await raw.until('"ok"');
  });

  it.each<[string, string]>([
    ['leading zeros of a chunk', `${CHUNKED}0000b\r\n${BODY}\r\n${LAST}`],
    ['a chunk extension', `${CHUNKED}b;x=y;z="a"\r\n${BODY}\r\n${LAST}`],
    ['a trailer', `${CHUNKED}${CHUNK}0\r\nX: y\r\n\r\n`],
    ['many chunks', `${CHUNKED}${[...BODY].map((letter) => `1\r\n${letter}\r\n`).join('')}${LAST}`],
    ['a coding in capitals', `${POST}Transfer-Encoding: CHUNKED\r\n\r\n${CHUNK}${LAST}`],
  ])('a run with %s is run once', async (_what, bytes) => {
    const planned = server.plans.length;
    await using raw = await RawConnection.open(server.port);
    raw.send(bytes);
    await raw.until('"status":"completed"');
    expect(server.plans).toHaveLength(planned + 1);
  });
});

test('a good request with bytes changed, put in or taken out never breaks the service, and never runs twice', async () => {
  const good = `${POST}Content-Length: 11\r\n\r\n${BODY}`;
  const edit = fc.record({
    at: fc.nat(good.length),
    remove: fc.nat(3),
    insert: fc.oneof(
      fc.constantFrom(
        '\r\n',
        '\n',
        '\r',
        '\0',
        ' ',
        '\t',
        ':',
        ';',
        ',',
        '0',
        'Transfer-Encoding: chunked\r\n',
        '\r\n\r\n',
        'x',
      ),
      fc.string({ unit: 'binary-ascii', maxLength: 4 }),
    ),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
      let bytes = good;
      for (const { at, remove, insert } of edits) bytes = bytes.slice(0, at) + insert + bytes.slice(at + remove);
      const planned = server.plans.length;
      const statuses = await statusesOf(bytes);
      for (const status of statuses) expect(status).toBeLessThan(500);
      expect(server.plans.length - planned).toBeLessThanOrEqual(1);
    }),
    { numRuns: 300 },
  );
});
