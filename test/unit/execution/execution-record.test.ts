/** One execution: it ends once, and what callers see is what happened. */
import { expect, test } from 'vitest';
import type { ExecutionEvent } from '../../../src/domain/events.ts';
import { isExecutionId } from '../../../src/domain/execution.ts';
import { ExecutionRecord } from '../../../src/execution/execution-record.ts';
import { PLAN } from './plan-and-report.ts';

const never = new AbortController().signal;
const EXITED = { kind: 'exited', exit_code: 0 } as const;

async function eventsOf(record: ExecutionRecord): Promise<ExecutionEvent[]> {
  const events: ExecutionEvent[] = [];
  for await (const event of record.follow(0, never)) events.push(event);
  return events;
}

test('from pending over running to its end', async () => {
  const record = new ExecutionRecord(PLAN, 'anonymous');
  expect(isExecutionId(record.id)).toBe(true);
  expect(record.snapshot()).toMatchObject({ status: 'pending', exit_code: 0, stdout: '', stderr: '' });
  record.started();
  record.output('stdout', Buffer.from('hello'));
  expect(record.snapshot()).toMatchObject({ status: 'running', stdout: 'hello' });
  expect(record.snapshot()).not.toHaveProperty('finished_at');
  record.end(EXITED, { wall_ms: 5 });
  await record.ended;
  expect(record.snapshot()).toMatchObject({
    execution_id: record.id,
    status: 'completed',
    exit_code: 0,
    outcome: EXITED,
    usage: { wall_ms: 5 },
    limits: PLAN.limits,
    image: PLAN.shape.image,
    runtime: 'runc',
  });
  expect((await eventsOf(record)).map(({ type }) => type)).toEqual(['status', 'status', 'stdout', 'result']);
});

test('it ends once: what is said afterwards is ignored', async () => {
  const record = new ExecutionRecord(PLAN, 'anonymous');
  record.end({ kind: 'cancelled', reason: 'requested' }, undefined);
  const before = record.snapshot();
  record.end(EXITED, { wall_ms: 1 });
  record.output('stdout', Buffer.from('late'));
  record.omitted('stdout', 5);
  record.cancel('shutdown');
  expect(record.snapshot()).toMatchObject({ ...before, stdout: '' });
  expect(record.cancellation.aborted).toBe(false);
  expect((await eventsOf(record)).map(({ type }) => type)).toEqual(['status', 'result']);
});

test('the first reason to cancel is the one that is told', () => {
  const record = new ExecutionRecord(PLAN, 'anonymous');
  record.cancel('client_disconnected');
  record.cancel('shutdown');
  expect(record.cancellation.aborted).toBe(true);
  expect(record.cancelReason).toBe('client_disconnected');
});

test('a failure of ours ends in an error event, with its code', async () => {
  const record = new ExecutionRecord(PLAN, 'anonymous');
  record.end({ kind: 'infrastructure_error', code: 'sandbox_failed', detail: 'It broke.' }, undefined);
  expect((await eventsOf(record)).at(-1)).toMatchObject({
    type: 'error',
    code: 'sandbox_failed',
    detail: 'It broke.',
    status: 'failed',
    exit_code: -1,
  });
  expect(record.snapshot()).not.toHaveProperty('started_at');
});

test('what was left out is told per stream', () => {
  const record = new ExecutionRecord(PLAN, 'anonymous');
  record.output('stdout', Buffer.from('abc'));
  expect(record.result()).not.toHaveProperty('truncated');
  record.omitted('stdout', 10);
  record.output('stdout', Buffer.from('de'));
  expect(record.result().truncated).toEqual({ stdout: { total_bytes: 15, kept_bytes: 5, omitted_bytes: 10 } });
});

test('output that is no text is base64 in the execution, beside text that is', () => {
  const record = new ExecutionRecord(PLAN, 'anonymous');
  record.output('stdout', Buffer.from([0xff]));
  record.output('stderr', Buffer.from('text'));
  record.end(EXITED, undefined);
  expect(record.snapshot()).toMatchObject({ stdout: '/w==', stdout_encoding: 'base64', stderr: 'text' });
  expect(record.snapshot()).not.toHaveProperty('stderr_encoding');
});

test('its size grows with what it keeps', () => {
  const record = new ExecutionRecord(PLAN, 'anonymous');
  const before = record.sizeBytes;
  record.output('stdout', Buffer.alloc(5000, 97));
  expect(record.sizeBytes - before).toBe(5000);
});
