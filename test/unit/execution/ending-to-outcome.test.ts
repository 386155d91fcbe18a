/** What an observed ending means, and what clients are told of each outcome. */
import { describe, expect, test } from 'vitest';
import { errorSentenceOf, exitCodeOf, statusOf, type Outcome } from '../../../src/domain/outcome.ts';
import { outcomeOf, signalName } from '../../../src/execution/ending-to-outcome.ts';
import type { Ending } from '../../../src/sandbox/sandbox.ts';
import { PLAN, reported } from './plan-and-report.ts';

const TIMED_OUT: Outcome = { kind: 'timed_out', limit: 'wall_ms', limit_ms: 5000 };
const CPU_OUT: Outcome = { kind: 'timed_out', limit: 'cpu_ms', limit_ms: 3000 };
const OOM: Outcome = { kind: 'out_of_memory', limit_bytes: 64 };
const signaled = (signal: string, signal_number: number): Outcome => ({ kind: 'signaled', signal, signal_number });
const killed = { exitCode: null, signal: 9 };

test.each<[string, Ending, Outcome]>([
  ['exit 0', reported(), { kind: 'exited', exit_code: 0 }],
  ['exit 255', reported({ exitCode: 255 }), { kind: 'exited', exit_code: 255 }],
  ['exit 137 is an exit: only a signal is a signal', reported({ exitCode: 137 }), { kind: 'exited', exit_code: 137 }],
  [
    'exit 1 though the kernel killed a child for memory',
    reported({ exitCode: 1, oomKills: 1 }),
    { kind: 'exited', exit_code: 1 },
  ],
  ['SIGSEGV', reported({ exitCode: null, signal: 11 }), signaled('SIGSEGV', 11)],
  ['SIGABRT', reported({ exitCode: null, signal: 6 }), signaled('SIGABRT', 6)],
  ['a real-time signal', reported({ exitCode: null, signal: 40 }), signaled('SIG40', 40)],
  ['SIGKILL that nobody of us sent', reported(killed), signaled('SIGKILL', 9)],
  ['SIGKILL while the kernel counted a kill for memory', reported({ ...killed, oomKills: 1 }), OOM],
  ['SIGKILL where the kernel does not count', reported({ ...killed, oomKills: null }), signaled('SIGKILL', 9)],
  [
    'SIGTERM while the kernel killed another process for memory',
    reported({ exitCode: null, signal: 15, oomKills: 3 }),
    signaled('SIGTERM', 15),
  ],
  ['SIGXCPU with the CPU time used up', reported({ exitCode: null, signal: 24, cpuMs: 3000 }), CPU_OUT],
  [
    'SIGXCPU that the program sent itself',
    reported({ exitCode: null, signal: 24, cpuMs: 10 }),
    signaled('SIGXCPU', 24),
  ],
  ['SIGKILL with the CPU time used up: the hard limit', reported({ ...killed, cpuMs: 3001 }), CPU_OUT],
  ['memory before CPU time, when both are so', reported({ ...killed, cpuMs: 3001, oomKills: 1 }), OOM],
  ['the deadline', reported({ ...killed, cause: 'wall_ms' }), TIMED_OUT],
  [
    'the deadline, though a kill for memory was counted',
    reported({ ...killed, cause: 'wall_ms', oomKills: 1 }),
    TIMED_OUT,
  ],
  ['the deadline at the moment of a normal exit', reported({ cause: 'wall_ms' }), TIMED_OUT],
  ['the CPU limit as the supervisor saw it', reported({ ...killed, cause: 'cpu_ms' }), CPU_OUT],
  ['too much output', reported({ ...killed, cause: 'output_bytes' }), { kind: 'output_limit', limit_bytes: 10 }],
  ['cancelled', reported({ ...killed, cause: 'cancelled' }), { kind: 'cancelled', reason: 'shutdown' }],
  ['the container died by the memory limit', { kind: 'out_of_memory' }, OOM],
  ['the host’s backstop for the deadline', { kind: 'backstop', cause: 'wall_ms', wallMs: 9999 }, TIMED_OUT],
  [
    'the host’s backstop for a cancellation',
    { kind: 'backstop', cause: 'cancelled', wallMs: 1 },
    { kind: 'cancelled', reason: 'shutdown' },
  ],
])('%s', (_, ending, expected) => {
  expect(outcomeOf(ending, PLAN, 'shutdown').outcome).toEqual(expected);
});

test('an end without a reason is never success', () => {
  const { outcome } = outcomeOf(reported({ exitCode: null }), PLAN, 'requested');
  expect(exitCodeOf(outcome)).not.toBe(0);
});

describe('usage', () => {
  test('is what was measured, in whole milliseconds', () => {
    expect(outcomeOf(reported(), PLAN, 'requested').usage).toEqual({ wall_ms: 10, cpu_ms: 6, memory_peak_bytes: 1000 });
  });

  test('leaves out what was not measured rather than saying 0', () => {
    expect(outcomeOf(reported({ memoryPeakBytes: null }), PLAN, 'requested').usage).toEqual({ wall_ms: 10, cpu_ms: 6 });
    expect(outcomeOf({ kind: 'backstop', cause: 'wall_ms', wallMs: 7.5 }, PLAN, 'requested').usage).toEqual({
      wall_ms: 8,
    });
    expect(outcomeOf({ kind: 'out_of_memory' }, PLAN, 'requested').usage).toBeUndefined();
  });
});

test.each<[Outcome, number, string, string | undefined]>([
  [{ kind: 'exited', exit_code: 3 }, 3, 'completed', undefined],
  [signaled('SIGSEGV', 11), 139, 'completed', undefined],
  [OOM, 137, 'completed', 'memory limit of 64 bytes exceeded'],
  [TIMED_OUT, 124, 'failed', 'execution timeout after 5s'],
  [CPU_OUT, 124, 'failed', 'CPU time limit of 3s exceeded'],
  [{ kind: 'output_limit', limit_bytes: 10 }, 137, 'failed', 'output limit of 10 bytes exceeded'],
  [{ kind: 'cancelled', reason: 'requested' }, 137, 'killed', 'cancelled by request'],
  [{ kind: 'cancelled', reason: 'client_disconnected' }, 137, 'killed', 'cancelled because the client went away'],
  [{ kind: 'cancelled', reason: 'key_revoked' }, 137, 'killed', 'cancelled because the key of its caller was revoked'],
  [{ kind: 'cancelled', reason: 'shutdown' }, 137, 'killed', 'cancelled because the service is shutting down'],
  [{ kind: 'interrupted', reason: 'restart' }, -1, 'failed', 'interrupted: restart'],
  [{ kind: 'infrastructure_error', code: 'internal', detail: 'It broke.' }, -1, 'failed', 'It broke.'],
])('%j is %d, %s', (outcome, exitCode, status, sentence) => {
  expect([exitCodeOf(outcome), statusOf(outcome), errorSentenceOf(outcome)]).toEqual([exitCode, status, sentence]);
});

test.each([
  [1, 'SIGHUP'],
  [6, 'SIGABRT'],
  [9, 'SIGKILL'],
  [24, 'SIGXCPU'],
  [25, 'SIGXFSZ'],
  [29, 'SIGIO'],
  [31, 'SIGSYS'],
  [63, 'SIG63'],
])('signal %d is %s', (number, name) => {
  expect(signalName(number)).toBe(name);
});
