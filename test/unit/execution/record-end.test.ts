/** F17: the end of a run on a file system that is really full: kept, told as it is, with the output there is room for. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ExecutionEvent } from '../../../src/domain/events.ts';
import type { Outcome } from '../../../src/domain/outcome.ts';
import { ExecutionRecord } from '../../../src/execution/execution-record.ts';
import { recordEnd } from '../../../src/execution/record-end.ts';
import { RecordedExecution } from '../../../src/execution/recorded-execution.ts';
import { ExecutionStore } from '../../../src/store/execution-store.ts';
import { StateDirectory } from '../../../src/store/state-directory.ts';
import { eventsOf } from '../../support/events.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';
import { PLAN } from './plan-and-report.ts';

const KIB = 1024;
const EXITED: Outcome = { kind: 'exited', exit_code: 0 };
const never = new AbortController().signal;

describe.skipIf(process.getuid?.() !== 0)('on a full disk', () => {
  let outer: ReturnType<typeof temporaryStateDirectory>;
  let small: string;
  let state: StateDirectory;
  let store: ExecutionStore;
  const records: ExecutionRecord[] = [];
  beforeEach(() => {
    outer = temporaryStateDirectory();
    small = join(outer.path, 'small');
    mkdirSync(small);
    const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=12m,mode=0700', 'tmpfs', small]);
    if (status !== 0) throw new Error(String(stderr));
    state = StateDirectory.open(small);
    store = new ExecutionStore(state, { ttlMs: 1e9, bytesMax: 1e12, countMax: 1e9 });
  });
  afterEach(async () => {
    for (const record of records.splice(0)) await record.release(true);
    store.close();
    state.close();
    spawnSync('umount', ['-l', small]);
    outer.remove();
  });
  const fillDisk = () => {
    spawnSync('dd', ['if=/dev/zero', `of=${join(small, 'filler')}`, 'bs=4k'], { stdio: 'ignore' });
  };

  function running(): ExecutionRecord {
    const record = new ExecutionRecord(PLAN, 'ada', { directoryOf: (id) => state.executionDirectory(id) });
    store.accept({ id: record.id, ownerId: 'ada', result: record.result(), form: undefined });
    record.started();
    records.push(record);
    return record;
  }
  async function print(record: ExecutionRecord, lines: number): Promise<string> {
    let printed = '';
    for (let n = 0; n < lines; n += 1) {
      const line = `${String(n).padStart(7)} ${'x'.repeat(KIB - 9)}\n`;
      printed += line;
      await record.output('stdout', Buffer.from(line))?.catch(() => undefined);
    }
    return printed;
  }
  /** What readers were sent, and what they are sent by who reads it from the store. */
  async function bothViews(record: ExecutionRecord) {
    const collect = async (execution: ExecutionRecord | RecordedExecution) => {
      const events: ExecutionEvent[] = [];
      for await (const event of eventsOf(execution.follow(0, never))) events.push(event);
      return events;
    };
    const live = await collect(record);
    const stored = store.read(record.id);
    if (!stored) throw new Error('not stored');
    const again = new RecordedExecution(stored, state.executionDirectory(record.id));
    return { live, replayed: await collect(again), snapshot: await again.snapshot() };
  }

  test('small output is kept whole, and the end is the program’s', async () => {
    const record = running();
    const printed = await print(record, 40);
    fillDisk();
    record.seal(EXITED, { wall_ms: 1 });
    expect(await recordEnd(record, store)).toMatchObject({ isRecorded: true, isInline: true });
    record.publish();
    const { live, replayed, snapshot } = await bothViews(record);
    expect(replayed).toEqual(live);
    expect(snapshot).toMatchObject({ status: 'completed', outcome: EXITED, stdout: printed });
    expect(snapshot.truncated).toBeUndefined();
  });

  test.each<[string, Outcome, object]>([
    ['an exit, which is not known to be all', EXITED, { kind: 'infrastructure_error', code: 'storage_full' }],
    ['a cancellation, which stays one', { kind: 'cancelled', reason: 'requested' }, { kind: 'cancelled' }],
  ])('of large output the first is kept and the rest counted: %s', async (_, outcome, told) => {
    const record = running();
    fillDisk();
    const printed = await print(record, 200);
    record.seal(outcome, { wall_ms: 1 });
    expect(await recordEnd(record, store)).toMatchObject({ isRecorded: true, isInline: true });
    record.publish();
    const { live, replayed, snapshot } = await bothViews(record);
    expect(live.filter(({ type }) => type === 'stdout')).toHaveLength(200);
    // Every event that is kept is as it was sent, and so is the terminal one: number, time and all.
    expect(replayed.length).toBeGreaterThan(40);
    expect(replayed).toEqual([...live.slice(0, replayed.length - 1), live.at(-1)]);
    expect(snapshot.outcome).toMatchObject(told);
    expect(snapshot.usage).toEqual({ wall_ms: 1 });
    const kept = snapshot.stdout?.length ?? 0;
    expect(kept).toBeGreaterThan(40 * KIB);
    expect(printed.startsWith(snapshot.stdout ?? 'x')).toBe(true);
    expect(snapshot.truncated?.stdout).toEqual({
      total_bytes: printed.length,
      kept_bytes: kept,
      omitted_bytes: printed.length - kept,
    });
  });

  test('a disk that is full for a moment loses nothing', async () => {
    const record = running();
    fillDisk();
    const printed = await print(record, 600);
    await expect(record.outputWritten()).rejects.toMatchObject({ code: 'storage_full' });
    record.seal(EXITED, undefined);
    const recording = recordEnd(record, store);
    await sleep(100);
    rmSync(join(small, 'filler'));
    expect(await recording).toEqual({ isRecorded: true, isInline: false });
    record.publish();
    const { live, replayed, snapshot } = await bothViews(record);
    expect(replayed).toEqual(live);
    expect(snapshot.outcome).toEqual(EXITED);
    expect(snapshot.stdout === printed).toBe(true);
  });
});
