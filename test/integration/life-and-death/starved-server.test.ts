/** A server without descriptors, without processor time, with a wrong clock, without its records (F19, F21, F23, F24). */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { containersOf, until, untilGone } from '../../support/docker-containers.ts';
import { ServiceProcess } from '../../support/service-process.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';
import { hasCompiler, WallClock } from '../../support/wall-clock.ts';

let state: ReturnType<typeof temporaryStateDirectory>;
beforeEach(() => {
  state = temporaryStateDirectory();
});
afterEach(() => {
  state.remove();
});

const TERMINAL = ['completed', 'failed', 'killed'];
const hasEnded = async (service: ServiceProcess, id: string) => TERMINAL.includes((await service.execution(id)).status);

test('F21: without descriptors it refuses or does not answer, and is well when it has some again', async () => {
  await using service = await ServiceProcess.start({ PYEXEC_MAX_CONCURRENT: '8' });
  const accepted = await service.submit('import time; time.sleep(3); print("done")');
  await until('it runs', async () => (await service.execution(accepted)).status === 'running');
  const limit = (soft: number) => {
    execFileSync('prlimit', ['--pid', String(service.pid), `--nofile=${String(soft)}:`]);
  };
  limit(readdirSync(`/proc/${String(service.pid)}/fd`).length + 2);
  const tried = await Promise.allSettled(
    Array.from({ length: 20 }, async () => {
      const response = await service.exec('print(1)', { signal: AbortSignal.timeout(20_000) });
      return { status: response.status, body: (await response.json()) as { code?: string; execution_id?: string } };
    }),
  );
  const answered = tried.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  for (const { status, body } of answered) {
    expect([200, 429, 503, 507]).toContain(status);
    if (status !== 200) expect(body.code).toMatch(/^(sandbox|storage|image)_|queue_full/);
  }
  expect(answered.filter(({ status }) => status === 200).length, 'the limit was met').toBeLessThan(20);
  limit(1_024);
  await until('it is well', async () => {
    const response = await service.exec('print("back")').catch(() => undefined);
    return response?.status === 200 && ((await response.json()) as { stdout: string }).stdout === 'back\n';
  });
  for (const { body } of answered) {
    if (body.execution_id !== undefined) expect(await hasEnded(service, body.execution_id)).toBe(true);
  }
  await until('what ran before has ended', () => hasEnded(service, accepted));
  expect(await service.execution(accepted)).toMatchObject({ status: 'completed', stdout: 'done\n' });
  await until('nothing is left', async () => (await containersOf(service.instance)).length === 0);
}, 90_000);

test('F23: while it stands still its runs meet their limits, and it learns what became of them', async () => {
  await using service = await ServiceProcess.start({ PYEXEC_REAP_INTERVAL: '1' });
  const run = async (code: string, wallMs: number) => {
    const response = await fetch(`${service.url}/api/v1/exec`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'respond-async' },
      body: JSON.stringify({ code, limits: { wall_ms: wallMs } }),
    });
    return ((await response.json()) as { execution_id: string }).execution_id;
  };
  const over = await run('import time; print("begun"); time.sleep(60)', 2_000);
  const done = await run('import time; time.sleep(2); print("done")', 60_000);
  const both = [over, done];
  await until('both run', async () => {
    const seen = await Promise.all(both.map((id) => service.execution(id)));
    return seen.every(({ status }) => status === 'running');
  });
  service.signal('SIGSTOP');
  // Begun before it can know of it: what has arrived when it goes on is answered as ever.
  const waiting = service.exec('print("waited")');
  await until('both containers have ended without it', async () =>
    (await containersOf(service.instance)).every(({ State }) => State !== 'running'),
  );
  await sleep(4_000);
  service.signal('SIGCONT');
  expect(await (await waiting).json()).toMatchObject({ exit_code: 0, stdout: 'waited\n' });
  await until('both have an end', async () =>
    (await Promise.all(both.map((id) => hasEnded(service, id)))).every(Boolean),
  );
  expect(await service.execution(over)).toMatchObject({
    stdout: 'begun\n',
    outcome: { kind: 'timed_out', limit: 'wall_ms' },
    usage: { wall_ms: expect.closeTo(2_000, -3) as number },
  });
  expect(await service.execution(done)).toMatchObject({ outcome: { kind: 'exited' }, stdout: 'done\n' });
  await untilGone(service.instance);
}, 90_000);

test.skipIf(!hasCompiler)(
  'F24: its clock jumps an hour on and back, and limits, order and results stand',
  async () => {
    using clock = new WallClock();
    await using service = await ServiceProcess.start({
      ...clock.environment,
      PYEXEC_REAP_INTERVAL: '1',
      PYEXEC_CLEANUP_TTL: '86400',
    });
    const submit = async (code: string, wallMs: number) => {
      const response = await fetch(`${service.url}/api/v1/exec`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', prefer: 'respond-async' },
        body: JSON.stringify({ code, limits: { wall_ms: wallMs } }),
      });
      return (await response.json()) as { execution_id: string; created_at: string };
    };
    const before = await submit('print("before")', 10_000);
    const done = await submit('import time\nfor n in range(4):\n    print(n, flush=True); time.sleep(1)', 30_000);
    const over = await submit('import time; time.sleep(60)', 3_000);
    await until('they run', async () => (await containersOf(service.instance)).length >= 2);
    clock.moveTo(3_600);
    const later = await submit('print("later")', 10_000);
    expect(Date.parse(later.created_at) - Date.parse(before.created_at), 'the clock has moved').toBeGreaterThan(
      3_500_000,
    );
    await sleep(1_500);
    clock.moveTo(-3_600);
    const earlier = await submit('print("earlier")', 10_000);
    const all = [before, done, over, later, earlier];
    await until('all have an end', async () =>
      (await Promise.all(all.map(({ execution_id: id }) => hasEnded(service, id)))).every(Boolean),
    );
    const ended = await Promise.all(all.map(({ execution_id: id }) => service.execution(id)));
    expect(ended.map(({ outcome, stdout }) => [outcome?.kind, stdout])).toEqual([
      ['exited', 'before\n'],
      ['exited', '0\n1\n2\n3\n'],
      ['timed_out', ''],
      ['exited', 'later\n'],
      ['exited', 'earlier\n'],
    ]);
    for (const each of ended as unknown as { duration_ms: number }[]) {
      expect(each.duration_ms).toBeGreaterThanOrEqual(0);
      expect(each.duration_ms).toBeLessThan(20_000);
    }
    const text = await (await service.get(`/api/v1/executions/${done.execution_id}/events`)).text();
    const times = text
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { t_ms: number }).t_ms);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    await untilGone(service.instance);
  },
  90_000,
);

test('F19: records that were moved away are not written to, what they hold is served, and put back they are used', async () => {
  const PYEXEC_STATE_DIR = join(state.path, 'state');
  const away = join(state.path, 'away');
  const settings = { PYEXEC_STATE_DIR, PYEXEC_INSTANCE: `test-moved-${String(process.pid)}` };
  const service = await ServiceProcess.start(settings);
  const refusal = async () => {
    const response = await service.exec('print(1)');
    return [response.status, ((await response.json()) as { code?: string }).code];
  };
  const kept = await service.submit('print("kept")');
  await until('it has ended', () => hasEnded(service, kept));

  renameSync(PYEXEC_STATE_DIR, away);
  expect(await refusal()).toEqual([503, 'storage_unavailable']);
  await until('it is not ready', async () => (await service.get('/ready')).status === 503);
  expect((await service.get('/health')).status).toBe(200);
  expect(await service.execution(kept)).toMatchObject({ stdout: 'kept\n' });
  // Another in its place is not theirs either.
  mkdirSync(PYEXEC_STATE_DIR, { mode: 0o700 });
  expect(await refusal()).toEqual([503, 'storage_unavailable']);
  rmSync(PYEXEC_STATE_DIR, { recursive: true });
  renameSync(away, PYEXEC_STATE_DIR);
  await until('it is ready', async () => (await service.get('/ready')).status === 200);
  const back = await service.submit('print("back")');
  await until('it has ended', () => hasEnded(service, back));

  // A run whose records are gone when it ends is not said to have ended well.
  const running = service.exec('import time; time.sleep(2); print("lost")');
  await until('it runs', async () => (await containersOf(service.instance)).some(({ State }) => State === 'running'));
  rmSync(PYEXEC_STATE_DIR, { recursive: true });
  expect((await running).status).toBe(503);
  service.signal('SIGTERM');
  expect(await service.ended).toMatchObject({ code: 0 });
  await using anew = await ServiceProcess.start(settings);
  expect((await anew.get(`/api/v1/executions/${kept}`)).status).toBe(404);
  expect((await anew.exec('print(1)')).status).toBe(200);
}, 90_000);
