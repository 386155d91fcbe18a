/**
 * Many inputs together with what else the service has: modules imported beforehand, installed packages, webhooks, a stream
 * that breaks and is read on, also from another process of the server; many such runs at once; and their bounds.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import type { Execution } from '../../../src/domain/execution.ts';
import { Authority } from '../../support/certificates.ts';
import { containersOf, until } from '../../support/docker-containers.ts';
import { startEngine } from '../../support/engine.ts';
import { given, outputs, runInputs } from '../../support/inputs.ts';
import { startLayerEngine } from '../../support/layers.ts';
import { PackageIndex } from '../../support/package-index.ts';
import { ServiceProcess } from '../../support/service-process.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';
import { wheel } from '../../support/wheels.ts';

type Event = { readonly seq: number; readonly type: string; readonly index?: number; readonly stdout?: string };

const post = (to: ServiceProcess, body: object, headers: Record<string, string> = {}) =>
  fetch(`${to.url}/api/v1/exec`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
const eventsIn = (lines: string): Event[] =>
  lines
    .split('\n')
    .map((line) => line.replace(/^data: ?/, ''))
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Event)
    .filter(({ type }) => type !== 'heartbeat');

test('modules imported beforehand: as they were for every input, from a warm sandbox', async () => {
  await using engine = await startEngine({
    PYEXEC_ALLOWED_IMAGES: 'pyexec/*',
    PYEXEC_POOL_PREIMPORTS: 'pyexec/data=numpy:1',
  });
  const metrics = async () => (await engine.engine.metrics.render()).body;
  await until('one is ready', async () => (await metrics()).includes('pyexec_pool_ready 1\n'));
  const program =
    'import numpy\nprint(int(input()) * 2, hasattr(numpy, "mark"), numpy.arange(3).sum())\nnumpy.mark = 1\nnumpy.arange = None';
  const execution = await runInputs(engine, program, given('1', '2', '3'), { image: 'pyexec/data' });
  expect(outputs(execution)).toEqual(['2 False 3\n', '4 False 3\n', '6 False 3\n']);
  expect(await metrics()).toMatch(/^pyexec_pool_takes_total\{result="preimported",shape="pyexec\/data\+numpy"\} 1$/m);
}, 90_000);

test('packages: as they were for every input, also in a second run', async () => {
  await using index = await PackageIndex.open(
    wheel({ name: 'one', files: { 'one.py': 'VERSION = "one"\nseen = []\n' } }),
  );
  await using engine = await startLayerEngine(index, { PYEXEC_POOL_SIZE: '1' });
  const program = 'import one\none.seen.append(input())\nprint(one.VERSION, one.seen)';
  for (let turn = 0; turn < 2; turn += 1) {
    const execution = await runInputs(engine, program, given('a', 'b'), { requirements: 'one' });
    expect(outputs(execution), execution.stderr).toEqual(["one ['a']\n", "one ['b']\n"]);
  }
}, 120_000);

test('a webhook tells every result, as the execution has them', async () => {
  const authority = new Authority();
  const received: (Execution & { delivery_id?: string })[] = [];
  const server = createServer(authority.sign(['IP:127.0.0.1']), (request, response) => {
    void text(request).then((body) => {
      received.push(JSON.parse(body) as Execution);
      response.writeHead(200).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    await using service = await ServiceProcess.start({
      PYEXEC_WEBHOOK_ALLOWED_HOSTS: '127.0.0.1',
      PYEXEC_WEBHOOK_PORTS: String(port),
      PYEXEC_WEBHOOK_SECRET: 'a secret of sixteen bytes and more',
      PYEXEC_WEBHOOK_CA_FILE: authority.file,
    });
    const body = (await (
      await post(service, {
        code: 'import sys; sys.exit(int(input()))',
        inputs: [{ stdin: '0' }, { stdin: '3' }, { stdin: '0' }],
        webhook: { url: `https://127.0.0.1:${String(port)}/` },
      })
    ).json()) as Execution;
    await expect.poll(() => received.length, { timeout: 20_000 }).toBe(1);
    const { delivery_id, ...told } = received[0] as Execution & { delivery_id?: string };
    expect(delivery_id).toMatch(/^whd_/);
    expect(told.results?.map(({ exit_code }) => exit_code)).toEqual([0, 3, 0]);
    expect(told).toEqual(body);
  } finally {
    server.closeAllConnections();
    server.close();
    authority.remove();
  }
});

describe('a stream that breaks', () => {
  const SLOW = { code: 'import time; line = input(); time.sleep(0.3); print(line)' };
  const inputs = Array.from({ length: 12 }, (_, n) => ({ stdin: `line ${String(n)}` }));

  /** Reads until two inputs have ended, and breaks off. */
  async function readTwo(service: ServiceProcess, accept: string): Promise<{ id: string; events: Event[] }> {
    const accepted = await post(service, { ...SLOW, inputs }, { prefer: 'respond-async' });
    const { execution_id: id } = (await accepted.json()) as Execution;
    const leaving = new AbortController();
    const response = await fetch(`${service.url}/api/v1/executions/${id}/events`, {
      headers: { accept },
      signal: leaving.signal,
    });
    let read = '';
    for await (const chunk of response.body ?? []) {
      read += Buffer.from(chunk as Uint8Array).toString();
      if (eventsIn(read).filter(({ type }) => type === 'input_result').length >= 2) break;
    }
    leaving.abort();
    return { id, events: eventsIn(read) };
  }

  /** What was read before and after is everything, once, in order. */
  function expectWhole(events: readonly Event[]): void {
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, at) => (events[0]?.seq ?? 0) + at));
    const told = events.filter(({ type }) => type === 'input_result');
    expect(told.map(({ index, stdout }) => [index, stdout])).toEqual(inputs.map(({ stdin }, n) => [n, `${stdin}\n`]));
    expect(events.at(-1)?.type).toBe('result');
  }

  test('is read on with Last-Event-ID, and with ?after=, while the run goes on', async () => {
    await using service = await ServiceProcess.start({ PYEXEC_POOL_SIZE: '1' });
    const sse = await readTwo(service, 'text/event-stream');
    const last = String(sse.events.at(-1)?.seq);
    const events = `${service.url}/api/v1/executions/${sse.id}/events`;
    const [byHeader, byQuery] = await Promise.all([
      fetch(events, { headers: { accept: 'text/event-stream', 'last-event-id': last } }).then((answer) =>
        answer.text(),
      ),
      fetch(`${events}?after=${last}`, { headers: { accept: 'application/x-ndjson' } }).then((answer) => answer.text()),
    ]);
    expectWhole([...sse.events, ...eventsIn(byHeader)]);
    expectWhole([...sse.events, ...eventsIn(byQuery)]);
  });

  test('is read on from the server that comes after; a key repeated there is the same execution', async () => {
    const state = temporaryStateDirectory();
    const settings = { PYEXEC_STATE_DIR: state.path, PYEXEC_INSTANCE: `test-${randomUUID()}` };
    try {
      const first = await ServiceProcess.start(settings);
      const { id, events } = await readTwo(first, 'text/event-stream');
      const key = { 'idempotency-key': randomUUID() };
      const asked = { code: 'print(input())', inputs: [{ stdin: 'a' }, { stdin: 'b' }] };
      const known = (await (await post(first, asked, key)).json()) as Execution;
      await until('it has ended', async () => (await first.execution(id)).status === 'completed');
      await first[Symbol.asyncDispose]();
      await using second = await ServiceProcess.start(settings);
      const last = String(events.at(-1)?.seq);
      const rest = await fetch(`${second.url}/api/v1/executions/${id}/events`, {
        headers: { accept: 'text/event-stream', 'last-event-id': last },
      });
      expectWhole([...events, ...eventsIn(await rest.text())]);
      expect(await (await post(second, asked, key)).json()).toEqual(known);
      expect(known.results?.map(({ stdout }) => stdout)).toEqual(['a\n', 'b\n']);
    } finally {
      state.remove();
    }
  }, 90_000);
});

test('twenty such runs at once, some cancelled in the middle: each has its own results', async () => {
  await using service = await ServiceProcess.start({ PYEXEC_POOL_SIZE: '2', PYEXEC_MAX_CONCURRENT: '6' });
  const all = await Promise.all(
    Array.from({ length: 20 }, async (_, run) => {
      const inputs = Array.from({ length: 10 }, (_, n) => ({ stdin: `${String(run)}/${String(n)}` }));
      const code =
        run % 4 === 3
          ? 'import time\nline = input()\nif line.endswith("/3"): time.sleep(60)\nprint(line)'
          : 'print(input())';
      const accepted = await post(service, { code, inputs }, { prefer: 'respond-async' });
      const { execution_id: id } = (await accepted.json()) as Execution;
      const get = async () => (await (await service.get(`/api/v1/executions/${id}`)).json()) as Execution;
      if (run % 4 === 3) {
        await until('three have ended', async () => ((await get()).results?.length ?? 0) >= 3, 50_000);
        await fetch(`${service.url}/api/v1/executions/${id}`, { method: 'DELETE' });
      }
      await until('it has ended', async () => !['pending', 'running'].includes((await get()).status), 50_000);
      return { run, inputs, execution: await get() };
    }),
  );
  for (const { run, inputs, execution } of all) {
    const isCut = run % 4 === 3;
    expect(execution.results?.map(({ stdout }) => stdout)).toEqual(
      inputs.map(({ stdin }, n) => (isCut && n >= 3 ? '' : `${stdin}\n`)),
    );
    expect(execution.results?.map(({ outcome }) => outcome.kind)).toEqual(
      inputs.map((_, n) => (!isCut || n < 3 ? 'exited' : n === 3 ? 'cancelled' : 'not_run')),
    );
  }
  await until('only the pool is left', async () => (await containersOf(service.instance)).length === 2, 40_000);
}, 120_000);

test('as many inputs and bytes as may be, and one more', async () => {
  await using service = await ServiceProcess.start({ PYEXEC_MAX_INPUTS: '20', PYEXEC_MAX_STDIN_MB: '1' });
  const ask = async (count: number, bytes: number) => {
    const inputs = Array.from({ length: count }, () => ({ stdin: 'x'.repeat(bytes / count) }));
    const answer = await post(service, { code: 'import sys; print(len(sys.stdin.read()))', inputs });
    return { status: answer.status, body: (await answer.json()) as Execution & { code?: string; maximum?: number } };
  };
  const MIB = 2 ** 20;
  const most = await ask(16, MIB);
  expect(most.body.results?.map(({ stdout }) => stdout)).toEqual(
    Array.from({ length: 16 }, () => `${String(MIB / 16)}\n`),
  );
  expect((await ask(20, 20)).body.results).toHaveLength(20);
  expect(await ask(21, 21)).toMatchObject({ status: 400, body: { code: 'invalid_request', maximum: 20 } });
  expect(await ask(1, MIB + 1)).toMatchObject({ status: 413, body: { code: 'body_too_large', maximum: MIB } });
});
