/**
 * A layer is built once, shared, never changed, kept over restarts, and forgotten
 * when there is no room: D09, D10, D12, and what a crash leaves.
 */
import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { containersOf, docker, until, untilGone } from '../../support/docker-containers.ts';
import { DockerSocketProxy } from '../../support/docker-socket-proxy.ts';
import { layersOf, removeLayers, startLayerEngine, type LayerEngine } from '../../support/layers.ts';
import { PackageIndex } from '../../support/package-index.ts';
import { ServiceProcess } from '../../support/service-process.ts';
import { wheel } from '../../support/wheels.ts';

const MIB = 1 << 20;
const named = async (instance: string) =>
  (await layersOf(instance)).filter(({ RepoTags }) => RepoTags?.[0]?.startsWith('pyexec-layer/'));
const importing = (name: string) => `import ${name}; print(${name}.VERSION)`;
const metric = async ({ engine }: LayerEngine, line: string) =>
  Number(
    new RegExp(`^${line.replaceAll(/[{}"]/g, String.raw`\$&`)} (\\d+)$`, 'm').exec(
      (await engine.metrics.render()).body,
    )?.[1],
  );

it('D10 the same requirements twenty times at once: one resolution, one installation, all correct', async () => {
  await using index = await PackageIndex.open(wheel({ name: 'fine' }));
  await using engine = await startLayerEngine(index, { PYEXEC_MAX_CONCURRENT: '64' });
  const executions = await Promise.all(
    Array.from({ length: 20 }, (_, number) =>
      // Spelled differently, it is the same.
      engine.run(importing('fine'), {
        requirements: number % 2 ? 'fine>=1,<2' : '# again\nFINE <2, >=1.0'.replace('1.0', '1'),
      }),
    ),
  );
  for (const execution of executions) expect(execution).toMatchObject({ stdout: '1.0\n', packages: ['fine==1.0'] });
  expect(index.requests.filter((target) => target === '/simple/fine/').length).toBeLessThanOrEqual(3);
  expect(await named(engine.instance)).toHaveLength(1);
  const asked = index.requests.length;

  // Another text that comes to the same lock asks the index and finds the layer there.
  const other = await engine.run(importing('fine'), { requirements: 'fine==1.0' });
  expect(other.stdout).toBe('1.0\n');
  expect(index.requests.length).toBeGreaterThan(asked);
  expect(await named(engine.instance)).toHaveLength(1);
  // And the second time nobody is asked.
  const askedAgain = index.requests.length;
  expect((await engine.run(importing('fine'), { requirements: 'fine==1.0' })).stdout).toBe('1.0\n');
  expect(index.requests.length).toBe(askedAgain);
  await untilGone(engine.instance);
});

it('D09 a run cannot change the layer it uses', async () => {
  await using index = await PackageIndex.open(wheel({ name: 'fine' }));
  await using engine = await startLayerEngine(index);
  const attack = `
import errno, fine, os
folder = os.path.dirname(fine.__file__)
def attempt(action):
    try: action(); return "done"
    except OSError as problem: return "refused" if problem.errno in (errno.EROFS, errno.EACCES) else problem.strerror
print(attempt(lambda: open(fine.__file__, "w").write("VERSION = 'planted'")))
print(attempt(lambda: open(fine.__cached__, "r+b").write(b"planted")))
print(attempt(lambda: open(folder + "/planted.py", "w")), attempt(lambda: os.unlink(fine.__file__)))
print(attempt(lambda: os.rename(fine.__file__, folder + "/gone.py")), attempt(lambda: os.chmod(fine.__file__, 0o777)))
`;
  const attacked = await engine.run(attack, { requirements: 'fine' });
  expect(attacked.stdout).toBe('refused\nrefused\nrefused refused\nrefused refused\n');
  const after = await engine.run(
    `${importing('fine')}\nimport importlib.util; print(importlib.util.find_spec("planted"))`,
    { requirements: 'fine' },
  );
  expect(after.stdout).toBe('1.0\nNone\n');
});

it('layers used longest ago make room, but not while a run uses them', async () => {
  const files = (name: string) => ({ [`${name}.py`]: 'VERSION = "1.0"\n', [`${name}.bin`]: Buffer.alloc(3 * MIB) });
  await using index = await PackageIndex.open(
    ...['one', 'two', 'three'].map((name) => wheel({ name, files: files(name) })),
  );
  await using engine = await startLayerEngine(index, { PYEXEC_LAYERS_MAX_MB: '7' });
  await engine.run(importing('one'), { requirements: 'one' });
  await engine.run(importing('two'), { requirements: 'two' });
  await until('the containers are gone', async () => (await containersOf(engine.instance)).length === 0);
  const long = engine.run(
    `${importing('one')}\nimport time; time.sleep(12); import one; print(open(one.__file__[:-2] + "bin", "rb").read() == bytes(${String(3 * MIB)}))`,
    { requirements: 'one' },
  );
  await until('it runs', async () => (await containersOf(engine.instance)).length === 1);
  expect((await engine.run(importing('three'), { requirements: 'three' })).stdout).toBe('1.0\n');
  const kept = (await named(engine.instance)).map(({ Labels }) => Labels['pyexec.layer.packages']);
  expect(kept.sort()).toEqual(['one==1.0', 'three==1.0']);
  expect((await long).stdout).toBe('1.0\nTrue\n');
  expect((await engine.run(importing('two'), { requirements: 'two' })).stdout).toBe('1.0\n');
}, 90_000);

it('a layer whose image somebody removed is made again, by the run that misses it', async () => {
  await using index = await PackageIndex.open(wheel({ name: 'fine' }));
  await using engine = await startLayerEngine(index);
  await engine.run(importing('fine'), { requirements: 'fine' });
  await untilGone(engine.instance);
  await removeLayers(engine.instance);
  const execution = await engine.run(importing('fine'), { requirements: 'fine' });
  expect(execution).toMatchObject({ stdout: '1.0\n', packages: ['fine==1.0'] });
  expect(await named(engine.instance)).toHaveLength(1);
});

it('a layer that lost its name while a run used it makes room as any other', async () => {
  const files = (name: string) => ({ [`${name}.py`]: 'VERSION = "1.0"\n', [`${name}.bin`]: Buffer.alloc(3 * MIB) });
  await using index = await PackageIndex.open(
    ...['one', 'two', 'three'].map((name) => wheel({ name, files: files(name) })),
  );
  await using engine = await startLayerEngine(index, { PYEXEC_LAYERS_MAX_MB: '7' });
  const running = engine.run(`${importing('one')}; import time; time.sleep(3)`, { requirements: 'one' });
  await until('it is made', async () => (await named(engine.instance)).length === 1);
  const [layer] = await named(engine.instance);
  const name = layer?.RepoTags?.[0] ?? '';
  await until('it is in use', async () =>
    (await containersOf(engine.instance)).some(({ ImageID, State }) => ImageID === layer?.Id && State === 'running'),
  );
  await docker.getImage(name).remove({ force: true });
  expect((await running).stdout).toBe('1.0\n');
  await untilGone(engine.instance);
  for (const other of ['two', 'three']) await engine.run(importing(other), { requirements: other });
  const kept = (await layersOf(engine.instance)).map(({ Labels }) => Labels['pyexec.layer.packages']);
  expect(kept.sort()).toEqual(['three==1.0', 'two==1.0']);
}, 60_000);

it('what somebody made out of a layer is none, whatever its labels say, and stays', async () => {
  const instance = `test-${randomUUID()}`;
  const repo = `test-derived/${instance}`;
  await using index = await PackageIndex.open(wheel({ name: 'fine' }));
  {
    await using first = await ServiceProcess.start({ ...index.settings, PYEXEC_INSTANCE: instance });
    await execWith(first, 'fine');
  }
  const [layer] = await named(instance);
  const container = await docker.createContainer({ Image: layer?.Id ?? '', Entrypoint: ['true'] });
  try {
    // The labels of the layer, and such as no layer has.
    await container.commit({ repo, tag: 'same', changes: 'CMD ["true"]' });
    await container.commit({
      repo,
      tag: 'odd',
      changes: 'LABEL pyexec.layer.key=../../../x pyexec.layer.bytes=Infinity pyexec.layer.request=x',
    });
    await container.remove();
    await using second = await startLayerEngine(index, { PYEXEC_INSTANCE: instance, PYEXEC_LAYERS_MAX_MB: '1' });
    expect(await metric(second, 'pyexec_layers_stored')).toBe(1);
    expect((await second.run(importing('fine'), { requirements: 'fine' })).stdout).toBe('1.0\n');
    const tags = (await layersOf(instance)).flatMap(({ RepoTags }) => RepoTags ?? []);
    expect(tags).toEqual(expect.arrayContaining([`${repo}:same`, `${repo}:odd`, layer?.RepoTags?.[0]]));
    expect((await containersOf(instance)).every(({ ImageID }) => ImageID === layer?.Id)).toBe(true);
  } finally {
    await container.remove({ force: true }).catch(() => undefined);
    await removeLayers(instance);
  }
}, 60_000);

it('a package with files that would hide those of the image below is refused', async () => {
  await using index = await PackageIndex.open(
    ...['.wh..wh..opq', 'folder/.wh.hidden.py'].map((path, number) =>
      wheel({ name: `whiteout-${String(number)}`, files: { 'whiteout.py': '', [path]: '' } }),
    ),
  );
  await using engine = await startLayerEngine(index);
  for (const number of [0, 1]) {
    const { outcome } = await engine.run('print(1)', { requirements: `whiteout-${String(number)}` });
    expect(outcome).toMatchObject({ kind: 'infrastructure_error', code: 'installation_failed' });
  }
  expect(await layersOf(engine.instance)).toEqual([]);
});

it('layers survive a restart, with what was resolved', async () => {
  const instance = `test-${randomUUID()}`;
  await using index = await PackageIndex.open(wheel({ name: 'fine' }));
  {
    await using first = await ServiceProcess.start({ ...index.settings, PYEXEC_INSTANCE: instance });
    expect(await (await execWith(first, 'fine')).json()).toMatchObject({ stdout: '1.0\n' });
  }
  const asked = index.requests.length;
  await using second = await startLayerEngine(index, { PYEXEC_INSTANCE: instance });
  expect(await metric(second, 'pyexec_layers_stored')).toBe(1);
  expect((await second.run(importing('fine'), { requirements: 'fine' })).stdout).toBe('1.0\n');
  expect(index.requests.length).toBe(asked);
  expect(await metric(second, 'pyexec_layers_total{result="found"}')).toBe(1);
});

it.each([500, 'eof', 'lost'] as const)(
  'a layer the daemon does not store (%s) leaves nothing, and is made again',
  async (fault) => {
    await using index = await PackageIndex.open(wheel({ name: 'fine' }));
    await using proxy = await DockerSocketProxy.start();
    await using engine = await startLayerEngine(index, { PYEXEC_DOCKER_SOCKET: proxy.socketPath });
    proxy.fail('build', fault, 1);
    const failed = await engine.run(importing('fine'), { requirements: 'fine' });
    expect(failed.outcome).toMatchObject({ kind: 'infrastructure_error', code: 'sandbox_unavailable' });
    expect(await layersOf(engine.instance)).toEqual([]);
    // Not before the time that callers are told to wait.
    await until(
      'it is made',
      async () => (await engine.run(importing('fine'), { requirements: 'fine' })).stdout === '1.0\n',
    );
    expect(await named(engine.instance)).toHaveLength(1);
  },
);

it('what a failed build left while nothing could be removed goes later, without another build', async () => {
  await using index = await PackageIndex.open(wheel({ name: 'fine' }));
  await using proxy = await DockerSocketProxy.start();
  await using engine = await startLayerEngine(index, { PYEXEC_DOCKER_SOCKET: proxy.socketPath });
  proxy.fail('build', 'lost', 1);
  proxy.fail('remove_image', 500);
  await engine.run(importing('fine'), { requirements: 'fine' });
  // When the build fails, and when nothing is being built any more.
  await until('both attempts failed', () => (proxy.counts.get('remove_image') ?? 0) >= 2);
  expect(await named(engine.instance)).toHaveLength(1);
  proxy.heal();
  await until('it is gone', async () => (await layersOf(engine.instance)).length === 0, 30_000);
}, 60_000);

it('D12 a server killed while it installs leaves nothing, and the next one installs anew', async () => {
  const instance = `test-${randomUUID()}`;
  await using index = await PackageIndex.open(
    wheel({ name: 'fine', files: { 'fine.py': 'VERSION = "1.0"\n', 'fine.bin': Buffer.alloc(20 * MIB, 'x') } }),
  );
  // In turn: while it resolves, while it installs, while the image is made.
  for (const downloads of [0, 1, 2]) {
    const service = await ServiceProcess.start({ ...index.settings, PYEXEC_INSTANCE: instance });
    const before = index.downloads;
    const answer = execWith(service, 'fine').catch(() => undefined);
    await until('it is that far', async () =>
      downloads === 0 ? (await containersOf(instance)).length > 0 : index.downloads >= before + downloads,
    );
    service.signal('SIGKILL');
    await service.ended;
    await answer;
  }
  await using engine = await startLayerEngine(index, { PYEXEC_INSTANCE: instance });
  expect((await containersOf(instance)).length).toBe(0);
  const left = await layersOf(instance);
  for (const { RepoTags } of left) expect(RepoTags?.[0] ?? '').toMatch(/^pyexec-layer\//);
  expect((await engine.run(importing('fine'), { requirements: 'fine' })).stdout).toBe('1.0\n');
  expect(await named(instance)).toHaveLength(1);
}, 120_000);

it('a client that goes away ends its run, not the installation others wait for', async () => {
  await using index = await PackageIndex.open(wheel({ name: 'fine' }));
  await using service = await ServiceProcess.start({ ...index.settings });
  try {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    index.misbehave = (request, response) => {
      if (request.url !== '/simple/fine/') return false;
      void held.then(() => {
        index.misbehave = () => false;
        response.writeHead(302, { location: '/simple/fine/' }).end();
      });
      return true;
    };
    const leaving = new AbortController();
    const left = execWith(service, 'fine', leaving.signal).catch(() => 'left');
    const staying = execWith(service, 'fine');
    await until('the index was asked', () => index.requests.length > 0);
    leaving.abort();
    expect(await left).toBe('left');
    release();
    expect(await (await staying).json()).toMatchObject({ stdout: '1.0\n' });
  } finally {
    // One that is still in use would stay.
    await untilGone(service.instance);
    await removeLayers(service.instance);
  }
});

function execWith(service: ServiceProcess, requirements: string, signal?: AbortSignal): Promise<Response> {
  return fetch(`${service.url}/api/v1/exec`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ code: importing('fine'), requirements: [requirements] }),
    signal: signal ?? AbortSignal.timeout(60_000),
  });
}

it('the daemon is left as it was found', async () => {
  const dangling = await docker.listImages({
    filters: JSON.stringify({ label: ['pyexec.layer.instance'], dangling: ['true'] }),
  });
  const mine = dangling.filter(({ Labels }) => Labels['pyexec.layer.instance']?.startsWith('test-'));
  expect(mine).toEqual([]);
});
