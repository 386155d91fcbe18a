/** The events of an execution: numbered, complete, in order, ended once, and followed by anybody at any pace. */
import { getEventListeners } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { isTerminal, type EventBody, type ExecutionEvent, type OutputStream } from '../../../src/domain/events.ts';
import { newExecutionId } from '../../../src/domain/execution.ts';
import { EventLog } from '../../../src/output/event-log.ts';
import { eventsOf } from '../../support/events.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

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
function newLog(): EventLog {
  const log = new EventLog({ spillDirectory: join(state.path, String((count += 1))) });
  logs.push(log);
  return log;
}
afterEach(async () => {
  for (const log of logs.splice(0)) await log.release(true);
});

async function all(log: EventLog, after = 0, signal = never): Promise<ExecutionEvent[]> {
  const events: ExecutionEvent[] = [];
  for await (const event of eventsOf(log.follow(after, signal))) events.push(event);
  return events;
}

function bytesOf(events: readonly ExecutionEvent[], stream: OutputStream): Buffer {
  return Buffer.concat(
    events.flatMap((event) => (event.type === stream ? [Buffer.from(event.data, event.encoding ?? 'utf8')] : [])),
  );
}

type Step = readonly [OutputStream, Uint8Array] | 'gap' | 'status';
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.tuple(fc.constantFrom<OutputStream>('stdout', 'stderr'), fc.uint8Array({ maxLength: 5 })),
    },
    { weight: 1, arbitrary: fc.constantFrom('gap' as const, 'status' as const) },
  ),
  { maxLength: 30 },
);

function play(log: EventLog, script: readonly Step[]): Record<OutputStream, Buffer> {
  const written = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
  for (const step of script) {
    if (step === 'gap') log.omitted('stdout', 7);
    else if (step === 'status') log.append({ type: 'status', status: 'running' });
    else {
      const [stream, data] = step;
      written[stream] = Buffer.concat([written[stream], data]);
      void log.output(stream, Buffer.from(data));
    }
  }
  return written;
}

describe('whatever happens', () => {
  test('numbers have no gap, time does not run back, one terminal event comes last, every byte is there in order', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        const log = newLog();
        const written = play(log, script);
        log.append(RESULT);
        const events = await all(log);
        expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
        for (const [index, { t_ms }] of events.entries()) {
          expect(t_ms).toBeGreaterThanOrEqual(events[index - 1]?.t_ms ?? 0);
        }
        expect(events.filter(isTerminal)).toEqual([events.at(-1)]);
        for (const stream of ['stdout', 'stderr'] as const) {
          expect(bytesOf(events, stream).toString('hex')).toBe(written[stream].toString('hex'));
        }
      }),
      { numRuns: 300 },
    );
  });

  test('nothing follows the terminal event', async () => {
    const log = newLog();
    log.append(RESULT);
    play(log, [['stdout', Buffer.from('late')], 'gap', 'status']);
    log.append(RESULT);
    log.append({ ...RESULT, type: 'error', code: 'internal', detail: '' });
    expect(await all(log)).toHaveLength(1);
    expect(log.lastSeq).toBe(1);
  });

  test('a character nobody finished is said before the end', async () => {
    const log = newLog();
    void log.output('stdout', Buffer.from('a\xe2', 'latin1'));
    log.append(RESULT);
    const events = await all(log);
    expect(events.map(({ type }) => type)).toEqual(['stdout', 'stdout', 'result']);
    expect(bytesOf(events, 'stdout').toString('latin1')).toBe('a\xe2');
  });
});

describe('replay', () => {
  test('after any number is the suffix, whether the run has ended or goes on', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(40), fc.nat(30), async (script, after, joinAt) => {
        const log = newLog();
        play(log, script.slice(0, joinAt));
        const joined = all(log, after);
        play(log, script.slice(joinAt));
        log.append(RESULT);
        const whole = await all(log);
        expect(await joined).toEqual(whole.slice(after));
        expect(await all(log, after)).toEqual(whole.slice(after));
      }),
      { numRuns: 200 },
    );
  });

  test('before the first and after the last', async () => {
    const log = newLog();
    log.append(RESULT);
    expect(await all(log, -5)).toHaveLength(1);
    expect(await all(log, 1)).toEqual([]);
    expect(await all(log, 1_000_000)).toEqual([]);
  });
});

describe('readers', () => {
  test('each at its own pace, and a slow one holds nobody up', async () => {
    const log = newLog();
    const fast = all(log);
    const slow = (async () => {
      const events: ExecutionEvent[] = [];
      for await (const event of eventsOf(log.follow(0, never))) {
        events.push(event);
        if (event.seq % 50 === 0) await sleep(1);
      }
      return events;
    })();
    for (let i = 0; i < 200; i += 1) void log.output('stdout', Buffer.from(`${String(i)}\n`));
    log.append(RESULT);
    expect(await fast).toHaveLength(201);
    expect(await slow).toEqual(await fast);
  });

  test('an aborted one stops, at rest or under way, and leaves no listener', async () => {
    const log = newLog();
    void log.output('stdout', Buffer.from('x'));
    const controller = new AbortController();
    const atRest = all(log, 1, controller.signal);
    const underWay = log.follow(0, controller.signal);
    await underWay.next();
    await sleep(1);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(2);
    controller.abort();
    expect(await atRest).toEqual([]);
    expect(await underWay.next()).toMatchObject({ done: true });
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  test('one that leaves in the middle leaves no listener', async () => {
    const log = newLog();
    for (let i = 0; i < 10; i += 1) log.append({ type: 'status', status: 'running' });
    const { signal } = new AbortController();
    for (let reader = 0; reader < 100; reader += 1) {
      for await (const event of eventsOf(log.follow(0, signal))) if (event.seq === 3) break;
    }
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('one that was aborted beforehand gets nothing', async () => {
    const log = newLog();
    log.append(RESULT);
    expect(await all(log, 0, AbortSignal.abort())).toEqual([]);
  });

  test('a hundred at once all see the end, and nothing is left of them', async () => {
    const log = newLog();
    const { signal } = new AbortController();
    const readers = Array.from({ length: 100 }, (_, index) => all(log, index % 3, signal));
    await sleep(1);
    play(log, [
      ['stdout', Buffer.from('a')],
      ['stderr', Buffer.from('b')],
    ]);
    log.append(RESULT);
    for (const events of await Promise.all(readers)) expect(events.at(-1)?.type).toBe('result');
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

describe('very many events', () => {
  test('are merged, with every byte in order in its stream, in far fewer events', async () => {
    const log = newLog();
    const written = { stdout: '', stderr: '' };
    for (let i = 0; i < 40_000; i += 1) {
      const stream = i % 3 === 0 ? 'stderr' : 'stdout';
      const text = `${String(i)}€`;
      written[stream] += text;
      void log.output(stream, Buffer.from(text));
    }
    log.append(RESULT);
    const events = await all(log);
    expect(events.length).toBeLessThan(11_000);
    expect(bytesOf(events, 'stdout').toString()).toBe(written.stdout);
    expect(bytesOf(events, 'stderr').toString()).toBe(written.stderr);
    expect(events.at(-1)?.type).toBe('result');
  });

  test('what is merged is said within the window, without waiting for more', async () => {
    const log = newLog();
    for (let i = 0; i < 10_000; i += 1) void log.output('stdout', Buffer.from('x'));
    void log.output('stdout', Buffer.from('late'));
    const reader = eventsOf(log.follow(10_000, never));
    expect((await reader.next()).value).toMatchObject({ type: 'stdout', data: 'late' });
    log.append(RESULT);
    await reader.return(undefined);
  });

  test('a gap comes after what was said before it', async () => {
    const log = newLog();
    for (let i = 0; i < 10_000; i += 1) void log.output('stdout', Buffer.from('x'));
    void log.output('stdout', Buffer.from('head'));
    log.omitted('stdout', 99);
    void log.output('stdout', Buffer.from('tail'));
    log.append(RESULT);
    expect((await all(log, 10_000)).map((event) => ('data' in event ? event.data : event.type))).toEqual([
      'head',
      'truncated',
      'tail',
      'result',
    ]);
  });
});

describe('collected', () => {
  test('each stream for itself', async () => {
    const log = newLog();
    play(log, [
      ['stdout', Buffer.from('a')],
      ['stderr', Buffer.from('b')],
      ['stdout', Buffer.from('c')],
    ]);
    expect((await log.collect()).stdout).toEqual({ text: 'ac' });
    expect((await log.collect()).stderr).toEqual({ text: 'b' });
  });

  test('a line stands for what was left out', async () => {
    const log = newLog();
    void log.output('stdout', Buffer.from('head'));
    log.omitted('stdout', 1234);
    void log.output('stdout', Buffer.from('tail'));
    expect((await log.collect()).stdout.text).toBe('head\n[... 1234 bytes omitted ...]\ntail');
    expect((await log.collect()).stderr.text).toBe('');
  });

  test('text that was cut inside a character stays text', async () => {
    const euro = Buffer.from('€'.repeat(10));
    const log = newLog();
    void log.output('stdout', euro.subarray(0, 10));
    log.omitted('stdout', 10);
    void log.output('stdout', euro.subarray(20));
    expect((await log.collect()).stdout).toEqual({ text: '€€€\n[... 10 bytes omitted ...]\n€€€' });
    log.append(RESULT);
    expect(bytesOf(await all(log), 'stdout')).toHaveLength(20);
  });

  test('bytes that are no text are base64, every one of them', async () => {
    const log = newLog();
    const bytes = Buffer.from([0xff, 0, 0x80, 0x61]);
    for (const byte of bytes) void log.output('stdout', Buffer.from([byte]));
    log.append(RESULT);
    expect((await log.collect()).stdout).toEqual({ text: bytes.toString('base64'), encoding: 'base64' });
  });
});
