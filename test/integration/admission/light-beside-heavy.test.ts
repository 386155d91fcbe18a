/** A caller with a long queue beside one with a single run, in real containers. */
import { expect, test } from 'vitest';
import type { Caller } from '../../../src/domain/caller.ts';
import { projectOf, runRequest, startEngine } from '../../support/engine.ts';

const caller = (id: string): Caller => ({ id, scopes: new Set(['run', 'read'] as const) });

test('the light caller’s run begins after at most one more of the heavy one, and each is told where it stands', async () => {
  await using started = await startEngine({ PYEXEC_MAX_CONCURRENT: '1', PYEXEC_MAX_QUEUE: '64' });
  const { executions } = started.engine;
  const submit = async (who: string, code: string) =>
    executions.submit(runRequest(), await projectOf(started.engine, code), caller(who));
  const heavy = [];
  for (let n = 0; n < 8; n += 1) heavy.push(await submit('heavy', 'import time; time.sleep(0.2)'));
  await heavy[1]?.ended;
  const begunBefore = heavy.filter((run) => run.result().started_at !== undefined).length;
  const light = await submit('light', 'print(1)');
  expect(light.result()).toMatchObject({ status: 'pending', queue: { position: 1 } });
  expect(light.result().queue?.estimated_wait_ms).toBeGreaterThan(0);
  expect(heavy.at(-1)?.result().queue?.position).toBeGreaterThan(2);
  await light.ended;
  const { started_at: lightStart = '', ...snapshot } = await light.snapshot();
  expect(snapshot).toMatchObject({ status: 'completed', stdout: '1\n' });
  expect(snapshot.queue).toBeUndefined();
  const before = heavy.filter((run) => (run.result().started_at ?? '~') < lightStart).length;
  expect(before - begunBefore).toBeLessThanOrEqual(1);
  for (const run of heavy) run.cancel('requested');
  await Promise.all(heavy.map((run) => run.ended));
});
