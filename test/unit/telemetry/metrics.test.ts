/** What Prometheus sees: series with bounded labels, and nothing a caller chose. */
import { describe, expect, test } from 'vitest';
import { ERRORS } from '../../../src/domain/errors.ts';
import { newExecutionId } from '../../../src/domain/execution.ts';
import { isFailureOfOurs } from '../../../src/domain/outcome.ts';
import { createLogger, type Logger } from '../../../src/telemetry/logger.ts';
import { Metrics } from '../../../src/telemetry/metrics.ts';
import { observeMilestones } from '../../../src/telemetry/observe-executions.ts';
import { PLAN } from '../execution/plan-and-report.ts';

const text = async (metrics: Metrics) => (await metrics.render()).body;

test('a code nobody knows is counted as internal: labels stay bounded', async () => {
  const metrics = new Metrics({});
  metrics.refused('no-such-code');
  metrics.refused('__proto__');
  const body = await text(metrics);
  expect(body).toContain('pyexec_requests_refused_total{code="internal"} 2');
  expect(body).not.toMatch(/no-such-code|__proto__/);
});

test('every code has its series before it happens', async () => {
  const body = await text(new Metrics({}));
  for (const code of Object.keys(ERRORS)) expect(body).toContain(`pyexec_requests_refused_total{code="${code}"} 0`);
});

test('a security refusal is counted beside the refusal, another is not', async () => {
  const metrics = new Metrics({});
  metrics.refused('path_escape');
  metrics.refused('invalid_json');
  const body = await text(metrics);
  expect(body).toContain('pyexec_security_refusals_total{code="path_escape"} 1');
  expect(body).not.toContain('pyexec_security_refusals_total{code="invalid_json"}');
});

test('gauges are read when they are asked for', async () => {
  let value = 1;
  const metrics = new Metrics({ pyexec_x: { help: 'x', read: () => value } });
  expect(await text(metrics)).toContain('pyexec_x 1');
  value = 2;
  expect(await text(metrics)).toContain('pyexec_x 2');
});

describe('milestones', () => {
  function observed() {
    const metrics = new Metrics({});
    const lines: Record<string, unknown>[] = [];
    const record = (line: Record<string, unknown>) => lines.push(line);
    const logger = { info: record, error: record } as unknown as Logger;
    return { metrics, lines, observe: observeMilestones(logger, metrics) };
  }
  const plan = {
    ...PLAN,
    args: ['secret-arg'],
    environment: { TOKEN: 'secret-env' },
    stdin: Buffer.from('secret-stdin'),
    commandChain: ['secret-command'],
  };
  const ended = {
    kind: 'ended',
    id: newExecutionId(),
    plan,
    outcome: { kind: 'timed_out', limit: 'wall_ms', limit_ms: 5 },
    usage: { wall_ms: 5, cpu_ms: 2000, memory_peak_bytes: 7 },
    totalMs: 9.6,
    cause: undefined,
  } as const;

  test('a run is one log line, with its id, outcome and timings and nothing the caller sent', () => {
    const { lines, observe } = observed();
    observe({ kind: 'accepted', id: ended.id, plan, projectBytes: 5 });
    observe(ended);
    expect(lines).toEqual([
      expect.objectContaining({ execution_id: ended.id, outcome: 'timed_out', total_ms: 10, usage: ended.usage }),
    ]);
    expect(JSON.stringify(lines)).not.toContain('secret');
  });

  test('outcomes, time-outs, memory kills and CPU time are counted', async () => {
    const { metrics, observe } = observed();
    observe(ended);
    observe({ ...ended, outcome: { kind: 'out_of_memory', limit_bytes: 1 }, usage: undefined });
    const body = await text(metrics);
    expect(body).toContain('pyexec_executions_total{outcome="timed_out",runtime="runc"} 1');
    expect(body).toContain('pyexec_executions_total{outcome="out_of_memory",runtime="runc"} 1');
    expect(body).toContain('pyexec_timeouts_total{limit="wall_ms"} 1');
    expect(body).toContain('pyexec_oom_kills_total 1');
    expect(body).toContain('pyexec_cpu_seconds_total{runtime="runc"} 2');
  });

  test('a run that is refused for what it asked for is no failure of the service', async () => {
    const { lines, metrics, observe } = observed();
    const end = (code: string) => {
      const outcome = { kind: 'infrastructure_error', code, detail: 'No.' } as const;
      observe({ ...ended, outcome, cause: isFailureOfOurs(outcome) ? new Error('broke') : undefined });
    };
    for (const code of ['resolution_failed', 'layer_too_large', 'advisory_findings', 'sandbox_failed', 'no code'])
      end(code);
    const body = await text(metrics);
    expect(body).toContain('pyexec_executions_total{outcome="refused",runtime="runc"} 3');
    expect(body).toContain('pyexec_executions_total{outcome="infrastructure_error",runtime="runc"} 2');
    expect(lines.map((line) => [line['code'], 'err' in line])).toEqual([
      ['resolution_failed', false],
      ['layer_too_large', false],
      ['advisory_findings', false],
      ['sandbox_failed', true],
      ['no code', true],
    ]);
  });

  test('phases are in seconds', async () => {
    const { metrics, observe } = observed();
    observe({ kind: 'acquired', id: ended.id, waitedMs: 1000, acquireMs: 2000 });
    observe({ kind: 'first_byte', id: ended.id, sinceStartMs: 3000 });
    const body = await text(metrics);
    expect(body).toContain('pyexec_phase_seconds_sum{phase="queue"} 1');
    expect(body).toContain('pyexec_phase_seconds_sum{phase="acquire"} 2');
    expect(body).toContain('pyexec_phase_seconds_sum{phase="first_byte"} 3');
  });
});

test('the log level is the one that was set', () => {
  const logger = createLogger('error');
  expect([logger.isLevelEnabled('error'), logger.isLevelEnabled('info')]).toEqual([true, false]);
});
