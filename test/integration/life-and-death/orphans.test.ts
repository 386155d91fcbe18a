/** F29, F02: containers nobody owns go, and nobody else's do. */
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { LABEL } from '../../../src/sandbox/container-labels.ts';
import { containersOf, placeContainer, until, untilGone } from '../../support/docker-containers.ts';
import { startEngine } from '../../support/engine.ts';
import { ServiceProcess } from '../../support/service-process.ts';

const IMAGE = 'pyexec/slim:latest';
const inSeconds = (seconds: number) => String(Math.floor(Date.now() / 1000) + seconds);
const labels = (instance: string, expires: string) => ({
  [LABEL.instance]: instance,
  [LABEL.boot]: randomUUID(),
  [LABEL.expires]: expires,
});

test('F29: the reaper removes our own of an earlier process and what has expired, and nothing else', async () => {
  const instance = `test-${randomUUID()}`;
  await using foreign = await placeContainer(IMAGE, { app: 'pyexec' });
  await using others = await placeContainer(IMAGE, labels(`${instance}-2`, inSeconds(1000)));
  await using withoutExpiry = await placeContainer(IMAGE, { [LABEL.instance]: `${instance}-3` });
  await using justExpired = await placeContainer(IMAGE, labels(`${instance}-4`, inSeconds(-5)));
  await using expired = await placeContainer(IMAGE, labels(`${instance}-5`, inSeconds(-1000)));
  await using own = await placeContainer(IMAGE, labels(instance, inSeconds(1000)));

  await using engine = await startEngine({ PYEXEC_INSTANCE: instance, PYEXEC_REAP_INTERVAL: '1' });
  // At boot, before anything is run.
  expect([await own.exists(), await expired.exists()]).toEqual([false, false]);

  await using ownLater = await placeContainer(IMAGE, labels(instance, inSeconds(1000)));
  await using expiredLater = await placeContainer(IMAGE, labels(`${instance}-6`, inSeconds(-1000)));
  await until(
    'those that came later are gone',
    async () => !(await ownLater.exists()) && !(await expiredLater.exists()),
  );

  // Several sweeps later a run of its own is still unharmed, and so are the others'.
  expect((await engine.run('import time; time.sleep(2.5); print("unharmed")')).stdout).toBe('unharmed\n');
  for (const survivor of [foreign, others, withoutExpiry, justExpired]) expect(await survivor.exists()).toBe(true);
});

test('F02: kill -9 in the middle of runs, and after the next start nothing of them is left', async () => {
  const before = await ServiceProcess.start({ PYEXEC_POOL_SIZE: '1' });
  const { instance } = before;
  const lost = Promise.allSettled([1, 2].map(() => before.exec('import time; time.sleep(60)')));
  await until(
    'they run',
    async () => (await containersOf(instance)).filter(({ State }) => State === 'running').length >= 3,
  );
  before.signal('SIGKILL');
  await before.ended;
  expect((await lost).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect((await containersOf(instance)).length).toBeGreaterThanOrEqual(3);

  await using after = await ServiceProcess.start({ PYEXEC_INSTANCE: instance, PYEXEC_REAP_INTERVAL: '1' });
  await untilGone(instance);
  expect(await (await after.exec('print("fresh")')).json()).toMatchObject({ stdout: 'fresh\n' });
});
