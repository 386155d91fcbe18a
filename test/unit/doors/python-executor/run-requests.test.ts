import { describe, expect, it } from 'vitest';
import {
  ContractError,
  EVAL_BYTES_MAX,
  evalRequestOf,
  refuseLargeCode,
  runRequestOfMetadata,
} from '../../../../src/doors/python-executor/run-requests.ts';

const MIB = 2 ** 20;

describe('metadata', () => {
  it('without anything runs the project folder with every default', () => {
    expect(runRequestOfMetadata({})).toEqual({
      requirements: '',
      run: {
        entryPoint: { kind: 'script', path: '.' },
        args: [],
        stdin: Buffer.alloc(0),
        environment: {},
        limits: {},
        wantsNetwork: false,
        onOverflow: 'truncate',
        preCommands: [],
        toleratesMissingEntryPoint: true,
      },
    });
  });

  it('takes the five fields of the default config of its Python client', () => {
    const config = { timeout_seconds: 300, network_disabled: true, memory_mb: 1024, disk_mb: 2048, cpu_shares: 1024 };
    expect(runRequestOfMetadata({ entrypoint: 'main.py', config }).run).toMatchObject({
      limits: { wall_ms: 300_000, memory_bytes: 1024 * MIB, disk_bytes: 2048 * MIB, cpus: 1 },
      wantsNetwork: false,
    });
  });

  it('takes zero for the default, and asks for the network only where it is said', () => {
    const config = { timeout_seconds: 0, memory_mb: 0, disk_mb: 0, cpu_shares: 0, network_disabled: false };
    expect(runRequestOfMetadata({ config }).run).toMatchObject({ limits: {}, wantsNetwork: true });
    expect(runRequestOfMetadata({ config: { network_disabled: null } }).run.wantsNetwork).toBe(false);
  });

  it.each(['timeout_seconds', 'memory_mb', 'disk_mb', 'cpu_shares'])('refuses a negative %s', (name) => {
    expect(() => runRequestOfMetadata({ config: { [name]: -1 } })).toThrow(`config.${name} must not be negative`);
  });

  it('splits variables at the first =', () => {
    const env_vars = ['A=1', 'B=x=y', 'C=', 'D', '__proto__=p', 'A=2'];
    const { environment } = runRequestOfMetadata({ env_vars }).run;
    expect(Object.entries(environment)).toEqual([
      ['A', '2'],
      ['B', 'x=y'],
      ['C', ''],
      ['D', ''],
      ['__proto__', 'p'],
    ]);
    expect(Object.getPrototypeOf(environment)).toBe(Object.prototype);
  });

  it('ignores what it does not know', () => {
    expect(runRequestOfMetadata({ eval_last_expr: true, nonsense: [1] }).run.wantsLastValue).toBeUndefined();
  });
});

describe('an eval', () => {
  it('runs code as main.py', () => {
    expect(evalRequestOf({ code: 'print(1)' })).toMatchObject({
      files: [{ path: 'main.py', content: 'print(1)' }],
      pythonVersion: undefined,
      requirements: '',
      run: { entryPoint: { kind: 'script', path: 'main.py' }, wantsLastValue: false },
    });
  });

  it.each<[string, object, readonly string[], string]>([
    ['files win over code', { code: 'x', files: [{ name: 'a.py', content: '' }] }, ['a.py'], 'a.py'],
    ['no files are no files', { code: 'x', files: [] }, ['main.py'], 'main.py'],
    [
      'the first file is run',
      {
        files: [
          { name: 'b.py', content: '' },
          { name: 'a.py', content: '' },
        ],
      },
      ['b.py', 'a.py'],
      'b.py',
    ],
    [
      'unless another is named',
      {
        files: [
          { name: 'b.py', content: '' },
          { name: 'a.py', content: '' },
        ],
        entrypoint: 'a.py',
      },
      ['b.py', 'a.py'],
      'a.py',
    ],
    ['code can have another entry point', { code: 'x', entrypoint: 'other.py' }, ['main.py'], 'other.py'],
  ])('%s', (_name, body, paths, path) => {
    const { files, run } = evalRequestOf(body as Record<string, unknown>);
    expect(files.map((file) => file.path)).toEqual(paths);
    expect(run.entryPoint).toEqual({ kind: 'script', path });
  });

  it.each([{}, { code: '' }, { code: null }, { files: [] }, { files: null, code: '' }])('refuses %j', (body) => {
    expect(() => evalRequestOf(body)).toThrow("either 'code' or 'files' must be provided");
  });

  it('ignores what is for the other routes', () => {
    const body = { code: 'x', docker_image: 'a', pre_commands: ['b'], env_vars: ['C=d'], script_args: ['e'] };
    const { run } = evalRequestOf(body);
    expect(run).toMatchObject({ args: [], environment: {}, preCommands: [] });
    expect(run).not.toHaveProperty('image');
  });
});

describe('the size of an eval', () => {
  const of = (...contents: string[]) => contents.map((content, index) => ({ path: String(index), content }));

  it('may be exactly the limit, of all files together, in bytes', () => {
    refuseLargeCode(of('x'.repeat(EVAL_BYTES_MAX)));
    refuseLargeCode(of('ä'.repeat(EVAL_BYTES_MAX / 4), 'x'.repeat(EVAL_BYTES_MAX / 2)));
  });

  it.each<[string, string[]]>([
    ['one file', ['x'.repeat(102_401)]],
    ['two files', ['x'.repeat(102_400), 'y']],
    ['characters of two bytes', ['ä'.repeat(51_200), 'y']],
  ])('is refused above it: %s', (_name, contents) => {
    const refuse = () => {
      refuseLargeCode(of(...contents));
    };
    expect(refuse).toThrow(ContractError);
    expect(refuse).toThrow('total code size 102401 bytes exceeds limit of 102400 bytes');
  });
});
