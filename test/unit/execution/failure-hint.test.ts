/** A sentence about what to try next, where the failure is one we know. */
import { expect, test } from 'vitest';
import type { Outcome } from '../../../src/domain/outcome.ts';
import { failureHint } from '../../../src/execution/failure-hint.ts';
import { PLAN } from './plan-and-report.ts';

const exited = (exit_code: number): Outcome => ({ kind: 'exited', exit_code });
const online = { ...PLAN, shape: { ...PLAN.shape, network: 'bridge' } };

test.each<[string, Outcome, string, RegExp | undefined]>([
  ['success', exited(0), "ModuleNotFoundError: No module named 'x'", undefined],
  ['a missing module', exited(1), "ModuleNotFoundError: No module named 'yaml.nodes'", /yaml\.nodes .*pyexec\/slim/],
  ['no network', exited(1), 'OSError: [Errno 101] Network is unreachable', /no network/],
  ['no DNS', exited(1), 'socket.gaierror: [Errno -3] Temporary failure in name resolution', /no network/],
  ['a full disk', exited(1), 'OSError: [Errno 28] No space left on device', /disk_bytes/],
  ['a read-only file', exited(1), 'OSError: [Errno 30] Read-only file system: /etc/x', /\/work and \/tmp/],
  ['no stdin', exited(1), 'EOFError: EOF when reading a line', /stdin/],
  ['a failure of the program’s own', exited(1), 'ValueError: 7', undefined],
  ['no stderr', exited(2), '', undefined],
  ['the wall clock', { kind: 'timed_out', limit: 'wall_ms', limit_ms: 1 }, '', /wall_ms/],
  ['CPU time', { kind: 'timed_out', limit: 'cpu_ms', limit_ms: 1 }, '', /cpu_ms/],
  ['memory', { kind: 'out_of_memory', limit_bytes: 1 }, '', /memory_bytes/],
  ['output', { kind: 'output_limit', limit_bytes: 1 }, '', /output_bytes/],
  ['a crash', { kind: 'signaled', signal: 'SIGSEGV', signal_number: 11 }, '', /native/],
  ['another signal', { kind: 'signaled', signal: 'SIGTERM', signal_number: 15 }, '', undefined],
  ['a cancellation', { kind: 'cancelled', reason: 'requested' }, '', undefined],
  [
    'our own failure',
    { kind: 'infrastructure_error', code: 'internal', detail: '' },
    'Network is unreachable',
    undefined,
  ],
])('%s', (_, outcome, stderr, expected) => {
  const hint = failureHint(outcome, stderr, PLAN);
  if (expected) expect(hint).toMatch(expected);
  else expect(hint).toBeUndefined();
});

test('with a network, a network failure is the program’s own', () => {
  expect(failureHint(exited(1), 'Network is unreachable', online)).toBeUndefined();
});

test('only the end of stderr counts, and a huge one costs nothing', () => {
  const stderr = `Read-only file system${'x'.repeat(5_000_000)}`;
  expect(failureHint(exited(1), stderr, PLAN)).toBeUndefined();
});

test('what the program wrote is quoted in bounds', () => {
  const hint = failureHint(exited(1), `ModuleNotFoundError: No module named '${'x'.repeat(3000)}'`, PLAN);
  expect(hint).toBeUndefined();
});
