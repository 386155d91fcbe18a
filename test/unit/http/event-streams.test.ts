/** Streams of events: at once, never silent, ending once, resumable, bounded. */
import { ANONYMOUS } from '../../../src/domain/caller.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { eventStream, NDJSON } from '../../../src/http/response-forms/event-stream.ts';
import { EventLog } from '../../../src/output/event-log.ts';
import {
  EXEC,
  endless,
  eventually,
  postJson,
  startHttp,
  tar,
  type TestServer,
  type TestServerOptions,
} from '../../support/http-server.ts';
import { RawConnection } from '../../support/http-raw.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

interface Event {
  readonly seq?: number;
  readonly t_ms: number;
  readonly type: string;
}

let server: TestServer | undefined;
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  server = undefined;
});

async function start(options: TestServerOptions): Promise<TestServer> {
  server = await startHttp(options);
  return server;
}

const lines = (text: string): Event[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Event);

async function submitAsync(): Promise<string> {
  const response = await postJson(server as TestServer, { code: '' }, { headers: { prefer: 'respond-async' } });
  return ((await response.json()) as { execution_id: string }).execution_id;
}

const follow = (id: string, query = '', headers: Record<string, string> = {}) =>
  fetch(`${(server as TestServer).url}/api/v1/executions/${id}/events${query}`, { headers });

const TERMINAL = new Set(['result', 'error']);

describe('a stream', () => {
  it('begins at once and shows output when it is printed', async () => {
    let print: () => void = () => undefined;
    const { url } = await start({
      program: async ({ out }) => {
        out('first\n');
        await new Promise<void>((resolve) => (print = resolve));
        out('second\n');
      },
    });
    const response = await fetch(url + EXEC, {
      method: 'POST',
      body: tar(),
      headers: { 'content-type': 'application/x-tar', accept: 'application/x-ndjson' },
    });
    const reader = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader();
    let seen = '';
    while (!seen.includes('first')) seen += (await reader.read()).value ?? '';
    expect(seen).not.toContain('second');
    print();
    while (!seen.includes('"result"')) seen += (await reader.read()).value ?? '';
    expect(seen).toContain('second');
    expect((await reader.read()).done).toBe(true);
  });

  it('sends its headers even when there is nothing to say', async () => {
    await start({ program: endless });
    const id = await submitAsync();
    await eventually(() => server?.plans.length === 1, 'the run starts');
    await using raw = await RawConnection.open((server as TestServer).port);
    raw.send(`GET /api/v1/executions/${id}/events?after=3 HTTP/1.1\r\nHost: x\r\n\r\n`);
    await raw.until('x-accel-buffering: no');
    expect(raw.received).toMatch(/^HTTP\/1.1 200/);
  });

  it.each([
    ['application/x-ndjson', /^\{"type":"heartbeat","t_ms":\d+\}$/gm],
    ['text/event-stream', /^: heartbeat \d+$/gm],
  ])('%s beats while the program is silent, and while the run still waits', async (accept, pattern) => {
    await start({
      settings: { heartbeatMs: 40 },
      concurrent: 1,
      program: async ({ plan }) => {
        await sleep(plan.args.includes('slow') ? 300 : 0);
      },
    });
    const slow = postJson(server as TestServer, { code: '', args: ['slow'] }, { headers: { accept } });
    await eventually(() => server?.plans.length === 1, 'the first runs');
    const queued = postJson(server as TestServer, { code: '' }, { headers: { accept } });
    for (const response of [await slow, await queued]) {
      const text = await response.text();
      expect(text.match(pattern)?.length).toBeGreaterThanOrEqual(3);
      // The wait is over when the heartbeats are: nothing follows the terminal event.
      expect(text.trimEnd().split('\n').at(-1)).toContain('"type":"result"');
    }
  });

  it('has times that grow, heartbeats included', async () => {
    await start({ settings: { heartbeatMs: 20 }, program: async () => sleep(150).then(() => undefined) });
    const response = await postJson(
      server as TestServer,
      { code: '' },
      { headers: { accept: 'application/x-ndjson' } },
    );
    const events = lines(await response.text());
    const times = events.map(({ t_ms }) => t_ms);
    // A heartbeat is in whole milliseconds, from a clock of its own.
    for (const [index, time] of times.entries()) expect(time).toBeGreaterThan((times[index - 1] ?? 0) - 20);
    expect(events.filter(({ seq }) => seq !== undefined).map(({ seq }) => seq)).toEqual([1, 2, 3]);
  });

  it('ends in exactly one terminal event, its last', async () => {
    await start({
      program: ({ out }) => {
        for (let index = 0; index < 2_000; index++) out(`${String(index)}\n`, index % 2 ? 'stdout' : 'stderr');
      },
    });
    const response = await postJson(
      server as TestServer,
      { code: '' },
      { headers: { accept: 'application/x-ndjson' } },
    );
    const events = lines(await response.text());
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
    expect(events.findIndex(({ type }) => TERMINAL.has(type))).toBe(events.length - 1);
    expect(events).toHaveLength(2_003);
  });
});

describe('GET .../events', () => {
  it('replays what was, follows what comes, for any number of readers', async () => {
    let finish: () => void = () => undefined;
    await start({
      program: async ({ out }) => {
        out('a\n');
        await new Promise<void>((resolve) => (finish = resolve));
        out('b\n');
      },
    });
    const id = await submitAsync();
    await eventually(() => server?.plans.length === 1, 'the run starts');
    const readers = await Promise.all([
      follow(id),
      follow(id, '?after=2'),
      follow(id, '', { accept: 'text/event-stream' }),
    ]);
    finish();
    const [all, rest, sse] = await Promise.all(readers.map((reader) => reader.text()));
    expect(lines(all ?? '').map(({ seq, type }) => [seq, type])).toEqual([
      [1, 'status'],
      [2, 'status'],
      [3, 'stdout'],
      [4, 'stdout'],
      [5, 'result'],
    ]);
    expect(lines(rest ?? '').map(({ seq }) => seq)).toEqual([3, 4, 5]);
    expect(sse?.match(/^id: \d+$/gm)).toHaveLength(5);

    // And once it has ended.
    expect(lines(await (await follow(id, '?after=3')).text()).map(({ seq }) => seq)).toEqual([4, 5]);
    expect(await (await follow(id, '?after=5')).text()).toBe('');
    expect(await (await follow(id, '?after=999')).text()).toBe('');
  });

  it('takes Last-Event-ID, which is newer than the query', async () => {
    await start({});
    const id = await submitAsync();
    await eventually(() => server?.executions.activeCount === 0, 'the run ends');
    const sse = { accept: 'text/event-stream' };
    const resumed = await follow(id, '?after=1', { ...sse, 'last-event-id': '3' });
    expect(await resumed.text()).toMatch(/^id: 4\nevent: result\n/);
    // Everything was seen: this is what stops an EventSource from reconnecting.
    expect((await follow(id, '', { ...sse, 'last-event-id': '4' })).status).toBe(204);
    expect((await follow(id, '', { ...sse, 'last-event-id': '' })).status).toBe(200);
  });

  it.each([
    ['?after=x', {}, 'invalid_request'],
    ['?after=-1', {}, 'invalid_request'],
    ['?after=', {}, 'invalid_request'],
    ['?after=1e3', {}, 'invalid_request'],
    ['?after=1&after=2', {}, 'invalid_request'],
    ['?since=1', {}, 'unknown_field'],
    ['', { 'last-event-id': 'abc' }, 'invalid_request'],
  ])('%s %j: %s', async (query, headers, code) => {
    await start({});
    const response = await follow(await submitAsync(), query, headers);
    expect([response.status, await response.json()]).toMatchObject([400, { code }]);
  });

  it('answers nothing but its two forms', async () => {
    await start({});
    const response = await follow(await submitAsync(), '', { accept: 'application/json' });
    expect(response.status).toBe(406);
  });

  it('answers HEAD without following', async () => {
    await start({ program: endless });
    const id = await submitAsync();
    const url = `${(server as TestServer).url}/api/v1/executions/${id}/events`;
    const response = await fetch(url, { method: 'HEAD' });
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/x-ndjson']);
  });

  it('cancels nothing when its reader leaves', async () => {
    await start({ program: endless });
    const id = await submitAsync();
    await eventually(() => server?.plans.length === 1, 'the run starts');
    const raw = await RawConnection.open((server as TestServer).port);
    raw.send(`GET /api/v1/executions/${id}/events HTTP/1.1\r\nHost: x\r\n\r\n`);
    await raw.until('started');
    raw.socket.destroy();
    await eventually(() => server?.requests.at(-1)?.status === 499, 'the server notices');
    expect(server?.executions.get(id, ANONYMOUS).status).toBe('running');
  });
});

describe('a run longer than a connection may stand still', () => {
  it('is waited for', async () => {
    await start({ settings: { stallTimeoutMs: 150 }, program: async () => sleep(600).then(() => undefined) });
    const response = await postJson(server as TestServer, { code: '' });
    expect([response.status, await response.json()]).toMatchObject([200, { status: 'completed' }]);
  });
});

describe('a reader that does not read', () => {
  it('is cut off in the middle of a large answer too', async () => {
    const { port } = await start({
      settings: { stallTimeoutMs: 300 },
      program: ({ out }) => {
        for (let index = 0; index < 400; index++) out(Buffer.alloc(65_536, 'x'));
      },
    });
    await using raw = await RawConnection.open(port);
    raw.socket.pause();
    raw.send(
      `POST ${EXEC} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"code":""}`,
    );
    await eventually(() => server?.requests.length === 1, 'the answer is given up', 10_000);
    expect(server?.requests[0]?.status).toBe(499);
  });

  it('holds a bounded part of the events', async () => {
    const state = temporaryStateDirectory();
    onTestFinished(state.remove);
    const log = new EventLog({ spillDirectory: state.path });
    const chunk = Buffer.alloc(8192, 'x');
    for (let index = 0; index < 500; index++) void log.output('stdout', chunk);
    const submitted = {
      result: () => ({ created_at: new Date().toISOString() }),
      follow: (after: number, signal: AbortSignal) => log.follow(after, signal),
    };
    const stream = eventStream(submitted as never, {
      framing: NDJSON,
      after: 0,
      heartbeatMs: 5,
      exchange: { probe: () => undefined },
    });
    stream.read(0);
    await sleep(100);
    expect(stream.readableLength).toBeLessThan(2 * 65_536);
    stream.destroy();
    await sleep(20);
    expect(stream.destroyed).toBe(true);
  });

  it('is cut off when it stands still, which ends its run (H06)', async () => {
    await start({
      settings: { stallTimeoutMs: 400 },
      program: async ({ out, signal, cancelled }) => {
        while (!signal.aborted) {
          for (let index = 0; index < 16; index++) out(Buffer.alloc(65_536, 'x'));
          await sleep(5);
          if (process.memoryUsage().rss > 2e9) throw new Error('too much');
        }
        await cancelled;
        return { kind: 'backstop', cause: 'cancelled', wallMs: 1 };
      },
    });
    const { port, executions } = server as TestServer;
    await using raw = await RawConnection.open(port);
    raw.socket.pause();
    raw.send(
      `POST ${EXEC} HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"code":""}`,
    );
    await eventually(() => executions.activeCount === 1, 'the run starts');
    await eventually(() => executions.activeCount === 0, 'the run is cancelled', 10_000);
    expect(server?.requests.at(-1)?.status).toBe(499);
  });
});
