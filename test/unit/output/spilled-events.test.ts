/** Events beyond what memory may hold: in the file, in order, read back as if they had never left. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import type { EventBody, ExecutionEvent } from '../../../src/domain/events.ts';
import { newExecutionId } from '../../../src/domain/execution.ts';
import type { EventLines } from '../../../src/output/event-lines.ts';
import { EventLog } from '../../../src/output/event-log.ts';
import { collectKept, followKept, type KeptEvents } from '../../../src/output/kept-events.ts';
import { OutputMemory } from '../../../src/output/output-memory.ts';
import { eventsOf } from '../../support/events.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

const KIB = 1024;
const RESULT: EventBody = {
  type: 'result',
  execution_id: newExecutionId(),
  status: 'completed',
  exit_code: 0,
  created_at: '2026-01-01T00:00:00.000Z',
};
const never = new AbortController().signal;
const state = temporaryStateDirectory();
afterAll(state.remove);
/** Those of a test: their files are closed after it. */
const logs: EventLog[] = [];
let count = 0;
afterEach(async () => {
  for (const log of logs.splice(0)) await log.release(true);
});

function newLog(memory?: OutputMemory): { log: EventLog; directory: string; file: string } {
  const directory = join(state.path, 'executions', String((count += 1)));
  const log = new EventLog({ spillDirectory: directory, ...(memory && { memory }) });
  logs.push(log);
  return { log, directory, file: join(directory, 'events.ndjson') };
}

async function bytesOf(lines: AsyncIterable<EventLines>): Promise<string> {
  const parts: Buffer[] = [];
  let seq: number | undefined;
  for await (const { bytes, firstSeq, lastSeq } of lines) {
    if (seq !== undefined) expect(firstSeq).toBe(seq + 1);
    expect(bytes.toString('latin1').split('\n').length - 1).toBe(lastSeq - firstSeq + 1);
    seq = lastSeq;
    parts.push(bytes);
  }
  return Buffer.concat(parts).toString('utf8');
}

async function all(lines: AsyncIterable<EventLines>): Promise<ExecutionEvent[]> {
  const events: ExecutionEvent[] = [];
  for await (const event of eventsOf(lines)) events.push(event);
  return events;
}

/** Prints `count` lines of about `bytes` bytes each, waiting where it is asked to. */
async function print(log: EventLog, count: number, bytes = 10 * KIB): Promise<string> {
  let written = '';
  for (let index = 0; index < count; index += 1) {
    const text = `${String(index)} €${'x'.repeat(bytes)}\n`;
    written += text;
    await log.output('stdout', Buffer.from(text));
  }
  return written;
}

describe('a log larger than its memory', () => {
  test('is in the file but for its end, and reads as if all of it were in memory', async () => {
    const { log, file } = newLog();
    log.append({ type: 'status', status: 'running' });
    const written = await print(log, 200);
    await log.written();
    const onDisk = readFileSync(file).length;
    expect(onDisk).toBeGreaterThan(log.bytes - 256 * KIB);
    expect(onDisk).toBeLessThan(log.bytes);
    log.append(RESULT);
    const events = await all(log.follow(0, never));
    expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: 202 }, (_, index) => index + 1));
    expect(await log.collect()).toEqual({ stdout: { text: written }, stderr: { text: '' }, displays: [] });
    for (const after of [1, 50, 51, 150, 199, 201, 202]) {
      expect((await all(log.follow(after, never))).map(({ seq }) => seq)).toEqual(
        events.slice(after).map(({ seq }) => seq),
      );
    }
  });

  test('serves readers at every pace, one that never reads included', async () => {
    const { log } = newLog();
    const idle = log.follow(0, never);
    const readers = [0, 1, 2, 5].map(async (pauseMs) => {
      const seen: number[] = [];
      for await (const event of eventsOf(log.follow(0, never))) {
        seen.push(event.seq);
        if (event.seq % 20 === 0) await sleep(pauseMs);
      }
      return seen;
    });
    await print(log, 300, 4 * KIB);
    log.append(RESULT);
    for (const seen of await Promise.all(readers)) {
      expect(seen).toEqual(Array.from({ length: 301 }, (_, index) => index + 1));
    }
    await log.settle();
    expect((await all(idle)).length).toBe(301);
  });

  test('lines of any size stay whole', async () => {
    const sizes = fc.array(fc.oneof(fc.nat(200), fc.integer({ min: 60_000, max: 70_000 }), fc.nat(300_000)), {
      maxLength: 12,
    });
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(14), async (lengths, after) => {
        const { log } = newLog();
        for (const length of lengths) await log.output('stderr', Buffer.alloc(length + 1, 'é\x01"'));
        log.append(RESULT);
        const events = await all(log.follow(0, never));
        expect(events.at(-1)?.seq).toBe(log.lastSeq);
        expect(await all(log.follow(after, never))).toEqual(events.slice(after));
        const kept = await log.settle();
        expect(await all(log.follow(after, never))).toEqual(events.slice(after));
        expect(await all(followKept(kept, after, never))).toEqual(events.slice(after));
      }),
      { numRuns: 60 },
    );
  });
});

describe('settled', () => {
  test('what is small needs no file', async () => {
    const { log, directory } = newLog();
    await print(log, 3);
    log.append(RESULT);
    const whole = await bytesOf(log.follow(0, never));
    const kept = await log.settle();
    expect(kept).toEqual({ lastSeq: 4, bytes: Buffer.byteLength(whole), inline: Buffer.from(whole) });
    expect(existsSync(directory)).toBe(false);
    expect(await bytesOf(followKept(kept, 0, never))).toBe(whole);
    expect(await collectKept(kept)).toEqual(await log.collect());
  });

  test('what is large is in the file, byte for byte as it was sent, and needs no memory', async () => {
    const memory = new OutputMemory(Infinity);
    const { log, file } = newLog(memory);
    await print(log, 40);
    log.append(RESULT);
    const whole = await bytesOf(log.follow(0, never));
    const kept = await log.settle();
    expect(kept).toEqual({ lastSeq: 41, bytes: Buffer.byteLength(whole), file });
    expect(readFileSync(file, 'utf8')).toBe(whole);
    expect(memory.bytes).toBe(0);
    expect(await bytesOf(log.follow(0, never))).toBe(whole);
    expect(await bytesOf(followKept(kept, 0, never))).toBe(whole);
    expect(await collectKept(kept)).toEqual(await log.collect());
    expect(await all(followKept(kept, 41, never))).toEqual([]);
    expect(await all(followKept(kept, 40, never))).toMatchObject([{ seq: 41, type: 'result' }]);
    const last: boolean[] = [];
    for await (const { isTerminal } of followKept(kept, 0, never)) last.push(isTerminal);
    expect(last.indexOf(true)).toBe(last.length - 1);
    expect(await all(followKept(kept, 0, AbortSignal.abort()))).toEqual([]);
  });

  test('a file that lost its end is an error, not an end', async () => {
    const { log, file } = newLog();
    await print(log, 40);
    log.append(RESULT);
    const kept: KeptEvents = await log.settle();
    writeFileSync(file, readFileSync(file).subarray(0, -5000));
    await expect(all(followKept(kept, 0, never))).rejects.toThrow('shorter');
    await expect(all(log.follow(0, never))).rejects.toThrow('shorter');
  });

  test('is not asked of what goes on', async () => {
    const { log } = newLog();
    await expect(log.settle()).rejects.toThrow('not ended');
  });
});

describe('released', () => {
  test('nothing is left on the disk, and who reads goes on', async () => {
    const { log, directory } = newLog();
    await print(log, 100);
    log.append(RESULT);
    const reader = eventsOf(log.follow(0, never));
    await reader.next();
    await log.settle();
    await reader.next();
    for (let read = 0; read < 40; read += 1) await reader.next();
    await log.release(true);
    expect(existsSync(directory)).toBe(false);
    let last: ExecutionEvent | undefined;
    for await (const event of reader) last = event;
    expect(last).toMatchObject({ seq: 101, type: 'result' });
  });

  test('a file whose execution is kept in it stays', async () => {
    const { log, file } = newLog();
    await print(log, 100);
    log.append(RESULT);
    const { file: kept } = await log.settle();
    await log.release(false);
    expect(kept).toBe(file);
    expect(existsSync(file)).toBe(true);
  });

  test('what was saved while it ran and is small is kept without its file', async () => {
    const { log, directory, file } = newLog();
    await print(log, 3);
    log.save();
    await log.written();
    const saved = readFileSync(file, 'utf8');
    await print(log, 2);
    log.append(RESULT);
    const whole = await bytesOf(log.follow(0, never));
    expect(whole.startsWith(saved)).toBe(true);
    expect(saved.split('\n')).toHaveLength(4);
    expect(await log.settle()).toMatchObject({ lastSeq: 6, inline: Buffer.from(whole) });
    await log.release(true);
    expect(existsSync(directory)).toBe(false);
    expect(await bytesOf(log.follow(0, never))).toBe(whole);
  });

  test('what never needed a file leaves none', async () => {
    const { log, directory } = newLog();
    log.append(RESULT);
    await log.settle();
    await log.release(true);
    expect(existsSync(directory)).toBe(false);
  });
});

test('all logs together have a bound: the oldest leave memory first', async () => {
  const memory = new OutputMemory(300 * KIB);
  const made = Array.from({ length: 10 }, () => newLog(memory));
  for (const { log } of made) {
    await print(log, 10);
    await Promise.all(made.map((each) => each.log.written()));
  }
  expect(memory.bytes).toBeLessThan(300 * KIB);
  const onDisk = made.map(({ file }) => existsSync(file));
  expect(onDisk).toEqual([...onDisk].sort((a, b) => Number(b) - Number(a)));
  expect(onDisk[0]).toBe(true);
  expect(onDisk.at(-1)).toBe(false);
  for (const { log } of made) {
    log.append(RESULT);
    expect(await all(log.follow(0, never))).toHaveLength(11);
    await log.release(true);
  }
  expect(memory.bytes).toBe(0);
});

test('a disk that fails is told to who writes, and takes nothing that was said', async () => {
  const { log, directory } = newLog();
  // A file where the directory should be: nothing can be made below it.
  writeFileSync(directory, '');
  const written = (async () => {
    for (let index = 0; index < 1000; index += 1) await log.output('stdout', Buffer.alloc(10 * KIB, 'x'));
  })();
  await expect(written).rejects.toMatchObject({ code: 'storage_unavailable' });
  await expect(log.written()).rejects.toMatchObject({ code: 'storage_unavailable' });
  const { lastSeq } = log;
  log.append({ ...RESULT, type: 'error', code: 'internal', detail: '' });
  const events = await all(log.follow(0, never));
  expect(events).toHaveLength(lastSeq + 1);
  expect(events.at(-1)?.type).toBe('error');
  await expect(log.settle()).rejects.toMatchObject({ code: 'storage_unavailable' });
  expect(await all(log.follow(0, never))).toEqual(events);
  await log.release(true);
});
