/** What keeps the service from starting, said in one sentence. */
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, test } from 'vitest';
import { containersOf, until } from '../../support/docker-containers.ts';
import { freePort, runService, ServiceProcess } from '../../support/service-process.ts';

const directory = mkdtempSync(join(tmpdir(), 'pyexec-boot-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const allowing = join(directory, 'allowing.json');
writeFileSync(allowing, '{"defaultAction":"SCMP_ACT_ALLOW"}');
const open = join(directory, 'open');
mkdirSync(open);
chmodSync(open, 0o777);
const broken = join(directory, 'broken.json');
writeFileSync(broken, '{');

/** A state directory with one file in it that cannot be used. */
function stateWith(name: string, make: (path: string) => void): string {
  const state = join(directory, name);
  mkdirSync(state, { mode: 0o700 });
  make(join(state, name));
  return state;
}
const ofLaterVersion = (path: string) => {
  const database = new DatabaseSync(path);
  database.exec('PRAGMA user_version = 99');
  database.close();
};
const damaged = (path: string) => {
  writeFileSync(path, Buffer.alloc(8192, 'no database'));
};

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
    [
      'with a state directory below a file',
      { PYEXEC_STATE_DIR: join(allowing, 'state') },
      /PYEXEC_STATE_DIR: .* no directory/,
    ],
    ['with a state directory others may write to', { PYEXEC_STATE_DIR: open }, /other users may write to .*chmod 700/],
    [
      'with webhooks of a later version',
      { PYEXEC_STATE_DIR: stateWith('webhooks.sqlite', ofLaterVersion) },
      /PYEXEC_STATE_DIR: .*webhooks\.sqlite was written by a later version of this service/,
    ],
    [
      'with damaged budgets',
      { PYEXEC_STATE_DIR: stateWith('usage.sqlite', damaged), PYEXEC_BUDGET_CPU_SECONDS: '1' },
      /PYEXEC_STATE_DIR: .*usage\.sqlite is damaged; restore it/,
    ],
    [
      'with a file of certificates that holds none',
      { PYEXEC_WEBHOOK_CA_FILE: broken },
      /PYEXEC_WEBHOOK_CA_FILE: .* cannot be used: it holds no certificate/,
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

test('F27: a second server on the same state directory refuses, and kill -9 gives the directory up', async () => {
  const PYEXEC_STATE_DIR = join(directory, 'state');
  const first = await ServiceProcess.start({ PYEXEC_STATE_DIR });
  expect(statSync(PYEXEC_STATE_DIR).mode & 0o777).toBe(0o700);
  const refused = await runService({
    PYEXEC_STATE_DIR,
    PYEXEC_INSTANCE: `test-${randomUUID()}`,
    PYEXEC_PORT: String(await freePort()),
  });
  expect(refused.code).toBe(78);
  expect(refused.stderr).toMatch(/^pyexec does not start: PYEXEC_STATE_DIR: .* is in use by another server\n$/);
  expect((await first.get('/health')).status).toBe(200);
  first.signal('SIGKILL');
  await first.ended;
  await using second = await ServiceProcess.start({ PYEXEC_STATE_DIR });
  expect((await second.get('/health')).status).toBe(200);
});

test('--check-config prints the effective settings and starts nothing', async () => {
  const { code, stderr } = await runService({ PYEXEC_DOCKER_SOCKET: '/nonexistent' }, ['--check-config']);
  expect([code, stderr]).toEqual([0, '']);
});

test('a second server of a name does not start, and the first one keeps what it runs; a killed one gives the name up', async () => {
  const instance = `test-${randomUUID()}`;
  await using first = await ServiceProcess.start({ PYEXEC_INSTANCE: instance });
  const running = first.exec('import time; time.sleep(4); print("undisturbed")');
  await until('it runs', async () => (await containersOf(instance)).length > 0);
  const second = await runService({ PYEXEC_INSTANCE: instance, PYEXEC_PORT: String(await freePort()) });
  expect(second.code).toBe(78);
  expect(second.stderr).toMatch(/PYEXEC_INSTANCE: another server on this machine is called test-/);
  expect(await (await running).json()).toMatchObject({ stdout: 'undisturbed\n' });
  first.signal('SIGKILL');
  await first.ended;
  await using third = await ServiceProcess.start({ PYEXEC_INSTANCE: instance });
  expect((await third.exec('print(1)')).status).toBe(200);
}, 60_000);
