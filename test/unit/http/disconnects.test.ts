/** Clients that leave: during the upload, in the queue, during the run. */
import { ANONYMOUS } from '../../../src/domain/caller.ts';
import { afterEach, describe, expect, it } from 'vitest';
import { archive, file } from '../../support/hostile-archives.ts';
import {
  cancelledEnding,
  EXEC,
  endless,
  eventually,
  startHttp,
  tar,
  type TestServer,
  type TestServerOptions,
} from '../../support/http-server.ts';
import { RawConnection } from '../../support/http-raw.ts';

let server: TestServer | undefined;
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  server = undefined;
});

async function start(options: TestServerOptions = {}): Promise<TestServer> {
  server = await startHttp({ program: endless, ...options });
  return server;
}

const request = (document: object, headers = '') => {
  const body = JSON.stringify(document);
  return `POST ${EXEC} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${String(body.length)}\r\n${headers}\r\n${body}`;
};

async function running(document: object = { code: '' }, headers = ''): Promise<RawConnection> {
  const raw = await RawConnection.open((server as TestServer).port);
  raw.send(request(document, headers));
  await eventually(() => server?.plans.length === 1, 'the run starts');
  return raw;
}

const idle = () => eventually(() => server?.executions.activeCount === 0, 'the run is cancelled', 1_000);

const FORMS = [
  ['application/json', ''],
  ['application/x-ndjson', 'Accept: application/x-ndjson\r\n'],
  ['text/event-stream', 'Accept: text/event-stream\r\n'],
] as const;

describe.each(FORMS)('a client that waits for %s', (_form, headers) => {
  it('cancels its run within a second by leaving', async () => {
    await start();
    const raw = await running({ code: '' }, headers);
    raw.socket.destroy();
    await idle();
    expect(server?.requests.at(-1)).toMatchObject({ status: 499, route: EXEC });
    const id = String(server?.log.find(({ msg }) => msg === 'request')?.['execution_id']);
    expect(server?.executions.get(id, ANONYMOUS).result().outcome).toEqual({
      kind: 'cancelled',
      reason: 'client_disconnected',
    });
  });

  it('cancels a run that still waits for its turn', async () => {
    await start({ concurrent: 1 });
    const first = await running();
    const second = await RawConnection.open((server as TestServer).port);
    second.send(request({ code: '' }, headers));
    await eventually(() => server?.executions.activeCount === 2, 'the second waits');
    second.socket.destroy();
    await eventually(() => server?.executions.activeCount === 1, 'the second is cancelled', 1_000);
    expect(server?.plans).toHaveLength(1);
    first.socket.destroy();
  });

  it('does not cancel a run it detached', async () => {
    await start();
    const raw = await running({ code: '', detach: true }, headers);
    raw.socket.destroy();
    await eventually(() => server?.requests.at(-1)?.status === 499, 'the server notices');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server?.executions.activeCount).toBe(1);
  });
});

describe('a client that does not wait', () => {
  it('does not cancel its run by leaving', async () => {
    await start();
    const raw = await running({ code: '' }, 'Prefer: respond-async\r\n');
    await raw.until('202 Accepted');
    raw.socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server?.executions.activeCount).toBe(1);
  });
});

describe('two requests on one connection', () => {
  it('are both cancelled when it ends, the one that waits behind the other too', async () => {
    await start();
    const raw = await RawConnection.open((server as TestServer).port);
    raw.send(request({ code: '' }) + request({ code: '' }));
    await eventually(() => server?.plans.length === 2, 'both run');
    raw.socket.destroy();
    await idle();
    await eventually(() => server?.requests.length === 2, 'both are over');
  });
});

/** Asks, and has nothing more to say. */
async function halfClosed(text: string): Promise<RawConnection> {
  const raw = await RawConnection.open((server as TestServer).port);
  raw.socket.end(Buffer.from(text));
  return raw;
}

describe.each([...FORMS, ['text/plain', 'Accept: */*\r\n']] as const)(
  'a half-closed client that waits for %s',
  (_form, headers) => {
    /** Waits for `finish`, unless it is cancelled. */
    const untilFinished = async () => {
      const finishing = Promise.withResolvers<void>();
      await start({
        program: async ({ out, cancelled }) => {
          const first = await Promise.race([finishing.promise.then(() => 'done'), cancelled.then(() => 'cancelled')]);
          out(`${first}\n`);
          return first === 'done' ? undefined : cancelledEnding;
        },
      });
      return finishing.resolve;
    };

    it('gets its whole answer, over several probes, and the connection is closed', async () => {
      const finish = await untilFinished();
      const raw = await halfClosed(request({ code: '' }, headers));
      await eventually(() => raw.received.split(/HTTP\/1.1 100|heartbeat/).length > 2, 'it is probed twice');
      finish();
      const received = await raw.closed();
      expect(received.match(/^HTTP\/1.1 200 OK/gm)).toHaveLength(1);
      expect(received).toContain('done');
      expect(received.endsWith('0\r\n\r\n') || received.endsWith('}')).toBe(true);
      expect(server?.requests.at(-1)?.status).toBe(200);
    });

    it('ends its run by going away later', async () => {
      await untilFinished();
      const raw = await halfClosed(request({ code: '' }, headers));
      await eventually(() => /HTTP\/1.1 100|heartbeat/.test(raw.received), 'it is probed');
      raw.socket.destroy();
      await idle();
      expect(server?.requests.at(-1)?.status).toBe(499);
    });
  },
);

describe('a half-closed client', () => {
  it('gets the answers to all it asked on the connection, in their order', async () => {
    await start({
      program: ({ plan, out }) => {
        out(`${plan.args.join()}\n`);
      },
    });
    const raw = await halfClosed([1, 2, 3].map((n) => request({ code: '', args: [String(n)] })).join(''));
    const bodies = [...(await raw.closed()).matchAll(/"stdout":"(\d)/g)].map(([, digit]) => digit);
    expect(bodies).toEqual(['1', '2', '3']);
  });

  it('gets the whole of a download, and of events it follows', async () => {
    await start({
      program: ({ out }) => {
        out(Buffer.alloc(700_000, 'x'));
      },
    });
    const submitted = await halfClosed(request({ code: '' }));
    const id = /"execution_id":"([^"]+)"/.exec(await submitted.closed())?.[1] ?? '';
    const whole = async (path: string) => {
      const raw = await halfClosed(`GET /api/v1/executions/${id}${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      return raw.closed();
    };
    expect((await whole('')).match(/x/g)?.length).toBeGreaterThanOrEqual(700_000);
    expect(await whole('/events')).toMatch(/"type":"result"[^]*\n\r\n0\r\n\r\n$/);
    expect(await whole('/artifacts')).toMatch(/^HTTP\/1.1 200 OK[^]*\}$/);
  });

  it('is answered over HTTP/1.0, and counts as gone there when it has to wait', async () => {
    await start();
    const quick = await halfClosed('GET /health HTTP/1.0\r\nHost: x\r\n\r\n');
    expect(await quick.closed()).toMatch(/200 OK[^]*ok/);
    const waiting = await halfClosed(request({ code: '' }).replace('HTTP/1.1', 'HTTP/1.0'));
    await eventually(() => server?.plans.length === 1, 'the run starts');
    expect(await waiting.closed()).toBe('');
    await idle();
  });

  it('that asked nothing, or not all of it, is closed', async () => {
    await start();
    expect(await (await halfClosed('')).closed()).toBe('');
    expect(await (await halfClosed('GET /health HTT')).closed()).toContain('400 Bad Request');
    expect(await (await halfClosed(request({ code: '' }).slice(0, -1))).closed()).toContain('400 Bad Request');
    expect(server?.plans).toEqual([]);
  });
});

const large = archive(file('main.py'), file('big.bin', Buffer.alloc(1_000_000, 'some text ')), file('z.py'));
const multipart = Buffer.concat([
  Buffer.from('--b\r\nContent-Disposition: form-data; name="tar"; filename="x.tar"\r\n\r\n'),
  large,
  Buffer.from('\r\n--b--\r\n'),
]);
const json = Buffer.from(JSON.stringify({ code: '', stdin: 'x'.repeat(500_000) }));

describe.each([
  ['an archive', 'application/x-tar', large],
  ['a form', 'multipart/form-data; boundary=b', multipart],
  ['JSON', 'application/json', json],
])('an upload of %s that stops', (_what, type, body) => {
  it.each([
    [0, 'length', 'end'],
    [0.5, 'length', 'end'],
    [0.5, 'length', 'reset'],
    [0.999, 'length', 'end'],
    [0.5, 'chunked', 'reset'],
    [1, 'chunked', 'end'],
  ])('at %d of its %s, by %s, runs nothing and leaves nothing', async (part, framing, how) => {
    await start();
    const raw = await RawConnection.open((server as TestServer).port);
    const head = `POST ${EXEC} HTTP/1.1\r\nHost: x\r\nContent-Type: ${type}\r\n`;
    const sent = body.subarray(0, Math.floor(body.length * part));
    if (framing === 'length') raw.send(`${head}Content-Length: ${String(body.length)}\r\n\r\n`);
    else raw.send(`${head}Transfer-Encoding: chunked\r\n\r\n${sent.length.toString(16)}\r\n`);
    raw.send(sent);
    if (framing === 'chunked') raw.send('\r\n');
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
    if (how === 'reset') raw.socket.resetAndDestroy();
    else raw.socket.destroy();
    await eventually(() => server?.requests.length === 1, 'the server notices');
    // An orderly end in the middle of a body is answered, to whoever may still read.
    expect([400, 499]).toContain(server?.requests[0]?.status);
    expect(server?.plans).toEqual([]);
    await eventually(() => server?.spooled().length === 0, 'the spool file is gone');
    expect(server?.executions.activeCount).toBe(0);
  });
});

describe('closing', () => {
  it('lets an answer in progress be sent, and refuses what comes after', async () => {
    let finish: () => void = () => undefined;
    await start({
      settings: { closeGraceMs: 3_000 },
      program: async ({ out }) => {
        await new Promise<void>((resolve) => (finish = resolve));
        out('done\n');
      },
    });
    const waiting = await running();
    const other = await RawConnection.open((server as TestServer).port);
    other.send('GET /health HTTP/1.1\r\nHost: x\r\n\r\n');
    await other.until('"ok"');
    const closed = (server as TestServer).app.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    other.send('GET /health HTTP/1.1\r\nHost: x\r\n\r\n');
    await other.until('shutting_down');
    expect(other.received).toMatch(/HTTP\/1.1 503 [\s\S]*retry-after: 5/i);
    finish();
    await closed;
    expect(await waiting.closed()).toContain('done');
  });

  it('refuses runs while it drains, and still answers everything else', async () => {
    await start();
    const draining = (server as TestServer).executions.drain(10_000);
    const refused = await fetch((server as TestServer).url + EXEC, { method: 'POST', body: tar() });
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('5');
    expect(await refused.json()).toMatchObject({ code: 'shutting_down' });
    expect((await fetch(`${(server as TestServer).url}/health`)).status).toBe(200);
    await draining;
  });
});
