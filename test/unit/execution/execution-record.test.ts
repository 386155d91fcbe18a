/** One execution: it ends once, and what callers see is what happened. */
import { expect, test } from 'vitest';
import type { ExecutionEvent } from '../../../src/domain/events.ts';
import { isExecutionId } from '../../../src/domain/execution.ts';
import { ExecutionRecord } from '../../../src/execution/execution-record.ts';
import { PLAN } from './plan-and-report.ts';
import { eventsOf } from '../../support/events.ts';

const STORAGE = { directoryOf: () => '/nowhere' };
const never = new AbortController().signal;
const EXITED = { kind: 'exited', exit_code: 0 } as const;

async function allOf(record: ExecutionRecord): Promise<ExecutionEvent[]> {
  const events: ExecutionEvent[] = [];
  for await (const event of eventsOf(record.follow(0, never))) events.push(event);
  return events;
}

/** What the story does with an end, but for recording it. */
function end(record: ExecutionRecord, ...how: Parameters<ExecutionRecord['seal']>): void {
  record.seal(...how);
  record.publish();
}

test('from pending over running to its end', async () => {
  const record = new ExecutionRecord(PLAN, 'anonymous', STORAGE);
  expect(isExecutionId(record.id)).toBe(true);
  expect(await record.snapshot()).toMatchObject({ status: 'pending', exit_code: 0, stdout: '', stderr: '' });
  record.started();
  void record.output('stdout', Buffer.from('hello'));
  expect(await record.snapshot()).toMatchObject({ status: 'running', stdout: 'hello' });
  expect(await record.snapshot()).not.toHaveProperty('finished_at');
  end(record, EXITED, { wall_ms: 5 });
  await record.ended;
  expect(await record.snapshot()).toMatchObject({
    execution_id: record.id,
    status: 'completed',
    exit_code: 0,
    outcome: EXITED,
    usage: { wall_ms: 5 },
    limits: PLAN.limits,
    image: PLAN.shape.image,
    runtime: 'runc',
  });
  expect((await allOf(record)).map(({ type }) => type)).toEqual(['status', 'status', 'stdout', 'result']);
});

test('it ends once: what is said afterwards is ignored', async () => {
  const record = new ExecutionRecord(PLAN, 'anonymous', STORAGE);
  end(record, { kind: 'cancelled', reason: 'requested' }, undefined);
  const before = await record.snapshot();
  end(record, EXITED, { wall_ms: 1 });
  void record.output('stdout', Buffer.from('late'));
  record.omitted('stdout', 5);
  record.cancel('shutdown');
  expect(await record.snapshot()).toMatchObject({ ...before, stdout: '' });
  expect(record.cancellation.aborted).toBe(false);
  expect((await allOf(record)).map(({ type }) => type)).toEqual(['status', 'result']);
});

test('the first reason to cancel is the one that is told', () => {
  const record = new ExecutionRecord(PLAN, 'anonymous', STORAGE);
  record.cancel('client_disconnected');
  record.cancel('shutdown');
  expect(record.cancellation.aborted).toBe(true);
  expect(record.cancelReason).toBe('client_disconnected');
});

test('a failure of ours ends in an error event, with its code', async () => {
  const record = new ExecutionRecord(PLAN, 'anonymous', STORAGE);
  end(record, { kind: 'infrastructure_error', code: 'sandbox_failed', detail: 'It broke.' }, undefined);
  expect((await allOf(record)).at(-1)).toMatchObject({
    type: 'error',
    code: 'sandbox_failed',
    detail: 'It broke.',
    status: 'failed',
    exit_code: -1,
  });
  expect(await record.snapshot()).not.toHaveProperty('started_at');
});

test('what was left out is told per stream', () => {
  const record = new ExecutionRecord(PLAN, 'anonymous', STORAGE);
  void record.output('stdout', Buffer.from('abc'));
  expect(record.result()).not.toHaveProperty('truncated');
  record.omitted('stdout', 10);
  void record.output('stdout', Buffer.from('de'));
  expect(record.result().truncated).toEqual({ stdout: { total_bytes: 15, kept_bytes: 5, omitted_bytes: 10 } });
});

test('output that is no text is base64 in the execution, beside text that is', async () => {
  const record = new ExecutionRecord(PLAN, 'anonymous', STORAGE);
  void record.output('stdout', Buffer.from([0xff]));
  void record.output('stderr', Buffer.from('text'));
  end(record, EXITED, undefined);
  expect(await record.snapshot()).toMatchObject({ stdout: '/w==', stdout_encoding: 'base64', stderr: 'text' });
  expect(await record.snapshot()).not.toHaveProperty('stderr_encoding');
});

test('an end is told once it is published, and can be another until then', async () => {
  const record = new ExecutionRecord(PLAN, 'anonymous', STORAGE);
  const seen: string[] = [];
  const reading = (async () => {
    for await (const { type } of eventsOf(record.follow(0, never))) seen.push(type);
  })();
  record.started();
  record.seal(EXITED, { wall_ms: 1 });
  await record.output('stdout', Buffer.from('late'));
  await new Promise((resolve) => setImmediate(resolve));
  expect(record.result()).toMatchObject({ status: 'running', exit_code: 0 });
  expect(record.result()).not.toHaveProperty('outcome');
  expect(record.finalResult()).toMatchObject({ status: 'completed', outcome: EXITED });
  expect(seen).toEqual(['status', 'status']);
  record.seal({ kind: 'infrastructure_error', code: 'storage_full', detail: 'Full.' }, undefined);
  record.publish();
  record.seal(EXITED, undefined);
  await reading;
  expect(seen).toEqual(['status', 'status', 'error']);
  expect(record.result()).toMatchObject({ status: 'failed', outcome: { code: 'storage_full' } });
});
