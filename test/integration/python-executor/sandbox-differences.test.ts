/**
 * What docs/COMPATIBILITY.md says of the sandbox and its limits, seen through this door.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run as command } from '../../support/examples-commands.ts';
import { Door } from '../../support/python-executor-requests.ts';

const IMAGE = `pyexec-test/door-${randomUUID()}`;
const DISALLOWED = 'python:3.12-slim';

let door: Door;
let networked: Door;
beforeAll(async () => {
  // An image with an ENTRYPOINT that would never run Python, and a label that says which Python it has.
  const { stdout } = await command('docker', ['create', 'pyexec/slim:latest', 'true']);
  const container = stdout.toString().trim();
  const changes = ['ENTRYPOINT ["/bin/false"]', 'LABEL pyexec.python=3.12.9'].flatMap((change) => ['--change', change]);
  const committed = await command('docker', ['commit', ...changes, container, `${IMAGE}:latest`]);
  await command('docker', ['rm', container]);
  expect(committed.status).toBe(0);
  door = await Door.open({ PYEXEC_ALLOWED_IMAGES: `pyexec/*,${IMAGE}` });
  networked = await Door.open({ PYEXEC_POOL_SIZE: '0', PYEXEC_NETWORK_MODE: 'bridge' });
});
afterAll(async () => {
  await door[Symbol.asyncDispose]();
  await networked[Symbol.asyncDispose]();
  await command('docker', ['rmi', `${IMAGE}:latest`]);
});

describe('difference: Network', () => {
  const code = 'import os\nprint(sorted(os.listdir("/sys/class/net")))';

  it('off unless asked for', async () => {
    expect((await door.run(code)).body['stdout']).toBe("['lo']\n");
    expect((await networked.run(code)).body['stdout']).toBe("['lo']\n");
    expect((await networked.eval({ code, config: { network_disabled: true } })).body['stdout']).toBe("['lo']\n");
  });

  it('there where the operator named one and it is asked for', async () => {
    expect((await networked.run(code, { config: { network_disabled: false } })).body['stdout']).toContain('eth0');
  });

  it('refused where it is asked for and there is none', async () => {
    const answer = await door.run(code, { config: { network_disabled: false } });
    expect(answer.status).toBe(403);
    expect(answer.body['error']).toContain('network_disabled');
  });
});

it('difference: User, root file system', async () => {
  const code =
    'import os\nprint(os.getuid() >= 10000)\ntry:\n    open("/x", "w")\nexcept OSError as e:\n    print(e.errno)';
  expect((await door.run(code)).body['stdout']).toBe('True\n30\n');
});

it('difference: `disk_mb`', async () => {
  const code = 'open("x", "wb").write(b"x" * (8 << 20))';
  expect((await door.run(code, { config: { disk_mb: 16 } })).body['exit_code']).toBe(0);
  const { body } = await door.run(code, { config: { disk_mb: 4 } });
  expect(body).toMatchObject({ exit_code: 1, hint: expect.stringContaining('config.disk_mb') as unknown });
});

it('difference: `cpu_shares`', async () => {
  const code = 'import time\nwhile time.process_time() < 0.3: pass\n';
  const { body } = await door.run(code, { config: { cpu_shares: 205 } });
  expect(body['limits']).toMatchObject({ cpus: 205 / 1024 });
  // 0.3 s of work at a fifth of a core.
  expect(body['duration_ms']).toBeGreaterThan(1_000);
});

describe('difference: Limits', () => {
  it.each<[object, number, string]>([
    [{ timeout_seconds: 901 }, 422, "config.timeout_seconds may be at most 900, the operator's maximum"],
    [{ memory_mb: 4097 }, 422, "config.memory_mb may be at most 4096, the operator's maximum"],
    [{ disk_mb: 4097 }, 422, "config.disk_mb may be at most 4096, the operator's maximum"],
    [{ memory_mb: 5 }, 400, 'config.memory_mb must be at least 32'],
    [{ timeout_seconds: -1 }, 400, 'config.timeout_seconds must not be negative'],
  ])('%j', async (config, status, error) => {
    expect(await door.run('pass', { config })).toMatchObject({ status, body: { error } });
    expect(await door.eval({ code: 'pass', config })).toMatchObject({ status, body: { error } });
  });
});

it('difference: Timeout', async () => {
  const code = 'import time\nprint("begun", flush=True)\ntime.sleep(60)';
  const { status, body } = await door.run(code, { config: { timeout_seconds: 1 } });
  expect(status).toBe(200);
  expect(body).toMatchObject({
    status: 'failed',
    error: 'execution timeout after 1s',
    exit_code: 124,
    stdout: 'begun\n',
    outcome: { kind: 'timed_out' },
  });
  expect(body['started_at']).toBeDefined();
  expect(body['finished_at']).toBeDefined();
});

it('difference: `exit_code`, `duration_ms` and `error` of what did not end by itself', async () => {
  const { body } = await door.run('import time\ntime.sleep(60)', { config: { timeout_seconds: 1 } });
  expect(body).toMatchObject({ exit_code: 124, duration_ms: expect.any(Number) as unknown });
  const { body: accepted } = await door.exec({ 'main.py': 'import time\ntime.sleep(60)' }, {}, { mode: 'async' });
  await door.until(accepted['execution_id'], (execution) => execution['status'] === 'running');
  await door.request(`/api/v1/executions/${String(accepted['execution_id'])}`, { method: 'DELETE' });
  expect((await door.fetched(accepted['execution_id'])).body).toMatchObject({
    status: 'killed',
    exit_code: 137,
    error: 'cancelled by request',
  });
});

it('difference: Out of memory', async () => {
  const { body } = await door.run('x = bytearray(300 << 20)', { config: { memory_mb: 64 } });
  expect(body).toMatchObject({ status: 'completed', exit_code: 137, outcome: { kind: 'out_of_memory' } });
  expect(body['error']).toMatch(/memory limit/);
  expect(body['hint']).toContain('config.memory_mb');
});

it('difference: Output without end', async () => {
  const { body } = await door.run('for n in range(400_000): print("line", n)');
  expect(body).toMatchObject({ status: 'completed', exit_code: 0 });
  const stdout = String(body['stdout']);
  expect(stdout.startsWith('line 0\n')).toBe(true);
  expect(stdout.endsWith('line 399999\n')).toBe(true);
  const { stdout: cut } = body['truncated'] as { stdout: { omitted_bytes: number; kept_bytes: number } };
  expect(cut.omitted_bytes).toBeGreaterThan(1_000_000);
  expect(cut.kept_bytes).toBeLessThanOrEqual(2 ** 20);
});

describe('difference: Images', () => {
  it.each(['pyexec/slim', 'pyexec/slim:latest', 'docker.io/pyexec/slim', IMAGE, `docker.io/${IMAGE}:latest`])(
    'allowed: %s',
    async (docker_image) => {
      expect(await door.run('print(1)', { docker_image })).toMatchObject({ status: 200, body: { stdout: '1\n' } });
    },
  );

  it.each<[string, number]>([
    [DISALLOWED, 403],
    ['-v /:/x', 403],
    ['pyexec/not-on-this-machine', 503],
  ])('refused: %s', async (docker_image, status) => {
    const answer = await door.run('print(1)', { docker_image });
    expect(answer.status).toBe(status);
    expect(Object.keys(answer.body)).toEqual(['error']);
  });

  it('an allowed one says its version', async () => {
    expect(await door.eval({ code: 'pass', python_version: '3.12' })).toMatchObject({
      status: 200,
      body: { image: `${IMAGE}:latest` },
    });
  });
});

it("difference: The image's own `ENTRYPOINT`", async () => {
  expect((await door.run('print("ran")', { docker_image: IMAGE })).body['stdout']).toBe('ran\n');
});
