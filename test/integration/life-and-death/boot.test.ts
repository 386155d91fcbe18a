/** What keeps the service from starting, said in one sentence. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { containersOf, until } from '../../support/docker-containers.ts';
import { freePort, runService, ServiceProcess } from '../../support/service-process.ts';

const directory = mkdtempSync(join(tmpdir(), 'pyexec-boot-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const allowing = join(directory, 'allowing.json');
writeFileSync(allowing, '{"defaultAction":"SCMP_ACT_ALLOW"}');
const broken = join(directory, 'broken.json');
writeFileSync(broken, '{');

describe.concurrent('the service does not start', () => {
  test.each<[string, Record<string, string>, RegExp]>([
    [
      'without the seccomp profile',
      { PYEXEC_SECCOMP_PROFILE: '/nonexistent.json' },
      /PYEXEC_SECCOMP_PROFILE: .* cannot be read/,
    ],
    [
      'with a seccomp profile that is not JSON',
      { PYEXEC_SECCOMP_PROFILE: broken },
      /PYEXEC_SECCOMP_PROFILE: .* cannot be read/,
    ],
    [
      'with a seccomp profile that allows by default',
      { PYEXEC_SECCOMP_PROFILE: allowing },
      /does not refuse by default/,
    ],
    ['with a runtime the daemon does not have', { PYEXEC_RUNTIME: 'runq' }, /no runtime runq, only .*runc/],
    [
      'without the default image',
      { PYEXEC_DEFAULT_IMAGE: 'pyexec/nowhere' },
      /pyexec\/nowhere is not on this machine; run/,
    ],
    [
      'without an image that is to be kept warm',
      { PYEXEC_POOL_IMAGES: 'pyexec/nowhere=1' },
      /pyexec\/nowhere is not on this machine/,
    ],
    [
      'with a list of warm images that is none',
      { PYEXEC_POOL_IMAGES: 'pyexec/slim' },
      /PYEXEC_POOL_IMAGES: pyexec\/slim is not/,
    ],
    ['with a value that is none', { PYEXEC_MAX_PIDS: 'many' }, /PYEXEC_MAX_PIDS must be a whole number/],
    ['with a name that is none', { PYEXEC_MAX_PID: '5' }, /PYEXEC_MAX_PID is not a setting/],
    [
      'without a daemon',
      { PYEXEC_DOCKER_SOCKET: '/nonexistent/docker.sock' },
      /no Docker daemon answers at \/nonexistent/,
    ],
    ['on an address this machine does not have', { PYEXEC_HOST: '192.0.2.1' }, /no address 192\.0\.2\.1/],
  ])('%s', async (_, settings, sentence) => {
    const port = String(await freePort());
    const { code, stderr } = await runService({
      PYEXEC_INSTANCE: `test-${randomUUID()}`,
      PYEXEC_PORT: port,
      ...settings,
    });
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(/^pyexec does not start: [^\n]+\n$/);
    expect(stderr).not.toMatch(/\bat .*\.(ts|js):\d+|ECONN|ENOENT/);
    expect(code).toBeGreaterThan(0);
  });

  test('with several faults at once, and names each', async () => {
    const { stderr } = await runService({ PYEXEC_MAX_PIDS: 'x', PYEXEC_PORT: 'y' });
    expect(stderr).toMatch(/PYEXEC_PORT/);
    expect(stderr).toMatch(/PYEXEC_MAX_PIDS/);
  });
});

test('a second start on the same address refuses, and the runs of the first are unharmed', async () => {
  await using first = await ServiceProcess.start();
  const running = first.exec('import time; time.sleep(4); print("unharmed")');
  await until('it runs', async () => (await containersOf(first.instance)).some(({ State }) => State === 'running'));
  const { code, stderr } = await runService({
    PYEXEC_INSTANCE: first.instance,
    PYEXEC_PORT: new URL(first.url).port,
  });
  expect(stderr).toMatch(/is in use by another program; set PYEXEC_PORT/);
  expect(code).toBeGreaterThan(0);
  expect(await (await running).json()).toMatchObject({ exit_code: 0, stdout: 'unharmed\n' });
});

test('--check-config prints the effective settings and starts nothing', async () => {
  const { code, stderr } = await runService({ PYEXEC_DOCKER_SOCKET: '/nonexistent' }, ['--check-config']);
  expect([code, stderr]).toEqual([0, '']);
});
