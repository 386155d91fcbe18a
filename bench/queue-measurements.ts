/**
 * How long a caller's only run waits while another caller has very many waiting, with
 * one place to run: in units of one run of the other.
 */
import { Service } from './service.ts';

const HELD_MS = 200;
const HEAVY = { code: `import time; time.sleep(${String(HELD_MS / 1000)})`, limits: { wall_ms: 10_000 } };
/** Of which the time of one is taken. */
const RUNS_TIMED = 20;
const LIGHT = { code: 'print(1)' };

export interface QueueSamples {
  /** Milliseconds from asking to the program's start, each. */
  readonly waits: readonly number[];
  /** Milliseconds that one run of the heavy caller takes the place for. */
  readonly runMs: number;
  /** How many of the heavy caller waited when the first of the others came. */
  readonly waiting: number;
}

export async function lightBesideHeavy(heavyRuns: number, samples: number): Promise<QueueSamples> {
  await using service = await Service.start({
    PYEXEC_MAX_CONCURRENT: '1',
    PYEXEC_MAX_QUEUE: String(2 * heavyRuns),
    PYEXEC_POOL_SIZE: '2',
    PYEXEC_SHUTDOWN_GRACE: '0',
    // Two callers on one machine: named as a proxy would.
    PYEXEC_AUTH: 'proxy',
    PYEXEC_TRUST_PROXY: '127.0.0.1',
    PYEXEC_OPEN_ROUTES: 'metrics',
    PYEXEC_RATE_CALLER: '0',
    PYEXEC_RATE_ADDRESS: '0',
  });
  const as = (caller: string, more: Record<string, string> = {}) => ({
    'content-type': 'application/json',
    'x-forwarded-user': caller,
    ...more,
  });
  const submit = async (caller: string, request: object, more?: Record<string, string>) => {
    const { statusCode, body } = await service.post('/api/v1/exec', as(caller, more), JSON.stringify(request));
    const execution = (await body.json()) as { execution_id: string; created_at: string; started_at?: string };
    if (statusCode >= 300) throw new Error(`answered ${String(statusCode)} ${JSON.stringify(execution)}`);
    return execution;
  };
  const ids: string[] = [];
  for (let run = 0; run < heavyRuns; run += 1) {
    const { execution_id } = await submit('heavy', HEAVY, { prefer: 'respond-async' });
    if (run < RUNS_TIMED) ids.push(execution_id);
  }
  // From one start to the next, while they have the place to themselves: acquired, run, given back.
  const starts: number[] = [];
  for (const id of ids) {
    for (;;) {
      const { body } = await service.fetch(`/api/v1/executions/${id}`, as('heavy'));
      const { started_at } = (await body.json()) as { started_at?: string };
      if (started_at !== undefined) {
        starts.push(Date.parse(started_at));
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  const gaps = starts.slice(1).map((start, index) => start - (starts[index] ?? NaN));
  const runMs = gaps.sort((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? NaN;
  const waiting = await service.metric('pyexec_runs_queued');
  const waits: number[] = [];
  for (let sample = 0; sample < samples; sample += 1) {
    // It comes anew, at any moment of the other's runs: its last one is gone.
    await new Promise((resolve) => setTimeout(resolve, runMs * (1 + Math.random())));
    const { created_at, started_at = '' } = await submit('light', LIGHT);
    waits.push(Date.parse(started_at) - Date.parse(created_at));
  }
  return { waits, runMs, waiting };
}
