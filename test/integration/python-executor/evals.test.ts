/**
 * /eval: what counts as a body, last expressions, errors, versions, imports.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Door } from '../../support/python-executor-requests.ts';

let door: Door;
beforeAll(async () => {
  door = await Door.open({
    PYEXEC_PYTHON_IMAGES: '3.12=pyexec/slim,3.14=pyexec/not-on-this-machine',
    // Other versions of Python this machine may have images of are not the tests'.
    PYEXEC_ALLOWED_IMAGES: 'pyexec/slim:latest,pyexec/data:latest',
  });
});
afterAll(() => door[Symbol.asyncDispose]());

const PATH = '/api/v1/eval';
const ABSENT = undefined;

describe('the body', () => {
  const OK = '{"code":"print(1)"}';

  it.each<[string, string | undefined, string]>([
    ['as JSON', 'application/json', OK],
    ['as a form, as curl -d says', 'application/x-www-form-urlencoded', OK],
    ['as text', 'text/plain', OK],
    ['as a multipart it is not', 'multipart/form-data; boundary=x', OK],
    ['as nothing', undefined, OK],
    ['as what is no type', ';;;', OK],
    ['with more behind it', 'application/json', `${OK}\n{"code":"2"} and more`],
    ['with blanks around it', 'application/json', `\n ${OK} \n`],
    [
      'with fields nobody knows',
      'application/json',
      '{"code":"print(1)","docker_image":"x","pre_commands":["exit 3"],"y":{}}',
    ],
    ['with keys in another case', 'application/json', '{"Code":"print(1)"}'],
    ['with the opt-out of packages', 'application/json', '{"code":"print(1)","requirements_txt":"-"}'],
    [
      'with all five fields of a config',
      'application/json',
      JSON.stringify({
        code: 'print(1)',
        config: { timeout_seconds: 9, network_disabled: true, memory_mb: 128, disk_mb: 16, cpu_shares: 512 },
      }),
    ],
  ])('%s', async (_name, contentType, text) => {
    const answer = await door.request(PATH, {
      method: 'POST',
      headers: contentType === undefined ? {} : { 'content-type': contentType },
      body: Buffer.from(text),
    });
    expect(answer).toMatchObject({ status: 200, body: { stdout: '1\n', exit_code: 0 } });
  });

  it('its config is applied', async () => {
    const config = { timeout_seconds: 9, memory_mb: 128, disk_mb: 16, cpu_shares: 512 };
    const { body } = await door.eval({ code: 'pass', config });
    expect(body['limits']).toMatchObject({
      wall_ms: 9000,
      memory_bytes: 128 * 2 ** 20,
      disk_bytes: 16 * 2 ** 20,
      cpus: 0.5,
    });
  });

  it('may hold exactly as much code as is allowed', async () => {
    const code = `print(1)#${'x'.repeat(102_400 - 9)}`;
    expect(Buffer.byteLength(code)).toBe(102_400);
    expect((await door.eval({ code })).body['stdout']).toBe('1\n');
  });

  it('difference: The size of an `/eval` with `eval_last_expr`', async () => {
    const code = `1+1#${'x'.repeat(102_400 - 4)}`;
    expect((await door.eval({ code, eval_last_expr: true })).body['result']).toBe('2');
  });

  it.each<[string, object, object]>([
    ['files over code', { code: 'print(1)', files: [{ name: 'a.py', content: 'print(2)' }] }, { stdout: '2\n' }],
    ['code where there are no files', { code: 'print(1)', files: [] }, { stdout: '1\n' }],
    [
      'modules beside it',
      {
        files: [
          { name: 'main.py', content: 'from helper import x\nprint(x)' },
          { name: 'helper.py', content: 'x = 3' },
        ],
      },
      { stdout: '3\n' },
    ],
    [
      'folders',
      {
        files: [
          { name: 'a/b.py', content: 'x = 4' },
          { name: 'main.py', content: 'import a.b\nprint(a.b.x)' },
        ],
        entrypoint: 'main.py',
      },
      { stdout: '4\n' },
    ],
    ['a name with ./', { files: [{ name: './main.py', content: 'print(5)' }] }, { stdout: '5\n' }],
    ['an empty file', { files: [{ name: 'main.py', content: '' }] }, { exit_code: 0 }],
    ['stdin', { code: 'print(input())', stdin: 'x\n' }, { stdout: 'x\n' }],
    ['no stdin', { code: 'import sys\nprint(repr(sys.stdin.read()))' }, { stdout: "''\n" }],
    ['an entry point that is not there', { code: 'print(1)', entrypoint: 'no.py' }, { exit_code: 2 }],
  ])('with %s', async (_name, body, expected) => {
    expect(await door.eval(body)).toMatchObject({ status: 200, body: { status: 'completed', ...expected } });
  });

  it.each(['../x.py', '/x.py', '', 'a\u0000b'])('a file cannot be called %j', async (name) => {
    const answer = await door.eval({ files: [{ name, content: '' }] });
    expect(answer.status).toBe(400);
    expect(Object.keys(answer.body)).toEqual(['error']);
  });
});

describe('the last expression', () => {
  const FAILING_REPR = 'class A:\n    def __repr__(self):\n        raise ValueError("no")\nA()';

  it.each<[string, string, object]>([
    ['a value', '6*7', { result: '42', stdout: ABSENT }],
    ['a text', '"a\\nb"', { result: String.raw`'a\nb'` }],
    ['None', 'None', { result: ABSENT, stdout: ABSENT }],
    ['a call that prints', 'print("x")', { result: ABSENT, stdout: 'x\n' }],
    ['an assignment', 'x = 1', { result: ABSENT }],
    ['a statement', 'for x in [1]:\n    x', { result: ABSENT }],
    ['an expression before a statement', '1\nx = 2', { result: ABSENT }],
    ['nothing but a comment', '# 1', { result: ABSENT }],
    ['output before it', 'print("hello")\n42', { result: '42', stdout: 'hello' }],
    ['output without a newline before it', 'print("hello", end="")\n42', { result: '42', stdout: 'hello' }],
    ['two newlines before it', 'print("hello\\n")\n42', { result: '42', stdout: 'hello\n' }],
    ['output without a result', 'print("hello")\nx = 1', { stdout: 'hello\n', result: ABSENT }],
    ['several lines', '[\n  1,\n  2,\n]', { result: '[1, 2]' }],
    ['behind a semicolon', 'x = 5; x', { result: '5' }],
    ['with a comment behind it', '5  # five', { result: '5' }],
    ['an exit', 'import sys\nsys.exit(3)', { exit_code: 3, result: ABSENT }],
    ['an exit before it', 'import sys\nsys.exit(0)\n42', { exit_code: 0, result: ABSENT }],
    [
      'an exception before it',
      '1/0\n42',
      { exit_code: 1, result: ABSENT, error_type: 'ZeroDivisionError', error_line: 1 },
    ],
    ['an exception in it', 'x = 0\n1/x', { exit_code: 1, error_type: 'ZeroDivisionError', error_line: 2 }],
    ['its name', '__name__', { result: "'__main__'" }],
    ['an instance', 'class A: pass\nA()', { result: expect.stringMatching(/^<__main__\.A object at 0x/) as unknown }],
    ['an own repr', 'class A:\n    def __repr__(self): return "me"\nA()', { result: 'me' }],
    ['an empty repr', 'class A:\n    def __repr__(self): return ""\nA()', { result: '' }],
    ['a repr that fails', FAILING_REPR, { exit_code: 1, result: ABSENT, error_type: 'ValueError', error_line: 4 }],
    ['text that is not ASCII', '"ä😀"', { result: "'ä😀'" }],
    ['half a character', '"\\ud800"', { result: String.raw`'\ud800'` }],
    ['a syntax error', 'x = 1\ndef f(:\n    pass', { exit_code: 1, error_type: 'SyntaxError', error_line: 2 }],
    ['an annotation to come', 'from __future__ import annotations\n1', { result: '1' }],
    ['a walrus', '(y := 5)', { result: '5' }],
    ['an await of its own', 'import asyncio\nasync def f(): return 3\nasyncio.run(f())', { result: '3' }],
  ])('%s', async (_name, code, expected) => {
    const { body } = await door.eval({ code, eval_last_expr: true });
    for (const [name, value] of Object.entries(expected)) expect([name, body[name]]).toEqual([name, value]);
  });

  it('of any entry point, and of the file that is run', async () => {
    const files = [
      { name: 'helper.py', content: 'x = 1\n99' },
      { name: 'sub/main.py', content: 'import sys\nsys.path[0]' },
    ];
    expect((await door.eval({ files, entrypoint: 'sub/main.py', eval_last_expr: true })).body['result']).toBe(
      "'/work/sub'",
    );
  });

  it('only where it is asked for', async () => {
    expect((await door.eval({ code: 'print(1)\n42' })).body).toMatchObject({ stdout: '1\n' });
    expect((await door.eval({ code: '42' })).body).not.toHaveProperty('result');
  });

  it('is the same when it is fetched', async () => {
    const { body } = await door.eval({ code: 'import numpy_is_not_here as n', eval_last_expr: true });
    expect(body['detected_packages']).toEqual(['numpy_is_not_here']);
    expect((await door.fetched(body['execution_id'])).body).toEqual(body);
  });

  it('difference: `eval_last_expr`: the value', async () => {
    const forged = await door.eval({ code: 'print("___PYEXEC_RESULT___\\"forged\\"")\nx = 1', eval_last_expr: true });
    expect(forged.body).not.toHaveProperty('result');
    expect(forged.body['stdout']).toBe('___PYEXEC_RESULT___"forged"\n');
    const both = await door.eval({ code: 'print("___PYEXEC_RESULT___\\"forged\\"")\n42', eval_last_expr: true });
    expect(both.body).toMatchObject({ result: '42', stdout: '___PYEXEC_RESULT___"forged"' });
    const named = 'json = ast = sys = last_expr = code = tree = result = 7\n_pyexec_eval = 1\njson';
    expect((await door.eval({ code: named, eval_last_expr: true })).body['result']).toBe('7');
    const names = 'sorted(name for name in globals() if not name.startswith("__"))';
    expect((await door.eval({ code: names, eval_last_expr: true })).body['result']).toBe('[]');
    const mine = { name: '_pyexec_eval.py', content: 'x = 8' };
    const files = [{ name: 'main.py', content: 'import _pyexec_eval\n_pyexec_eval.x' }, mine];
    expect((await door.eval({ files, eval_last_expr: true })).body['result']).toBe('8');
  });

  it('difference: A very long `result`', async () => {
    const { body } = await door.eval({ code: '"x" * 3_000_000', eval_last_expr: true });
    expect(body).toMatchObject({ status: 'completed', exit_code: 0 });
    expect(body['result']).toMatch(/^'x{1000000}/);
    expect(String(body['result']).length).toBeLessThanOrEqual(2 ** 20);
  });

  it('difference: `eval_last_expr` of a file not called `.py`', async () => {
    const { body } = await door.eval({ files: [{ name: 'script', content: 'print(1)\n2' }], eval_last_expr: true });
    expect(body).toMatchObject({ exit_code: 0, stdout: '1\n' });
    expect(body).not.toHaveProperty('result');
  });
});

describe('difference: `eval_last_expr`: `error_line`', () => {
  const CASES: [string, string, object][] = [
    ['a plain exception', 'x = 1\nraise ValueError("bad")', { error_type: 'ValueError', error_line: 2 }],
    ['without a message', 'raise ValueError', { error_type: 'ValueError', error_line: 1 }],
    ['an assertion', '\n\nassert False', { error_type: 'AssertionError', error_line: 3 }],
    ['not called an error', 'next(iter([]))', { error_type: 'StopIteration', error_line: 1 }],
    ['of its own', 'class E(Exception): pass\nraise E("x")', { error_type: 'E', error_line: 2 }],
    ['of a module', 'import json\njson.loads("{")', { error_type: 'JSONDecodeError', error_line: 2 }],
    [
      'in a function: the outermost line',
      'def f():\n    1/0\n\nf()',
      { error_type: 'ZeroDivisionError', error_line: 4 },
    ],
    [
      'while another is handled',
      'try:\n    1/0\nexcept ZeroDivisionError:\n    raise KeyError("x")',
      { error_type: 'KeyError', error_line: 4 },
    ],
    [
      'with a cause',
      'try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise KeyError("x") from e',
      { error_type: 'KeyError', error_line: 4 },
    ],
    ['with several lines', 'raise ValueError("a\\nTypeError: b")', { error_type: 'ValueError', error_line: 1 }],
    ['a syntax error', 'x = 1\nif x\n    pass', { error_type: 'SyntaxError', error_line: 2 }],
    ['an indentation error', 'x = 1\n    y = 2', { error_type: 'IndentationError', error_line: 2 }],
    ['a name', 'x\n', { error_type: 'NameError', error_line: 1 }],
    ['a module that is not there', '\nimport nope_nope', { error_type: 'ModuleNotFoundError', error_line: 2 }],
    [
      'in another file: the line of the program',
      'import helper\n\nhelper.f()',
      { error_type: 'OSError', error_line: 3 },
    ],
    [
      'an exit is none',
      'import sys\nsys.exit("ValueError: no")',
      { exit_code: 1, error_type: ABSENT, error_line: ABSENT },
    ],
    [
      'text on stderr is none',
      'import sys\nprint("ValueError: no", file=sys.stderr)\nsys.exit(4)',
      { exit_code: 4, error_type: ABSENT },
    ],
  ];

  it.each(CASES.flatMap(([name, ...rest]) => [false, true].map((wish) => [name, wish, ...rest] as const)))(
    '%s (eval_last_expr %s)',
    async (_name, eval_last_expr, code, expected) => {
      const files = [
        { name: 'main.py', content: code },
        { name: 'helper.py', content: 'def f():\n    raise OSError("x")' },
      ];
      const { body } = await door.eval({ files, eval_last_expr });
      for (const [name, value] of Object.entries(expected)) expect([name, body[name]]).toEqual([name, value]);
    },
  );

  it('of a folder that is run', async () => {
    const files = [{ name: 'app/__main__.py', content: '\n1/0' }];
    expect((await door.eval({ files, entrypoint: 'app' })).body).toMatchObject({
      error_type: 'ZeroDivisionError',
      error_line: 2,
    });
  });
});

describe('difference: `python_version`', () => {
  it.each<[string, string]>([
    ['3.12', 'pyexec/slim'],
    ['3.13', 'pyexec/slim:latest'],
  ])('%s is the image %s', async (python_version, image) => {
    expect(await door.eval({ code: 'pass', python_version })).toMatchObject({ status: 200, body: { image } });
  });

  it('one whose image is not there is refused with those that are', async () => {
    for (const version of ['3.14', '3.9', '2.7', 'x']) {
      const { status, body } = await door.eval({ code: 'pass', python_version: version });
      expect(status).toBe(400);
      expect(body['error']).toBe(`unsupported python_version "${version}"; supported versions: 3.12, 3.13`);
    }
  });

  it('an empty one is the default', async () => {
    expect((await door.eval({ code: 'pass', python_version: '' })).body['image']).toBe('pyexec/slim:latest');
  });
});

describe('failures a model can act on', () => {
  it.each<[string, object, object]>([
    [
      'a package that is not there',
      { code: 'import cv2' },
      { hint: expect.stringContaining('opencv-python') as unknown, detected_packages: ['opencv-python'] },
    ],
    [
      'too slow',
      { code: 'while True: pass', config: { timeout_seconds: 1 } },
      { error: 'execution timeout after 1s', hint: expect.stringContaining('config.timeout_seconds') as unknown },
    ],
    [
      'too big',
      { code: 'x = bytearray(10**9)', config: { memory_mb: 64 } },
      { exit_code: expect.any(Number) as unknown },
    ],
    [
      'stdin that is not there',
      { code: 'input()' },
      { error_type: 'EOFError', hint: expect.stringContaining('stdin') as unknown },
    ],
  ])('%s', async (_name, body, expected) => {
    expect((await door.eval(body)).body).toMatchObject(expected);
  });
});
