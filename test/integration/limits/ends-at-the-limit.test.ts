/**
 * F30: programs that end as a limit is met. Whoever comes first, there is one end: an
 * exit with all of the output, or the limit with a part of it; never some of both.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { InputResult } from '../../../src/domain/inputs.ts';
import type { RunRequest } from '../../../src/domain/plan.ts';
import { startEngine, type TestEngine } from '../../support/engine.ts';

const TRIES = 120;
const TAIL = 'x'.repeat(20_000);

let engine: TestEngine;
beforeAll(async () => {
  engine = await startEngine({ PYEXEC_MAX_INPUTS: String(TRIES), PYEXEC_MAX_INPUTS_TIMEOUT: '120' });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
});

/** Runs a program once for each of `given`, which it has as its only argument, each in a process of its own. */
async function each(
  given: readonly number[],
  code: string,
  more: Partial<RunRequest>,
): Promise<readonly InputResult[]> {
  const list = given.map((number) => ({ args: [String(number)], stdin: Buffer.alloc(0) }));
  const { results = [] } = await engine.run(code, { ...more, inputs: { list, stopOnFailure: false } });
  expect(results.map(({ index }) => index)).toEqual(given.map((_, index) => index));
  return results;
}

/** What of a result belongs to no end, or to two. */
function faultOf(result: InputResult, whole: string, limit: 'timed_out' | 'out_of_memory'): string | undefined {
  const { outcome, exit_code: status, stdout, stderr, omitted } = result;
  const is = JSON.stringify({ outcome, status, bytes: stdout.length, stderr, omitted });
  if (!whole.startsWith(stdout) || omitted !== undefined) return `output that was not written: ${is}`;
  if (outcome.kind === 'exited') return status === 0 && stdout === whole ? undefined : `no whole exit: ${is}`;
  const expected = limit === 'timed_out' ? 124 : 137;
  return outcome.kind === limit && status === expected ? undefined : `another end: ${is}`;
}

const kindsOf = (results: readonly InputResult[]) => new Set(results.map(({ outcome }) => outcome.kind));

/** From clearly before the limit to clearly after it, most of them close to it. */
const around = (at: number, spread: number) =>
  Array.from({ length: TRIES }, (_, index) => at + spread * (2 * (index / (TRIES - 1)) - 1) ** 3);

test('the deadline', async () => {
  const wallMs = 120;
  const code = `import sys, time
end = time.monotonic() + float(sys.argv[1]) / 1000
print("begun")
while time.monotonic() < end: time.sleep(0.0002)
print(${JSON.stringify(TAIL)})`;
  const results = await each(around(wallMs - 4, 40), code, { limits: { wall_ms: wallMs } });
  expect(results.flatMap((result) => faultOf(result, `begun\n${TAIL}\n`, 'timed_out') ?? [])).toEqual([]);
  expect(kindsOf(results)).toEqual(new Set(['exited', 'timed_out']));
}, 180_000);

test('the CPU time', async () => {
  const code = `import sys, time
print("begun")
while time.process_time() * 1000 < float(sys.argv[1]): pass
print(${JSON.stringify(TAIL)})`;
  const results = await each(around(150, 140), code, { limits: { cpu_ms: 150, wall_ms: 10_000 } });
  expect(results.flatMap((result) => faultOf(result, `begun\n${TAIL}\n`, 'timed_out') ?? [])).toEqual([]);
  expect(kindsOf(results)).toEqual(new Set(['exited', 'timed_out']));
}, 180_000);

test('the memory', async () => {
  const mib = 64;
  const code = `import sys
print("begun")
held = bytearray(int(float(sys.argv[1]) * 2**20))
print(${JSON.stringify(TAIL)})`;
  const results = await each(around(mib - 12, 12), code, { limits: { memory_bytes: mib << 20 } });
  expect(results.flatMap((result) => faultOf(result, `begun\n${TAIL}\n`, 'out_of_memory') ?? [])).toEqual([]);
  expect(kindsOf(results)).toEqual(new Set(['exited', 'out_of_memory']));
}, 180_000);

test.each(['kill', 'truncate'] as const)(
  'the output, on overflow: %s',
  async (onOverflow) => {
    const limit = 10_000;
    /** Without the words in the place of what was left out. */
    const countOf = (stdout: string) => stdout.replaceAll(/[^x]/g, '').length;
    const given = Array.from({ length: TRIES }, (_, index) => limit - 2 + (index % 5));
    const results = await each(given, 'import os, sys; os.write(1, b"x" * int(sys.argv[1])); os._exit(0)', {
      onOverflow,
      limits: { output_bytes: limit },
    });
    const told = results.map(({ outcome, stdout, omitted }) => [
      outcome.kind,
      countOf(stdout) + (omitted?.stdout ?? 0),
    ]);
    expect(told).toEqual(
      given.map((bytes) => [onOverflow === 'kill' && bytes > limit ? 'output_limit' : 'exited', bytes]),
    );
    for (const { stdout } of results) expect(countOf(stdout)).toBeLessThanOrEqual(limit);
  },
  180_000,
);

test('too much output in the last moment of a run of its own', async () => {
  const ends = new Set<string | undefined>();
  for (let tries = 0; tries < 60; tries += 1) {
    const { outcome, status } = await engine.run('import os; os.write(1, b"x" * 10_001); os._exit(0)', {
      onOverflow: 'kill',
      limits: { output_bytes: 10_000 },
    });
    ends.add(`${String(outcome?.kind)} ${status}`);
  }
  expect([...ends]).toEqual(['output_limit failed']);
}, 120_000);
