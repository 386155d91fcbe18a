/**
 * Clients that go on whatever happens: each submits a job, waits for its end, and
 * writes down what it was answered. A broken connection is tried again with the same key.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Accepted, History, Seen } from './history.ts';
import { jobOf, type Job } from './programs.ts';

/** An answer takes no longer than this, whatever is broken: silence is a violation. */
const ANSWER_TIMEOUT_MS = 90_000;
/** After the last fault. */
const HEALED_WITHIN_MS = 30_000;
const HEALED_JOBS = 6;
/** Refusals there may be while things are broken. */
const REFUSALS: ReadonlySet<number> = new Set([429, 500, 502, 503, 504, 507]);

export interface Load {
  readonly origin: () => string;
  readonly history: History;
  readonly random: () => number;
  readonly isOver: () => boolean;
}

export async function client(load: Load): Promise<void> {
  while (!load.isOver()) {
    const job = jobOf(load.random(), load.random(), randomUUID());
    const way = load.random();
    if (way < 0.5) await waits(load, job);
    else await comesBack(load, job, way < 0.8 ? randomUUID() : undefined);
  }
}

async function post(load: Load, job: Job, headers: Readonly<Record<string, string>>): Promise<Response | undefined> {
  const { code, limits } = job;
  try {
    return await fetch(`${load.origin()}/api/v1/exec`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ code, ...(limits ? { limits } : {}) }),
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
  } catch (error) {
    if (error instanceof Error && error.name === 'TimeoutError') {
      load.history.violated('I7', `no answer to ${job.name} in ${String(ANSWER_TIMEOUT_MS)} ms`);
    }
    load.history.count('connection broke');
    await sleep(100 + load.random() * 400);
    return undefined;
  }
}

/** A caller that waits for the result. What became of a broken connection it never learns. */
async function waits(load: Load, job: Job): Promise<void> {
  const response = await post(load, job, {});
  if (!response) return;
  const body = await bodyOf<Seen & { execution_id: string }>(load, response, job);
  if (!body) return;
  load.history.count('answered with its result');
  load.history.saw(load.history.accept(body.execution_id, job, undefined), body);
}

/** A caller that submits and asks again later, with a key where it wants to be sure that it runs once. */
async function comesBack(load: Load, job: Job, key: string | undefined): Promise<void> {
  const headers = { prefer: 'respond-async', ...(key === undefined ? {} : { 'idempotency-key': key }) };
  let accepted: Accepted | undefined;
  for (let tries = 0; tries < (key === undefined ? 1 : 20) && !accepted; tries += 1) {
    const response = await post(load, job, headers);
    const body = response && (await bodyOf<{ execution_id: string }>(load, response));
    if (body) accepted = load.history.accept(body.execution_id, job, key);
  }
  if (!accepted) return;
  load.history.count('accepted');
  if (key !== undefined && load.random() < 0.3) {
    const again = await post(load, job, headers);
    const body = again && (await bodyOf<{ execution_id: string }>(load, again));
    if (body) load.history.accept(body.execution_id, job, key);
  }
  for (let polls = 0; polls < 40 && !accepted.ended && !load.isOver(); polls += 1) {
    await sleep(250);
    await look(load, accepted);
  }
}

/** Where nothing is broken any more a program runs to its end, at once or soon, without anybody's doing. */
export async function expectHealed(load: Load, when: string): Promise<void> {
  const kindOf = async (job: Job) => {
    const response = await post(load, job, {});
    const body = response && (await bodyOf<Seen & { execution_id: string }>(load, response, job));
    if (!body) return `a refusal, ${String(response?.status)}`;
    load.history.saw(load.history.accept(body.execution_id, job, undefined), body);
    return body.outcome?.kind ?? 'nothing';
  };
  const jobs = Array.from({ length: HEALED_JOBS }, (_, at) => jobOf(1, at / HEALED_JOBS, randomUUID()));
  const [first] = jobs;
  for (const deadline = performance.now() + HEALED_WITHIN_MS; first && performance.now() < deadline;) {
    if ((await kindOf(first)) === 'exited') break;
  }
  for (const job of jobs) {
    const kind = await kindOf(job);
    if (!job.outcomes.includes(kind)) load.history.violated('I8', `${when} ${job.name} ended as ${kind}`);
  }
}

/** Asks for an accepted execution. An id that was answered must be found. Resolves with whether it was told as it is. */
export async function look(load: Load, accepted: Accepted): Promise<boolean> {
  let response: Response;
  try {
    response = await fetch(`${load.origin()}/api/v1/executions/${accepted.id}`, {
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
  } catch {
    return false;
  }
  if (response.status === 404) load.history.violated('I1', `${accepted.id} was answered and is not found`);
  const seen = await bodyOf<Seen>(load, response);
  if (seen) load.history.saw(accepted, seen);
  return seen !== undefined;
}

/** The body of a success; undefined, counted, for a refusal or an answer that was cut. */
async function bodyOf<T>(load: Load, response: Response, job?: Job): Promise<T | undefined> {
  let body: unknown;
  try {
    body = await response.json();
  } catch {
    load.history.count('answer was cut');
    return undefined;
  }
  if (response.ok) return body as T;
  const { code, execution_id: failed } = body as { code?: string; execution_id?: string };
  // A run that we failed at is answered as a problem, and can be asked for like any other.
  if (failed !== undefined && job) load.history.accept(failed, job, undefined);
  load.history.count(`refused ${String(response.status)} ${code ?? 'without a code'}`);
  if (code === undefined || (!REFUSALS.has(response.status) && response.status !== 404 && response.status !== 409)) {
    load.history.violated('I7', `answered ${String(response.status)} ${JSON.stringify(body)}`);
  }
  await sleep(load.random() * 300);
  return undefined;
}
