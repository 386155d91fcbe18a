/** Warm sandboxes of the real daemon: refilled, replaced when they died or are out of date, gone at the end. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { containersOf, docker, until } from '../../support/docker-containers.ts';
import { runRequest, startEngine, type TestEngine } from '../../support/engine.ts';

async function readyCount({ engine }: TestEngine): Promise<number> {
  const { body } = await engine.metrics.render();
  return Number(/^pyexec_pool_ready (\d+)$/m.exec(body)?.[1]);
}
const full = (engine: TestEngine, size: number) =>
  until(`${String(size)} are ready`, async () => (await readyCount(engine)) === size, 40_000);

test('a member is used once, and another takes its place', async () => {
  const instance = `test-${randomUUID()}`;
  await using engine = await startEngine({ PYEXEC_INSTANCE: instance, PYEXEC_POOL_SIZE: '2' });
  await full(engine, 2);
  const seen = new Set((await containersOf(instance)).map(({ Id }) => Id));
  for (let turn = 0; turn < 4; turn += 1) {
    const { stdout } = await engine.run(
      'import os; open("/tmp/mark", "x"); print(os.listdir("/work"), os.getpid() > 1)',
    );
    expect(stdout).toBe("['main.py'] True\n");
    await full(engine, 2);
    for (const { Id } of await containersOf(instance)) seen.add(Id);
  }
  expect(seen.size).toBeGreaterThanOrEqual(6);
});

test('a member that was killed from outside is never handed out, and is replaced', async () => {
  const instance = `test-${randomUUID()}`;
  await using engine = await startEngine({ PYEXEC_INSTANCE: instance, PYEXEC_POOL_SIZE: '2' });
  await full(engine, 2);
  const dead = await containersOf(instance);
  await Promise.all(dead.map(({ Id }) => docker.getContainer(Id).kill()));
  // The streams of dead containers end a moment after the daemon says that they are dead.
  await sleep(1_000);
  for (let turn = 0; turn < 3; turn += 1) expect((await engine.run('print("ok")')).stdout).toBe('ok\n');
  await until('the dead are removed', async () => {
    const left = new Set((await containersOf(instance)).map(({ Id }) => Id));
    return dead.every(({ Id }) => !left.has(Id));
  });
  await full(engine, 2);
});

/** Run in a sandbox by an operator: ends every process but PID 1 and itself; which the kernel would take first. */
const ENDS_OTHERS = `
import os, signal
for name in os.listdir("/proc"):
    if name.isdigit() and int(name) not in (1, os.getpid()):
        print("killed", open("/proc/%s/oom_score_adj" % name).read().strip())
        os.kill(int(name), signal.SIGKILL)
`;

test('a member whose waiting process alone was killed, as the kernel does where memory runs out, is replaced, too', async () => {
  const instance = `test-${randomUUID()}`;
  await using engine = await startEngine({ PYEXEC_INSTANCE: instance, PYEXEC_POOL_SIZE: '2' });
  await full(engine, 2);
  for (const { Id } of await containersOf(instance)) {
    const exec = await docker.getContainer(Id).exec({ Cmd: ['python3', '-c', ENDS_OTHERS], AttachStdout: true });
    const said = await exec.start({ Tty: true });
    expect((await said.toArray()).join('').trim()).toBe('killed 1000');
  }
  await sleep(1_000);
  for (let turn = 0; turn < 3; turn += 1) expect((await engine.run('print("ok")')).stdout).toBe('ok\n');
  await full(engine, 2);
});

/** Ways to make a sandbox stand still without ending it; its streams stay open. */
test.each<readonly [string, (id: string) => Promise<unknown>]>([
  ['paused', (id) => docker.getContainer(id).pause()],
  ['stopped by a signal', (id) => docker.getContainer(id).kill({ signal: 'SIGSTOP' })],
])('a member that somebody %s leaves the pool before a run meets it, and is replaced', async (_, standStill) => {
  const instance = `test-${randomUUID()}`;
  await using engine = await startEngine({ PYEXEC_INSTANCE: instance, PYEXEC_POOL_SIZE: '2' });
  await full(engine, 2);
  const still = new Set((await containersOf(instance)).map(({ Id }) => Id));
  await Promise.all([...still].map(standStill));
  await until(
    'those that stand still are removed',
    async () => (await containersOf(instance)).every(({ Id }) => !still.has(Id)),
    40_000,
  );
  await full(engine, 2);
  expect((await engine.run('print("ok")')).stdout).toBe('ok\n');
  expect((await engine.engine.metrics.render()).body).toMatch(/^pyexec_pool_discards_total\{reason="silent",.*\} 2$/m);
});

test('limits other than the default are applied to a warm member', async () => {
  await using engine = await startEngine({ PYEXEC_POOL_SIZE: '1' });
  await full(engine, 1);
  const program = `
for path in ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"):
    try: print(open(path).read().strip()); break
    except FileNotFoundError: pass
`;
  const { stdout } = await engine.run(program, runRequest({ limits: { pids: 77 } }));
  expect(stdout).toBe('77\n');
  expect((await engine.engine.metrics.render()).body).toMatch(
    /^pyexec_pool_takes_total\{result="hit",shape="[^"]+"\} 1$/m,
  );
});

test('an image built anew under the same name replaces the members made of the old one', async () => {
  const instance = `test-${randomUUID()}`;
  const repo = `pyexec/test-${randomUUID().slice(0, 8)}`;
  const image = `${repo}:latest`;
  await docker.getImage('pyexec/slim:latest').tag({ repo, tag: 'latest' });
  try {
    await using engine = await startEngine({
      PYEXEC_INSTANCE: instance,
      PYEXEC_ALLOWED_IMAGES: repo,
      PYEXEC_POOL_IMAGES: `${image}=1`,
    });
    await full(engine, 1);
    const [old] = await containersOf(instance);

    const scratch = await docker.createContainer({ Image: 'pyexec/slim:latest', Entrypoint: ['true'] });
    await scratch.commit({ repo, tag: 'latest', comment: 'anew', changes: 'LABEL test.anew=1' });
    await scratch.remove();
    const { Id: anew } = await docker.getImage(image).inspect();
    expect(anew).not.toBe(old?.ImageID);

    // Looked for every 15 s, and what a name means is remembered for 10 s.
    await until(
      'the member is made of the new image',
      async () => {
        const members = await containersOf(instance);
        return members.length === 1 && members[0]?.ImageID === anew;
      },
      50_000,
    );
    const execution = await engine.run('print("anew")', { image });
    expect(execution.stdout).toBe('anew\n');
  } finally {
    await until('the image is removed', () =>
      docker
        .getImage(image)
        .remove({ force: true })
        .then(
          () => true,
          () => false,
        ),
    );
  }
}, 90_000);

test('an image that is gone takes its members with it and nothing else: the rest is still looked after', async () => {
  const instance = `test-${randomUUID()}`;
  const repo = `pyexec/test-${randomUUID().slice(0, 8)}`;
  const image = `${repo}:latest`;
  // An image of its own: one that only has another name more is the same to those who wait.
  const scratch = await docker.createContainer({ Image: 'pyexec/slim:latest', Entrypoint: ['true'] });
  await scratch.commit({ repo, tag: 'latest', changes: 'LABEL test.gone=1' });
  await scratch.remove();
  const { Id: id } = await docker.getImage(image).inspect();
  try {
    await using engine = await startEngine({
      PYEXEC_INSTANCE: instance,
      PYEXEC_POOL_SIZE: '1',
      PYEXEC_POOL_MAX_AGE: '10',
      PYEXEC_POOL_IMAGES: `${image}=1`,
    });
    await full(engine, 2);
    const before = await containersOf(instance);
    // Its name alone goes: the member still stands on it.
    await docker.getImage(image).remove({ force: true });
    await until(
      'one is left, and it is another, because the old one is too old',
      async () => {
        const now = await containersOf(instance);
        return now.length === 1 && !before.some(({ Id }) => Id === now[0]?.Id) && (await readyCount(engine)) === 1;
      },
      50_000,
    );
    expect((await engine.run('print("ok")')).stdout).toBe('ok\n');
  } finally {
    await docker.getImage(id).remove({ force: true });
  }
}, 90_000);

test('closing leaves nothing, also while the pool is being filled', async () => {
  const instance = `test-${randomUUID()}`;
  {
    await using _engine = await startEngine({ PYEXEC_INSTANCE: instance, PYEXEC_POOL_SIZE: '6' });
    await until('some are there', async () => (await containersOf(instance)).length >= 1);
  }
  expect(await containersOf(instance)).toEqual([]);
});
