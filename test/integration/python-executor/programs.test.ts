/**
 * /exec/sync and /exec/async: what reaches the program and what comes back.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formOf, metadataPart, tarPart, type Part } from '../../support/python-executor-client.ts';
import { Door } from '../../support/python-executor-requests.ts';
import { plainTar } from '../../support/python-executor-tars.ts';

let door: Door;
beforeAll(async () => {
  door = await Door.open();
});
afterAll(() => door[Symbol.asyncDispose]());

/** What a program prints as JSON. */
async function printed(pending: ReturnType<Door['run']>): Promise<unknown> {
  const answer = await pending;
  expect(answer).toMatchObject({ status: 200, body: { status: 'completed', exit_code: 0 } });
  return JSON.parse(String(answer.body['stdout']));
}

describe('the answer', () => {
  it('has the fields of the contract and leaves out what is empty', async () => {
    const { status, headers, body } = await door.run('pass');
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(body['execution_id']).toMatch(/^exe_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(body).toMatchObject({ status: 'completed', exit_code: 0, outcome: { kind: 'exited' } });
    for (const name of ['stdout', 'stderr', 'error', 'error_type', 'error_line', 'result', 'hint']) {
      expect(body).not.toHaveProperty(name);
    }
    for (const value of Object.values(body)) expect(value).not.toBeNull();
    for (const name of ['exit_code', 'duration_ms']) expect(Number.isInteger(body[name] ?? 0)).toBe(true);
  });

  it('is the same when it is fetched by its id, however it was asked for', async () => {
    for (const code of ['pass', 'print("out")\nimport sys\nsys.exit("err")']) {
      const { body } = await door.run(code);
      expect((await door.fetched(body['execution_id'])).body).toEqual(body);
      const accepted = await door.exec({ 'main.py': code }, {}, { mode: 'async' });
      expect(accepted.status).toBe(202);
      expect(Object.keys(accepted.body)).toEqual(['execution_id']);
      const { body: later } = await door.until(
        accepted.body['execution_id'],
        ({ finished_at }) => finished_at !== undefined,
      );
      const shape = (fields: object) =>
        Object.keys(fields)
          .filter((name) => name !== 'duration_ms')
          .sort();
      expect(shape(later)).toEqual(shape(body));
    }
  });

  it.each<[string, string, object]>([
    ['an exit status', 'import sys\nsys.exit(3)', { status: 'completed', exit_code: 3 }],
    [
      'an exception',
      '1/0',
      { status: 'completed', exit_code: 1, stderr: expect.stringContaining('ZeroDivisionError') as unknown },
    ],
    [
      'both streams',
      'import sys\nprint("o")\nprint("e",file=sys.stderr)',
      { stdout: 'o\n', stderr: 'e\n', exit_code: 0 },
    ],
    ['a signal', 'import os\nos.kill(os.getpid(), 9)', { status: 'completed', exit_code: 137 }],
    ['a crash', 'import os\nos.kill(os.getpid(), 11)', { status: 'completed', exit_code: 139 }],
    ['an interrupt', 'raise KeyboardInterrupt', { status: 'completed', exit_code: 130 }],
    ['bytes that are not text', 'import sys\nsys.stdout.buffer.write(b"a\\xffb")', { stdout: 'a\uFFFDb' }],
    ['text that is not ASCII', 'print("ä<&>😀")', { stdout: 'ä<&>😀\n' }],
  ])('of %s', async (_name, code, expected) => {
    expect(await door.run(code)).toMatchObject({ status: 200, body: expected });
  });

  it('difference: `error_type`, `error_line`', async () => {
    const own = 'class Odd_1(Exception): pass\n\nraise Odd_1';
    expect((await door.run(own)).body).toMatchObject({ error_type: 'Odd_1', error_line: 3 });
    // Also from an interpreter that was started by a shell.
    expect((await door.run(own, { pre_commands: ['true'] })).body).toMatchObject({
      error_type: 'Odd_1',
      error_line: 3,
    });
  });

  it('difference: Timestamps', async () => {
    const { body } = await door.run('pass');
    for (const name of ['started_at', 'finished_at']) {
      expect(body[name]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    }
  });
});

describe('the form', () => {
  const tar = plainTar({ 'main.py': 'import sys\nprint(sys.argv[1:])' });
  const metadata = { entrypoint: 'main.py', script_args: ['x'] };
  const send = (query: string, ...parts: Part[]) => {
    const { contentType, body } = formOf(...parts);
    return door.request(`/api/v1/exec/sync${query}`, {
      method: 'POST',
      headers: { 'content-type': contentType },
      body,
    });
  };

  it.each<[string, string, Part[]]>([
    ['metadata with a content type', '', [tarPart(tar), metadataPart(metadata)]],
    ['metadata without one', '', [tarPart(tar), metadataPart(metadata, undefined)].map(({ type: _, ...part }) => part)],
    ['metadata of another type', '', [tarPart(tar), metadataPart(metadata, 'text/html')]],
    ['metadata first', '', [metadataPart(metadata), tarPart(tar)]],
    ['a tar of no type', '', [{ name: 'tar', filename: 'x', content: tar }, metadataPart(metadata)]],
    [
      'other parts',
      '',
      [{ name: 'a', content: 'b' }, tarPart(tar), { name: 'c', content: 'd', filename: 'e' }, metadataPart(metadata)],
    ],
    ['fields nobody knows', '', [tarPart(tar), metadataPart({ ...metadata, nonsense: { a: [1] } })]],
    ['keys in another case', '', [tarPart(tar), metadataPart('{"EntryPoint":"main.py","SCRIPT_ARGS":["x"]}')]],
    [
      'null for what is not given',
      '',
      [tarPart(tar), metadataPart({ ...metadata, stdin: null, config: null, env_vars: null })],
    ],
    [
      'the last of two keys',
      '',
      [tarPart(tar), metadataPart('{"entrypoint":"no.py","entrypoint":"main.py","script_args":["x"]}')],
    ],
    ['metadata in the query', `?metadata=${encodeURIComponent(JSON.stringify(metadata))}`, [tarPart(tar)]],
    [
      'metadata in the query, which wins',
      `?metadata=${encodeURIComponent(JSON.stringify(metadata))}`,
      [tarPart(tar), metadataPart({ entrypoint: 'no.py' })],
    ],
    [
      'the first of two tars',
      '',
      [tarPart(tar), tarPart(plainTar({ 'main.py': 'print("second")' })), metadataPart(metadata)],
    ],
  ])('%s', async (_name, query, parts) => {
    expect((await send(query, ...parts)).body['stdout']).toBe("['x']\n");
  });
});

describe('the entry point', () => {
  it.each<[string, string, Record<string, string>, object]>([
    ['./ before it', './main.py', { 'main.py': 'print(1)' }, { stdout: '1\n', exit_code: 0 }],
    [
      'a folder before it',
      'a/b/c.py',
      { 'a/b/c.py': 'import d', 'a/b/d.py': 'print(2)' },
      { stdout: '2\n', exit_code: 0 },
    ],
    ['steps in it', 'a/.//b.py', { 'a/b.py': 'print(3)' }, { stdout: '3\n', exit_code: 0 }],
    ['nothing, with a __main__.py', '', { '__main__.py': 'print(4)' }, { stdout: '4\n', exit_code: 0 }],
    [
      'nothing, without one',
      '',
      { 'main.py': 'print(4)' },
      { exit_code: 1, stderr: expect.stringContaining("'__main__'") as unknown },
    ],
    ['a folder with a __main__.py', 'app', { 'app/__main__.py': 'print(5)' }, { stdout: '5\n', exit_code: 0 }],
    [
      'not there',
      'no.py',
      { 'main.py': '' },
      { exit_code: 2, stderr: expect.stringContaining("can't open file '/work/no.py'") as unknown },
    ],
    ['not called .py', 'script', { script: 'print(6)' }, { stdout: '6\n', exit_code: 0 }],
    ['blanks in it', 'a b.py', { 'a b.py': 'print(7)' }, { stdout: '7\n', exit_code: 0 }],
  ])('%s', async (_name, entrypoint, files, expected) => {
    expect(await door.exec(files, { entrypoint })).toMatchObject({
      status: 200,
      body: { status: 'completed', ...expected },
    });
  });

  it('difference: Entry point outside the project', async () => {
    for (const entrypoint of ['../etc/x.py', '/etc/x.py']) {
      expect((await door.exec({ 'main.py': '' }, { entrypoint })).status).toBe(422);
    }
  });

  it('difference: `sys.argv[0]`', async () => {
    const code = 'import json, sys\nprint(json.dumps([sys.argv[0], __file__, sys.path[0], __name__]))';
    expect(await printed(door.run(code))).toEqual(['main.py', '/work/main.py', '/work', '__main__']);
  });
});

describe('arguments, variables and stdin', () => {
  it('arguments arrive as they are, also through a shell', async () => {
    const script_args = ['a b', '', "it's", '"', '$HOME', '`id`', '\\n', 'a\nb', 'ä😀', '*', '--flag', '-c', ';'];
    const code = 'import json, sys\nprint(json.dumps(sys.argv[1:]))';
    expect(await printed(door.run(code, { script_args }))).toEqual(script_args);
    expect(await printed(door.run(code, { script_args, pre_commands: ['set -- lost'] }))).toEqual(script_args);
  });

  it('variables arrive, also at commands before the program', async () => {
    const env_vars = ['A=1', 'B=x=y', 'C=', 'D=a b\n"c"', 'PYTHONHASHSEED=0', 'A=2'];
    const code = 'import json, os\nprint(json.dumps([os.environ[name] for name in "ABCD"] + [os.environ.get("E")]))';
    expect(await printed(door.run(code, { env_vars, pre_commands: ['export E=$A$B'] }))).toEqual([
      '2',
      'x=y',
      '',
      'a b\n"c"',
      '2x=y',
    ]);
  });

  it('difference: `env_vars` entry without `=`', async () => {
    expect((await door.run('import os\nprint(repr(os.environ["LANG"]))', { env_vars: ['LANG'] })).body['stdout']).toBe(
      "''\n",
    );
  });

  it('difference: Names in `env_vars`', async () => {
    for (const variable of ['LD_PRELOAD=/x.so', 'a-b=1', '=1', '1A=1']) {
      expect((await door.run('pass', { env_vars: [variable] })).status).toBe(422);
    }
  });

  it.each<[string, string | null | undefined]>([
    ['a text', 'line 1\nä😀\n'],
    ['an empty text', ''],
    ['null', null],
    ['nothing', undefined],
    ['a long text', 'x'.repeat(300_000)],
  ])('stdin is %s', async (_name, stdin) => {
    const code = 'import hashlib, sys\ntext = sys.stdin.read()\nprint(len(text), repr(text[:20]))';
    const length = [...(stdin ?? '')].length;
    const { body } = await door.run(code, { ...(stdin === undefined ? {} : { stdin }) });
    expect(body['stdout']).toMatch(new RegExp(`^${String(length)} '`));
  });
});

describe('pre_commands', () => {
  const run = (pre_commands: string[], code = 'print("ran")', more: object = {}) =>
    door.run(code, { pre_commands, ...more });

  it.each<[string, string[], object]>([
    [
      'run in order, their output with the rest',
      ['echo a', 'echo b >&2', 'echo c'],
      { stdout: 'a\nc\nran\n', stderr: 'b\n', exit_code: 0 },
    ],
    ['end everything at the first that fails', ['echo a', 'sh -c "exit 7"', 'echo b'], { stdout: 'a\n', exit_code: 7 }],
    ['end as a success with exit 0', ['echo a', 'exit 0', 'echo b'], { stdout: 'a\n', exit_code: 0 }],
    ['end with the status of exit', ['exit 9'], { exit_code: 9 }],
    [
      'not found',
      ['no-such-command'],
      { exit_code: 127, stderr: expect.stringContaining('no-such-command') as unknown },
    ],
    [
      'can hold pipes and several lines',
      ['echo a | tr a b', 'if true; then\necho c\nfi', 'cat <<E\nd\nE'],
      { stdout: 'b\nc\nd\nran\n', exit_code: 0 },
    ],
    ['with an or', ['false || echo a'], { stdout: 'a\nran\n', exit_code: 0 }],
    ['that do nothing', ['', '# nothing'], { stdout: 'ran\n', exit_code: 0 }],
  ])('%s', async (_name, commands, expected) => {
    expect(await run(commands)).toMatchObject({ status: 200, body: { status: 'completed', ...expected } });
  });

  it('difference: `pre_commands` with a comment', async () => {
    expect((await run(['echo a # b', 'echo c'])).body['stdout']).toBe('a\nc\nran\n');
  });

  it('the folder, variables and the search path stay', async () => {
    const commands = ['mkdir d && cd d', 'export X=1', 'Y=2', 'PATH=/mine:$PATH'];
    const code = 'import os\nprint(os.getcwd(), os.environ["X"], os.environ.get("Y"), os.environ["PATH"][:6])';
    expect((await run(commands, code)).body['stdout']).toBe('/work/d 1 None /mine:\n');
  });

  it('share the stdin', async () => {
    const { body } = await run(['read line; echo got $line'], 'print(input())', { stdin: 'one\ntwo\n' });
    expect(body['stdout']).toBe('got one\ntwo\n');
  });

  it('share the deadline', async () => {
    const { body } = await run(['echo a; sleep 1.2'], 'import time\ntime.sleep(1.2)', {
      config: { timeout_seconds: 2 },
    });
    expect(body).toMatchObject({ status: 'failed', error: 'execution timeout after 2s', stdout: 'a\n' });
  });

  it('can make the program', async () => {
    const { body } = await run(['echo "print(8)" > made.py'], '', { entrypoint: 'made.py' });
    expect(body['stdout']).toBe('8\n');
  });
});
