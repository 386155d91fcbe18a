/** Deliveries over real sockets: signed, retried, given up, gone on with after a restart. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ANONYMOUS, type Caller } from '../../../src/domain/caller.ts';
import { newExecutionId, type Execution, type ExecutionId } from '../../../src/domain/execution.ts';
import { WebhookTable } from '../../../src/store/webhook-table.ts';
import { ReceiverGuard, type Resolver } from '../../../src/webhooks/receiver-guard.ts';
import { WebhookDeliveries, type DeliveriesOptions } from '../../../src/webhooks/webhook-deliveries.ts';
import { EXEC, eventually, startHttp } from '../../support/http-server.ts';

const SECRET = 'a secret of sixteen bytes and more';
const caller = (id: string): Caller => ({ id, scopes: new Set(['run', 'read'] as const) });

interface Received {
  readonly headers: IncomingMessage['headers'];
  readonly url: string;
  readonly body: string;
}

const cleanUps: (() => unknown)[] = [];
let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pyexec-webhooks-'));
});
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  rmSync(directory, { recursive: true });
});

async function receiver(answer: (response: ServerResponse, attempt: number) => void = (response) => response.end()) {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      received.push({ headers: request.headers, url: request.url ?? '', body });
      answer(response, received.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { received, port, url: `http://127.0.0.1:${String(port)}/hook` };
}

function setup(ports: readonly number[], change: Partial<DeliveriesOptions> = {}, resolver?: Resolver) {
  const table = new WebhookTable(directory);
  const results: string[] = [];
  const deliveries = new WebhookDeliveries({
    table,
    guard: new ReceiverGuard({ allowsHttp: true, ports, allowed: ['127.0.0.1', 'named.example'] }, resolver),
    secret: undefined,
    attemptsMax: 3,
    retryMs: 1,
    timeoutMs: 5_000,
    pendingMax: 100,
    observe: (result) => results.push(result),
    onError: (error) => {
      throw error;
    },
    userAgent: 'test',
    ...change,
  });
  const close = async () => {
    await deliveries.close();
    table.close();
  };
  cleanUps.push(close);
  return { deliveries, table, results, close };
}

function execution(id: ExecutionId, change: Partial<Execution> = {}): () => Promise<Execution> {
  const base = { execution_id: id, status: 'completed', exit_code: 0, created_at: '2026-01-01T00:00:00.000Z' } as const;
  return () => Promise.resolve({ ...base, stdout: 'ä\n', ...change });
}

function tell({ deliveries }: ReturnType<typeof setup>, url: string, change: Partial<Execution> = {}, owner = 'me') {
  const id = newExecutionId();
  deliveries.check({ url, secret: SECRET });
  deliveries.register(id, owner, { url, secret: SECRET });
  deliveries.ended(id, execution(id, change));
  return id;
}

describe('a delivery', () => {
  test('is one signed message, and is forgotten when it was made', async () => {
    const { received, url, port } = await receiver();
    const made = setup([port]);
    const id = tell(made, url);
    await eventually(() => made.results.length === 1, 'it is delivered');
    expect(made.results).toEqual(['delivered']);
    const [message] = received;
    expect(JSON.parse(message?.body ?? '')).toMatchObject({ execution_id: id, status: 'completed', stdout: 'ä\n' });
    expect(message?.headers).toMatchObject({ 'content-type': 'application/json', 'pyexec-attempt': '1' });
    expect(message?.headers['pyexec-delivery']).toMatch(/^whd_[0-9a-f-]{36}$/);
    expect(['waiting', 'due', 'dead'].map((state) => made.table.count(state as 'due'))).toEqual([0, 0, 0]);
  });

  test('holds no more than the beginning of a long output', async () => {
    const { received, url, port } = await receiver();
    const made = setup([port]);
    tell(made, url, { stdout: 'x'.repeat(65_535) + '😀'.repeat(10) });
    await eventually(() => received.length === 1, 'it is delivered');
    const body = JSON.parse(received[0]?.body ?? '') as Record<string, unknown>;
    expect(body['output_cut']).toEqual(['stdout']);
    expect(body['stdout']).toBe('x'.repeat(65_535));
  });

  test('leaves out the longest of what a program shows, returns and leaves, until it is short enough to be kept', async () => {
    const { received, url, port } = await receiver();
    const made = setup([port]);
    const artifact = { path: 'a', size: 6, media_type: 'text/plain', sha256: 'aa' };
    const result = {
      index: 0,
      exit_code: 0,
      outcome: { kind: 'exited', exit_code: 0 },
      stdout: '',
      stderr: '',
    } as const;
    const long = {
      stdout: '\0'.repeat(70_000),
      result: 'r'.repeat(100_000),
      results: Array.from({ length: 100 }, (_, index) => ({ ...result, index, stdout: 'x'.repeat(100_000) })),
      artifacts: [{ ...artifact, content: 'c'.repeat(2_000_000) }],
    };
    tell(made, url, long);
    await eventually(() => received.length === 1, 'it is delivered');
    expect(Buffer.byteLength(received[0]?.body ?? '')).toBeLessThanOrEqual(2 ** 20);
    const body = JSON.parse(received[0]?.body ?? '') as Record<string, unknown>;
    expect(body['output_cut']).toEqual(['stdout', 'results', 'artifacts.content']);
    expect(body).toMatchObject({ result: long.result, artifacts: [artifact], status: 'completed' });
    expect([body['results'], (body['artifacts'] as object[])[0]]).toEqual([undefined, artifact]);

    const names = Array.from({ length: 3000 }, (_, index) => ({
      ...artifact,
      path: `${'n'.repeat(500)}${String(index)}`,
    }));
    tell(made, url, { artifacts: names.map((each) => ({ ...each, content: 'cc' })) });
    await eventually(() => received.length === 2, 'the other is delivered');
    const other = JSON.parse(received[1]?.body ?? '') as Record<string, unknown>;
    expect([other['output_cut'], other['artifacts']]).toEqual([['artifacts'], undefined]);
  });

  test('passes the checks that docs/WEBHOOKS.md shows, and a forged one does not', async () => {
    const { received, url, port } = await receiver();
    const made = setup([port]);
    tell(made, url);
    await eventually(() => received.length === 1, 'it is delivered');
    const signature = String(received[0]?.headers['pyexec-signature']);
    const document = readFileSync(new URL('../../../docs/WEBHOOKS.md', import.meta.url), 'utf8');
    const block = (language: string) => new RegExp('```' + language + '\\n([\\s\\S]*?)```').exec(document)?.[1] ?? '';
    const verdicts = (body: string) => {
      writeFileSync(join(directory, 'body'), body);
      const python = `${block('python')}\nimport sys\nprint(is_genuine(sys.argv[1].encode(), sys.argv[2], open("body", "rb").read()))`;
      const env = { ...process.env, signature, secret: SECRET };
      const shell = `${block('sh')}\ntrue`;
      return [
        execFileSync('python3', ['-c', python, SECRET, signature], { cwd: directory, encoding: 'utf8' }).trim(),
        execFileSync('sh', ['-c', shell], { cwd: directory, encoding: 'utf8', env }).trim(),
      ];
    };
    const body = received[0]?.body ?? '';
    expect(verdicts(body)).toEqual(['True', 'genuine']);
    expect(verdicts(body.replace('completed', 'failed'))).toEqual(['False', '']);
  });
});

describe('what fails', () => {
  test('is tried again with the same id and body', async () => {
    const { received, url, port } = await receiver((response, attempt) => {
      response.writeHead(attempt < 3 ? 500 : 204).end();
    });
    const made = setup([port]);
    tell(made, url);
    await eventually(() => made.results.length === 3, 'three attempts');
    expect(made.results).toEqual(['failed', 'failed', 'delivered']);
    expect(received.map(({ headers }) => headers['pyexec-attempt'])).toEqual(['1', '2', '3']);
    expect(new Set(received.map(({ headers }) => headers['pyexec-delivery'])).size).toBe(1);
    expect(new Set(received.map(({ body }) => body)).size).toBe(1);
  });

  test('too often is a dead letter: its owner sees it, another does not, and it can be tried again', async () => {
    let isWell = false;
    const { received, url, port } = await receiver((response) => response.writeHead(isWell ? 200 : 503).end());
    const made = setup([port]);
    const id = tell(made, url);
    await eventually(() => made.results.at(-1) === 'dead', 'it is given up');
    expect(received).toHaveLength(3);
    const { deliveries } = made;
    const [letter] = deliveries.deadLetters(caller('me'));
    expect(letter).toMatchObject({ executionId: id, attempts: 3, lastError: 'status_503' });
    expect(deliveries.deadLetters(caller('other'))).toEqual([]);
    expect(deliveries.deadLetters(ANONYMOUS)).toHaveLength(1);
    const missing = expect.objectContaining({ code: 'delivery_not_found' }) as unknown;
    expect(() => deliveries.redeliver(letter?.id ?? '', caller('other'))).toThrow(missing);
    expect(() => deliveries.redeliver('whd_nothing', caller('me'))).toThrow(missing);
    isWell = true;
    deliveries.redeliver(letter?.id ?? '', caller('me'));
    await eventually(() => made.results.at(-1) === 'delivered', 'it is delivered');
    expect(deliveries.deadLetters(ANONYMOUS)).toEqual([]);
  });

  test('with 410 is given up at once', async () => {
    const { url, port } = await receiver((response) => response.writeHead(410).end());
    const made = setup([port]);
    tell(made, url);
    await eventually(() => made.results.length > 0, 'it is given up');
    expect(made.results).toEqual(['dead']);
  });

  test('a redirect is not followed', async () => {
    const inner = await receiver();
    const { url, port } = await receiver((response) => response.writeHead(307, { location: inner.url }).end());
    const made = setup([port, inner.port], { attemptsMax: 1 });
    tell(made, url);
    await eventually(() => made.results.length > 0, 'it is given up');
    expect(made.deliveries.deadLetters(ANONYMOUS)[0]?.lastError).toBe('status_307');
    expect(inner.received).toEqual([]);
  });
});

describe('names', () => {
  test('are resolved once for an attempt, and the connection goes to what was judged', async () => {
    const { received, port } = await receiver();
    const asked: string[] = [];
    const made = setup([port], {}, (host) => {
      asked.push(host);
      return Promise.resolve(asked.length === 1 ? ['127.0.0.1'] : ['192.0.2.1']);
    });
    tell(made, `http://named.example:${String(port)}/x`);
    await eventually(() => made.results.length === 1, 'it is delivered');
    expect([made.results, asked]).toEqual([['delivered'], ['named.example']]);
    expect(received[0]?.headers.host).toBe(`named.example:${String(port)}`);
  });

  test('that come to mean this machine are not connected to, and not told apart from those that mean nothing', async () => {
    const { received, port } = await receiver();
    const table = new WebhookTable(directory);
    const results: string[] = [];
    const deliveries = new WebhookDeliveries({
      table,
      guard: new ReceiverGuard({ allowsHttp: true, ports: [port], allowed: [] }, () => Promise.resolve(['127.0.0.1'])),
      secret: SECRET,
      attemptsMax: 3,
      retryMs: 1,
      timeoutMs: 5_000,
      pendingMax: 10,
      observe: (result) => results.push(result),
      onError: () => undefined,
      userAgent: 'test',
    });
    const id = newExecutionId();
    const url = `http://rebound.example:${String(port)}/`;
    deliveries.check({ url });
    deliveries.register(id, 'me', { url });
    deliveries.ended(id, execution(id));
    await eventually(() => results.length > 0, 'it is given up');
    expect([results, received]).toEqual([['dead'], []]);
    expect(deliveries.deadLetters(caller('me'))[0]?.lastError).toBe('unreachable');
    await deliveries.close();
    table.close();
  });
});

describe('a receiver that dawdles', () => {
  async function tcp(onConnection: (socket: Socket) => void) {
    const sockets: Socket[] = [];
    const server = createTcpServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      onConnection(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUps.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    return { port, url: `http://127.0.0.1:${String(port)}/`, sockets };
  }

  test('with its headers is a timeout', async () => {
    const slow = await tcp((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const drip = setInterval(() => socket.write('X: y\r\n'), 20);
      socket.once('close', () => {
        clearInterval(drip);
      });
    });
    const made = setup([slow.port], { timeoutMs: 200, attemptsMax: 1 });
    tell(made, slow.url);
    await eventually(() => made.results.length > 0, 'it is given up');
    expect(made.deliveries.deadLetters(ANONYMOUS)[0]?.lastError).toBe('timeout');
    await eventually(() => slow.sockets.every((socket) => socket.destroyed), 'the connection is closed');
  });

  test('with its body has taken the message; the connection is closed all the same', async () => {
    const slow = await tcp((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n');
      const drip = setInterval(() => socket.write('x'), 20);
      socket.once('close', () => {
        clearInterval(drip);
      });
    });
    const made = setup([slow.port], { timeoutMs: 200 });
    tell(made, slow.url);
    await eventually(() => made.results.length > 0, 'it is delivered');
    expect(made.results).toEqual(['delivered']);
    await eventually(() => slow.sockets.every((socket) => socket.destroyed), 'the connection is closed');
  });

  test('with a body without end is hung up on after a little of it', async () => {
    let sent = 0;
    const flood = await tcp((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n');
      const push = () => {
        while (!socket.destroyed && socket.write(Buffer.alloc(65_536))) sent += 65_536;
      };
      socket.on('drain', push);
      push();
    });
    const made = setup([flood.port], { timeoutMs: 60_000 });
    tell(made, flood.url);
    await eventually(() => flood.sockets.length > 0 && flood.sockets.every((socket) => socket.destroyed), 'closed');
    expect(made.results).toEqual(['delivered']);
    expect(sent).toBeLessThan(100_000_000);
  });

  test('holds up its own owner, not another', async () => {
    const slow = await tcp(() => undefined);
    const { received, url, port } = await receiver();
    const made = setup([slow.port, port], { timeoutMs: 60_000 });
    for (let n = 0; n < 40; n += 1) tell(made, slow.url, {}, 'slow');
    tell(made, url, {}, 'quick');
    await eventually(() => received.length === 1, 'the other is delivered');
    expect(slow.sockets.length).toBeLessThanOrEqual(4);
  });
});

describe('after a restart', () => {
  test('what was due is delivered, and what had not ended is told as it ended; what was never accepted is not', async () => {
    const { received, url, port } = await receiver();
    const before = setup([port], { retryMs: 3_600_000 });
    const [due, ended, never, running] = [newExecutionId(), newExecutionId(), newExecutionId(), newExecutionId()];
    for (const id of [due, ended, never, running]) before.deliveries.register(id, 'me', { url, secret: SECRET });
    // The process stops before the attempt: closing first breaks it off.
    const closed = before.deliveries.close();
    before.deliveries.ended(due, execution(due));
    await closed;
    await before.close();
    expect(received).toEqual([]);

    const after = setup([port]);
    expect([after.table.count('due'), after.table.count('waiting')]).toEqual([1, 3]);
    await after.deliveries.recover((id) => {
      if (id === ended) return execution(id, { exit_code: 7 })();
      if (id === running) return execution(id, { status: 'running' })();
      return Promise.resolve(undefined);
    });
    await eventually(() => received.length === 2, 'two are told');
    after.deliveries.ended(running, execution(running, { exit_code: 9 }));
    await eventually(() => after.results.filter((result) => result === 'delivered').length === 3, 'all are made');
    const told = new Map(
      received.map(({ body }) => {
        const { execution_id, exit_code } = JSON.parse(body) as Execution;
        return [execution_id, exit_code];
      }),
    );
    expect([due, ended, never, running].map((id) => told.get(id))).toEqual([0, 7, undefined, 9]);
    expect(after.results).toContain('dropped');
    expect([after.table.count('due'), after.table.count('waiting')]).toEqual([0, 0]);
  });

  test('an end that cannot be told yet is told when it can be, whoever learns of it first', async () => {
    const { received, url, port } = await receiver();
    const before = setup([port]);
    const ids = [newExecutionId(), newExecutionId()] as const;
    for (const id of ids) before.deliveries.register(id, 'me', { url, secret: SECRET });
    await before.close();

    const after = setup([port], { recordRetryMs: 20 });
    let isReadable = false;
    await after.deliveries.recover((id) => {
      if (!isReadable) return Promise.reject(new Error('the disk fails'));
      return execution(id, { exit_code: 1 })();
    });
    expect(received).toEqual([]);
    after.deliveries.ended(ids[0], execution(ids[0], { exit_code: 2 }));
    await eventually(() => received.length === 1, 'one is told by what ended it');
    isReadable = true;
    await eventually(() => received.length === 2, 'the other is looked up again');
    const codes = received.map(({ body }) => (JSON.parse(body) as Execution).exit_code);
    expect(codes).toEqual([2, 1]);
    expect(after.table.count('waiting')).toBe(0);
  });

  test('a message that cannot be written down is written down when it can be', async () => {
    const { received, url, port } = await receiver();
    const errors: unknown[] = [];
    const made = setup([port], { recordRetryMs: 20, onError: (error) => errors.push(error) });
    const id = newExecutionId();
    made.deliveries.register(id, 'me', { url, secret: SECRET });
    const other = new DatabaseSync(join(directory, 'webhooks.sqlite'));
    other.exec("CREATE TRIGGER full BEFORE INSERT ON deliveries BEGIN SELECT RAISE(FAIL, 'no space'); END");
    made.deliveries.ended(id, execution(id));
    await eventually(() => errors.length > 1, 'it is tried again');
    expect(received).toEqual([]);
    other.exec('DROP TRIGGER full');
    other.close();
    await eventually(() => received.length === 1, 'it is told');
  });
});

describe('one owner', () => {
  test('leaves room for others: of deliveries to come, and of dead letters', async () => {
    const { deliveries, table } = setup([443], { pendingMax: 8 });
    const register = (owner: string) => {
      deliveries.register(newExecutionId(), owner, { url: 'https://a.example', secret: SECRET });
    };
    for (let n = 0; n < 6; n += 1) register('many');
    expect(() => {
      register('many');
    }).toThrow(expect.objectContaining({ code: 'queue_full' }));
    register('few');
    register('few');
    expect(() => {
      register('other');
    }).toThrow(expect.objectContaining({ code: 'queue_full' }));

    const [dead] = table.inState('waiting', 1);
    if (!dead) throw new Error('nothing waits');
    table.put({ ...dead, id: 'old', ownerId: 'few', state: 'dead', dueAt: 1 });
    for (let n = 0; n < 5; n += 1)
      table.put({ ...dead, id: `m${String(n)}`, ownerId: 'many', state: 'dead', dueAt: 10 + n });
    table.trimDead(3, 100);
    expect(table.dead('many', 9).map(({ id }) => id)).toEqual(['m4', 'm3', 'm2']);
    expect(table.dead('few', 9).map(({ id }) => id)).toEqual(['old']);
    table.trimDead(3, 2);
    expect(table.dead(undefined, 9).map(({ id }) => id)).toEqual(['m4', 'm3']);
    await deliveries.close();
  });

  test('of those due only the first are looked at, the longest due first', () => {
    const { table } = setup([443]);
    const due = (id: string, ownerId: string, dueAt: number, state: 'due' | 'dead' = 'due') => {
      table.put({
        id,
        executionId: newExecutionId(),
        ownerId,
        url: '',
        secret: '',
        state,
        body: 'x',
        attempts: 0,
        dueAt,
        lastError: '',
        createdAt: 0,
      });
    };
    for (let n = 0; n < 20; n += 1) due(`a${String(n)}`, 'a', 10 * n);
    due('b', 'b', 45);
    due('d', 'dead', 1, 'dead');
    const ids = table.due(100).map(({ id }) => id);
    expect(ids).toEqual(['a0', 'a1', 'a2', 'a3', 'a4', 'b', 'a5', 'a6', 'a7']);
    expect(table.due(2).map(({ id }) => id)).toEqual(['a0', 'a1']);
    // Lists are read again and again: messages, which can be long, are read when they are sent.
    for (const [note] of [table.due(1), table.dead('dead', 1)]) {
      expect(note).toMatchObject({ attempts: 0 });
      expect(note).not.toHaveProperty('body');
      expect(note).not.toHaveProperty('secret');
    }
  });
});

describe('over HTTP', () => {
  test('a run tells its webhook, refusals come before it is accepted, dead letters are listed and tried again', async () => {
    let isWell = true;
    const { received, url, port } = await receiver((response) => response.writeHead(isWell ? 200 : 500).end());
    const { deliveries } = setup([port], { attemptsMax: 1, pendingMax: 2 });
    await using server = await startHttp({ engine: { webhooks: deliveries } });
    const post = (webhook: object) =>
      fetch(server.url + EXEC, {
        method: 'POST',
        headers: { 'content-type': 'application/json', prefer: 'respond-async' },
        body: JSON.stringify({ code: '', webhook }),
      });
    const accepted = (await (await post({ url, secret: SECRET })).json()) as Execution;
    await eventually(() => received.length === 1, 'it is told');
    expect(JSON.parse(received[0]?.body ?? '')).toMatchObject({
      execution_id: accepted.execution_id,
      status: 'completed',
      stdout: 'hello\n',
    });
    const before = server.plans.length;
    for (const webhook of [
      { url },
      { url, secret: 'short' },
      { url, secret: 'x'.repeat(1025) },
      { url: 'https://10.0.0.1/', secret: SECRET },
    ]) {
      const refused = await post(webhook);
      expect([refused.status, await refused.json()]).toMatchObject([422, { code: 'invalid_webhook' }]);
    }
    expect(server.plans).toHaveLength(before);

    isWell = false;
    await post({ url, secret: SECRET });
    const list = async () => {
      const response = await fetch(`${server.url}/api/v1/webhooks/dead-letters`);
      return (await response.json()) as { dead_letters: { delivery_id: string; last_error: string }[] };
    };
    await eventually(() => deliveries.deadCount === 1, 'it is given up');
    const [letter] = (await list()).dead_letters;
    expect(letter?.last_error).toBe('status_500');
    expect(JSON.stringify(letter)).not.toContain(SECRET);
    isWell = true;
    const path = `${server.url}/api/v1/webhooks/dead-letters/${letter?.delivery_id ?? ''}/redeliver`;
    expect((await fetch(path, { method: 'POST' })).status).toBe(202);
    await eventually(() => received.length === 3, 'it is told again');
    expect((await list()).dead_letters).toEqual([]);
    expect((await fetch(path, { method: 'POST' })).status).toBe(404);
  });
});
