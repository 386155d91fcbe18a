/** The audit log of a real server: what it says of runs and callers, over a kill -9, and when it cannot be written. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createKey, operatorCommand } from '../../support/operator-command.ts';
import { ServiceProcess } from '../../support/service-process.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

let state: ReturnType<typeof temporaryStateDirectory>;
beforeEach(() => {
  state = temporaryStateDirectory();
});
afterEach(() => {
  state.remove();
});

const SECRET = 'the-content-of-a-program';
const start = (settings: Record<string, string> = {}) =>
  ServiceProcess.start({
    PYEXEC_STATE_DIR: state.path,
    PYEXEC_AUTH: 'keys',
    PYEXEC_DEFAULT_IMAGE: 'pyexec/slim:latest',
    ...settings,
  });
const logText = () =>
  readdirSync(join(state.path, 'audit'))
    .filter((name) => name.endsWith('.jsonl'))
    .toSorted()
    .map((name) => readFileSync(join(state.path, 'audit', name), 'utf8'))
    .join('');
const log = () =>
  logText()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const verify = async () => (await operatorCommand(state.path, ['audit', 'verify'])).stdout;

test('who ran what, with which limits, and how it ended; never its content; over a kill -9', async () => {
  const key = await createKey(state.path, 'ci', 'run,read');
  const headers = { authorization: `Bearer ${key}`, 'x-request-id': 'request-1' };
  let executionId: string;
  {
    await using service = await start();
    const answer = await service.exec(`print("${SECRET}")`, { headers });
    executionId = ((await answer.json()) as { execution_id: string }).execution_id;
    await service.get('/api/v1/images');
    await new Promise((resolve) => setTimeout(resolve, 200));
    service.signal('SIGKILL');
    await service.ended;
  }
  {
    await using service = await start();
    expect((await service.exec('1', { headers })).status).toBe(200);
  }
  const lines = log();
  expect(lines.map(({ kind }) => kind)).toEqual([
    ...['key_created', 'started', 'accepted', 'ended', 'refused'],
    ...['started', 'accepted', 'ended', 'stopped'],
  ]);
  const [created, , accepted, ended, refused] = lines;
  expect(accepted).toMatchObject({
    execution_id: executionId,
    caller: `key:${String(created?.['key_id'])}`,
    address: '127.0.0.1',
    request_id: 'request-1',
    image: 'pyexec/slim:latest',
    network: 'none',
    limits: { memory_bytes: 1 << 30 },
  });
  expect(accepted?.['project_sha256']).toMatch(/^[0-9a-f]{64}$/);
  expect(ended).toMatchObject({ execution_id: executionId, outcome: { kind: 'exited', exit_code: 0 } });
  expect(refused).toMatchObject({ reason: 'none_given', route: '/api/v1/images', address: '127.0.0.1' });
  expect(logText()).not.toMatch(new RegExp(`${SECRET}|${key.slice(4, 40)}`));
  expect(await verify()).toMatch(/^ok: lines 1 to 9 /);
  // The chain is nothing but SHA-256 of lines: anybody can follow it.
  const [first = '', second = ''] = logText().split('\n');
  expect((JSON.parse(second) as { prev: string }).prev).toBe(createHash('sha256').update(first).digest('hex'));
});

test.each([
  ['on', 200],
  ['required', 503],
] as const)('a log that cannot be written: with PYEXEC_AUDIT=%s a run is answered %i', async (mode, status) => {
  const key = await createKey(state.path, 'ci', 'run,read');
  const headers = { authorization: `Bearer ${key}` };
  await using service = await start({ PYEXEC_AUDIT: mode });
  expect((await service.exec('1', { headers })).status).toBe(200);
  const path = join(state.path, 'audit', 'audit-000001.jsonl');
  const aside = join(state.path, 'aside.jsonl');
  renameSync(path, aside);
  mkdirSync(path);
  const answer = await service.exec('1', { headers });
  expect(answer.status).toBe(status);
  if (status === 503) expect(await answer.json()).toMatchObject({ code: 'audit_unavailable', retryable: true });
  rmdirSync(path);
  renameSync(aside, path);
  // The log can be written again: what waited is in it, what was refused is not.
  expect((await service.exec('1', { headers })).status).toBe(200);
  service.signal('SIGTERM');
  await service.ended;
  expect(await verify()).toMatch(/^ok/);
  const of = (kind: string) => log().filter((line) => line['kind'] === kind).length;
  expect([of('accepted'), of('ended')]).toEqual(mode === 'on' ? [3, 3] : [2, 2]);
});
