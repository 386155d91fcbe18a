/** Recovery: what a process before this one left without an end is given the end that is known, and no other. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ExecutionEvent } from '../../../src/domain/events.ts';
import { newExecutionId, type ExecutionId } from '../../../src/domain/execution.ts';
import { RecordedExecution } from '../../../src/execution/recorded-execution.ts';
import { recover } from '../../../src/execution/recovery.ts';
import { eventsOf } from '../../support/events.ts';
import { temporaryStore } from '../../support/state-directory.ts';
import { eventsThatPrint, finishedResult, resultOf } from '../../support/stored-executions.ts';

let state: ReturnType<typeof temporaryStore>;
beforeEach(() => {
  state = temporaryStore();
});
afterEach(() => {
  state.remove();
});

const never = new AbortController().signal;
const recoverAll = (active = new Map<string, unknown>()) =>
  recover({ store: state.store, directoryOf: state.storage.directoryOf, active });

function left(stage: 'accepted' | 'starting', file?: Buffer | string): ExecutionId {
  const id = newExecutionId();
  state.store.accept({ id, ownerId: 'ada', result: resultOf(id), form: { door: 'd' } });
  if (stage === 'starting') state.store.starting(id, 'c');
  if (file !== undefined) {
    mkdirSync(state.directory.executionDirectory(id));
    writeFileSync(join(state.directory.executionDirectory(id), 'events.ndjson'), file);
  }
  return id;
}

async function shown(id: ExecutionId, after = 0) {
  const stored = state.store.read(id);
  if (!stored) throw new Error('not there');
  const execution = new RecordedExecution(stored, state.directory.executionDirectory(id));
  const events: ExecutionEvent[] = [];
  for await (const event of eventsOf(execution.follow(after, never))) events.push(event);
  return { stored, events, snapshot: await execution.snapshot() };
}

const whole = (id: ExecutionId) => eventsThatPrint(id, 'hello\n').inline;

test.each([
  ['accepted', 'before the program was started', ['status', 'error']],
  ['starting', 'while the program ran', ['status', 'status', 'error']],
] as const)('what was %s is interrupted, and says when', async (stage, reason, types) => {
  const id = left(stage);
  expect((await recoverAll()).map(({ execution_id }) => execution_id)).toEqual([id]);
  const { stored, events, snapshot } = await shown(id);
  expect(stored).toMatchObject({ state: 'done', ownerId: 'ada', form: { door: 'd' } });
  expect(snapshot).toMatchObject({ status: 'failed', exit_code: -1, outcome: { kind: 'interrupted' }, stdout: '' });
  expect(snapshot.error).toContain(reason);
  expect(events.map(({ type }) => type)).toEqual(types);
  expect(events.at(-1)).toMatchObject({ seq: types.length, code: 'interrupted', outcome: { kind: 'interrupted' } });
});

test('what runs in this process is left alone, and what is done stays as it is', async () => {
  const running = left('starting');
  const done = left('starting');
  state.store.finish(done, finishedResult(done), eventsThatPrint(done, 'x'));
  expect(await recoverAll(new Map([[running, true]]))).toEqual([]);
  expect(state.store.read(running)?.state).toBe('starting');
  expect(state.store.read(done)?.result.status).toBe('completed');
});

describe('the events that were saved', () => {
  test('F04: with their end are the whole truth: that end is kept', async () => {
    const id = left('starting');
    mkdirSync(state.directory.executionDirectory(id));
    writeFileSync(join(state.directory.executionDirectory(id), 'events.ndjson'), whole(id));
    await recoverAll();
    const { snapshot, events } = await shown(id);
    expect(snapshot).toMatchObject({
      status: 'completed',
      outcome: { kind: 'exited', exit_code: 0 },
      stdout: 'hello\n',
    });
    expect(snapshot).not.toHaveProperty('seq');
    expect(events.map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
  });

  test('F20: cut at any byte are kept as far as they are whole, and the end is interrupted', async () => {
    const bytes = whole(newExecutionId());
    const lines = bytes.toString().split('\n');
    for (let length = 0; length < bytes.length - 1; length += 7) {
      const id = left('starting', bytes.subarray(0, length));
      await recoverAll();
      const { snapshot, events } = await shown(id);
      const kept = bytes.subarray(0, length).toString().split('\n').length - 1;
      expect(snapshot.outcome?.kind, String(length)).toBe('interrupted');
      const status = kept === 0 ? 2 : kept;
      expect(events).toHaveLength(status + 1);
      expect(events.at(-1)).toMatchObject({ type: 'error', seq: status + 1 });
      if (kept > 0)
        expect(events.slice(0, -1)).toEqual(lines.slice(0, kept).map((line) => JSON.parse(line) as unknown));
    }
  });

  test.each([
    ['zeros, as a power cut leaves them', Buffer.alloc(4096)],
    ['another order', '{"seq":2,"t_ms":0,"type":"status","status":"running"}\n'],
    ['no JSON', 'hello\n'],
  ])('that are %s are not believed', async (_, file) => {
    const id = left('starting', file);
    await recoverAll();
    const { events } = await shown(id);
    expect(events.map(({ type }) => type)).toEqual(['status', 'status', 'error']);
  });
});

test('no number that a reader may have seen is used again, and after the end there is nothing', async () => {
  const id = left('starting');
  state.store.showing(id, 1050);
  await recoverAll();
  const { events } = await shown(id);
  expect(events.map(({ seq }) => seq)).toEqual([1051]);
  expect((await shown(id, 57)).events).toMatchObject([{ seq: 1051, type: 'error' }]);
  expect((await shown(id, 1051)).events).toEqual([]);
});

test('begins anew where it was broken off, and ends each execution once', async () => {
  const ids = Array.from({ length: 600 }, () => left('accepted'));
  expect(await recoverAll()).toHaveLength(600);
  const before = ids.map((id) => state.store.read(id));
  expect(await recoverAll()).toEqual([]);
  expect(ids.map((id) => state.store.read(id))).toEqual(before);
});
