/**
 * Clients written against the contract: sync, async, wait, kill and eval.
 */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../support/examples-commands.ts';
import { HttpStatusError, PythonExecutorClient, WaitTimeoutError } from '../../support/python-executor-client.ts';
import { Door } from '../../support/python-executor-requests.ts';
import { pythonTarOfDict } from '../../support/python-executor-tars.ts';

let door: Door;
let client: PythonExecutorClient;
beforeAll(async () => {
  door = await Door.open();
  client = new PythonExecutorClient(door.url);
});
afterAll(() => door[Symbol.asyncDispose]());

const program = (code: string) => pythonTarOfDict({ 'main.py': code });

describe('a client of the contract', () => {
  it('runs and waits', async () => {
    const result = await client.executeSync(program('import os, sys\nprint(sys.argv[1:], os.environ["A"], input())'), {
      entrypoint: 'main.py',
      script_args: ['x'],
      env_vars: ['A=1'],
      stdin: 'in\n',
    });
    expect(result).toMatchObject({ status: 'completed', exit_code: 0, stdout: "['x'] 1 in\n" });
  });

  it('sends all five fields of its config when it has one', async () => {
    const result = await client.executeSync(program('print(1)'), {
      entrypoint: 'main.py',
      config: { timeout_seconds: 5 },
    });
    expect(result).toMatchObject({ stdout: '1\n', limits: { wall_ms: 5_000, memory_bytes: 2 ** 30, cpus: 1 } });
  });

  it('submits, polls and reads', async () => {
    const id = await client.executeAsync(program('import time\ntime.sleep(0.5)\nprint("later")'), {
      entrypoint: 'main.py',
    });
    const result = await client.waitForCompletion(id, { pollIntervalMs: 100, maxWaitMs: 20_000 });
    expect(result).toMatchObject({ execution_id: id, status: 'completed', stdout: 'later\n' });
    // Again, with the first look.
    expect(await client.waitForCompletion(id)).toEqual(result);
  });

  it('gives up waiting, and kills', async () => {
    const id = await client.executeAsync(program('import time\ntime.sleep(60)'), { entrypoint: 'main.py' });
    await expect(client.waitForCompletion(id, { pollIntervalMs: 50, maxWaitMs: 300 })).rejects.toThrow(
      WaitTimeoutError,
    );
    await client.kill(id);
    expect(await client.waitForCompletion(id)).toMatchObject({ execution_id: id, status: 'killed' });
    await client.kill(id);
  });

  it('evaluates', async () => {
    expect(await client.eval({ code: 'print("x")\n6*7' })).toMatchObject({ stdout: 'x', result: '42', exit_code: 0 });
    expect(await client.eval({ code: '42', eval_last_expr: false, stdin: '' })).not.toHaveProperty('result');
    const files = [
      { name: 'main.py', content: 'import h\nh.x' },
      { name: 'h.py', content: 'x = 1' },
    ];
    expect((await client.eval({ files, timeout_seconds: 20 })).result).toBe('1');
    expect(await client.eval({ code: '1/0' })).toMatchObject({ status: 'completed', exit_code: 1 });
  });

  it('sees refusals by their status', async () => {
    const status = (pending: Promise<unknown>) =>
      pending.then(
        () => 200,
        (error: unknown) => (error instanceof HttpStatusError ? error.status : error),
      );
    expect(await status(client.eval({ code: '' }))).toBe(400);
    expect(await status(client.eval({ code: 'x'.repeat(102_401) }))).toBe(413);
    expect(await status(client.get('exe_x'))).toBe(404);
    expect(await status(client.kill('exe_x'))).toBe(404);
    expect(await status(client.waitForCompletion('exe_x'))).toBe(404);
    expect(await status(client.executeSync(Buffer.from('no tar'), { entrypoint: 'main.py' }))).toBe(400);
  });
});

it('a client in Python, over one connection', async () => {
  const script = fileURLToPath(new URL('python_client.py', import.meta.url));
  const { status, stdout, stderr } = await run('python3', [script, door.url]);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(JSON.parse(stdout.toString())).toEqual({
    sync: "in ['a']\n",
    duration_is_sane: true,
    config: '1\n',
    async: 'later\n',
    last_state: 'completed',
    killed: 'killed',
    eval: ['x', '42', 0],
  });
});
