/**
 * Many inputs over the wire, in every form an answer has; and what becomes of them when the caller, the kernel or the
 * server ends the run between two of them.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { containersOf, docker, until, untilGone } from '../../support/docker-containers.ts';
import { ServiceProcess } from '../../support/service-process.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

interface Result {
  readonly index: number;
  readonly stdout: string;
  readonly outcome: { readonly kind: string };
}
interface Body {
  readonly execution_id: string;
  readonly status: string;
  readonly exit_code: number;
  readonly outcome?: { readonly kind: string };
  readonly results?: readonly Result[];
}
type Event = Result & { readonly seq: number; readonly type: string };

const PROGRAM = 'import sys; print(input())';
const COUNT = 5;
const INPUTS = Array.from({ length: COUNT }, (_, n) => ({ stdin: `line ${String(n)}` }));
const LINES = INPUTS.map(({ stdin }) => `${stdin}\n`);

let service: ServiceProcess;
beforeAll(async () => {
  service = await ServiceProcess.start({ PYEXEC_POOL_SIZE: '1' });
});
afterAll(() => service[Symbol.asyncDispose]());

const post = (to: ServiceProcess, body: object, headers: Record<string, string> = {}, signal?: AbortSignal) =>
  fetch(`${to.url}/api/v1/exec`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ code: PROGRAM, inputs: INPUTS, ...body }),
    ...(signal ? { signal } : {}),
  });
const get = async (from: ServiceProcess, id: string) =>
  (await (await from.get(`/api/v1/executions/${id}`)).json()) as Body;
const ended = async (from: ServiceProcess, id: string) => {
  await until('it has ended', async () => !['pending', 'running'].includes((await get(from, id)).status));
  return get(from, id);
};
const eventsIn = (text: string): Event[] =>
  text
    .split('\n')
    .map((line) => line.replace(/^data: ?/, ''))
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Event)
    .filter(({ type }) => type !== 'heartbeat');
const outputsOf = (of: readonly Result[]) => of.map(({ stdout }) => stdout);
const kinds = ({ results = [] }: Body) => results.map(({ outcome }) => outcome.kind);

describe('every form of answer tells each once, in order', () => {
  test('JSON, and the execution when it is fetched', async () => {
    const body = (await (await post(service, {})).json()) as Body;
    expect(outputsOf(body.results ?? [])).toEqual(LINES);
    expect(await get(service, body.execution_id)).toEqual(body);
  });

  test.each(['application/x-ndjson', 'text/event-stream'])('%s, and its replay from any event on', async (accept) => {
    const events = eventsIn(await (await post(service, {}, { accept })).text());
    const told = events.filter(({ type }) => type === 'input_result');
    expect(told.map(({ index }) => index)).toEqual(INPUTS.map((_, index) => index));
    expect(outputsOf(told)).toEqual(LINES);
    expect(events.at(-1)).toMatchObject({ type: 'result', exit_code: 0 });
    const { execution_id: id } = events.at(-1) as unknown as Body;
    for (const after of [0, told[1]?.seq ?? 0]) {
      const replayed = await service.get(`/api/v1/executions/${id}/events?after=${String(after)}`);
      expect(eventsIn(await replayed.text())).toEqual(events.filter(({ seq }) => seq > after));
    }
  });

  test('an answer that is fetched later, the same for a key that is repeated', async () => {
    const headers = { prefer: 'respond-async', 'idempotency-key': randomUUID() };
    const first = await post(service, {}, headers);
    expect(first.status).toBe(202);
    const { execution_id: id } = (await first.json()) as Body;
    expect(outputsOf((await ended(service, id)).results ?? [])).toEqual(LINES);
    expect(((await (await post(service, {}, headers)).json()) as Body).execution_id).toBe(id);
    const other = await post(service, { inputs: INPUTS.slice(1) }, headers);
    expect(other.status).toBe(422);
  });

  test('a thousand of them', async () => {
    const inputs = Array.from({ length: 1000 }, (_, n) => ({ stdin: String(n) }));
    const body = (await (await post(service, { inputs })).json()) as Body;
    expect(outputsOf(body.results ?? [])).toEqual(inputs.map(({ stdin }) => `${stdin}\n`));
  }, 120_000);
});

/** The first ends at once, the second does not. */
const STUCK = { code: 'import time\nif input() == "line 1": time.sleep(120)\nprint("done")' };
const begun = (to: ServiceProcess, id: string) =>
  until('the first has ended', async () => (await get(to, id)).results?.[0]?.stdout === 'done\n');
const submitted = async (to: ServiceProcess, body: object, headers: Record<string, string> = {}) =>
  ((await (await post(to, body, { prefer: 'respond-async', ...headers })).json()) as Body).execution_id;

describe('what ends the run in the middle', () => {
  test('a cancellation: what ended stays, the rest is told as not run', async () => {
    const id = await submitted(service, STUCK);
    await begun(service, id);
    await fetch(`${service.url}/api/v1/executions/${id}`, { method: 'DELETE' });
    const body = await ended(service, id);
    expect(body).toMatchObject({ status: 'killed', outcome: { kind: 'cancelled' } });
    expect(kinds(body)).toEqual(['exited', 'cancelled', 'not_run', 'not_run', 'not_run']);
  });

  test('a client that goes away', async () => {
    const leaving = new AbortController();
    const response = await post(service, STUCK, { accept: 'application/x-ndjson' }, leaving.signal);
    const id = response.headers.get('x-execution-id') ?? '';
    let text = '';
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      if (text.includes('input_result')) break;
    }
    leaving.abort();
    expect(id).not.toBe('');
    expect(await ended(service, id)).toMatchObject({ status: 'killed', outcome: { kind: 'cancelled' } });
  });

  test('the container is killed from outside: what ended stays, the end is a failure of ours', async () => {
    const id = await submitted(service, STUCK);
    await begun(service, id);
    // One that is being made, or removed, cannot be killed.
    const running = (await containersOf(service.instance)).filter(({ State }) => State === 'running');
    await Promise.allSettled(running.map(({ Id }) => docker.getContainer(Id).kill()));
    const body = await ended(service, id);
    expect(body).toMatchObject({ status: 'failed', outcome: { kind: 'infrastructure_error' } });
    expect(body.results?.[0]).toMatchObject({ stdout: 'done\n', outcome: { kind: 'exited' } });
    expect(body.exit_code).not.toBe(0);
  });

  test('the server is killed: what was written stays, the run is told as interrupted, nothing is left', async () => {
    const state = temporaryStateDirectory();
    const settings = { PYEXEC_STATE_DIR: state.path, PYEXEC_INSTANCE: `test-${randomUUID()}` };
    try {
      const first = await ServiceProcess.start(settings);
      const id = await submitted(first, STUCK);
      await begun(first, id);
      // Output is written every second.
      await new Promise((resolve) => setTimeout(resolve, 2500));
      first.signal('SIGKILL');
      await first.ended;
      await using second = await ServiceProcess.start(settings);
      const body = await ended(second, id);
      expect(body).toMatchObject({ status: 'failed', outcome: { kind: 'interrupted' } });
      expect(body.results?.[0]).toMatchObject({ index: 0, stdout: 'done\n' });
      await untilGone(settings.PYEXEC_INSTANCE);
    } finally {
      state.remove();
    }
  }, 90_000);
});
