/** Both vocabularies, as JSON and as a query string, and every way to get them wrong. */
import { describe, expect, it } from 'vitest';
import type { RunRequest } from '../../../src/domain/plan.ts';
import { parseQueryOptions } from '../../../src/http/request-forms/query-options.ts';
import { parseRunOptions, type AskedRun } from '../../../src/http/request-forms/run-options.ts';

const MIB = 2 ** 20;
const bytes = (text: string) => Buffer.from(text);
const query = (text: string) => parseQueryOptions(new URLSearchParams(text));

/** One option: what it means, in JSON and as a query. */
const VOCABULARY: readonly (readonly [json: object, query: string, means: Partial<RunRequest>])[] = [
  [{ entrypoint: 'a/b.py' }, 'entrypoint=a/b.py', { entryPoint: { kind: 'script', path: 'a/b.py' } }],
  [{ module: 'pkg.mod' }, 'module=pkg.mod', { entryPoint: { kind: 'module', name: 'pkg.mod' } }],
  [
    { webhook: { url: 'https://a.example' } },
    'webhook_url=https://a.example',
    { webhook: { url: 'https://a.example' } },
  ],
  [{ queue_timeout_ms: 1500 }, 'queue_timeout_ms=1500', { queueTimeoutMs: 1500 }],
  [{ priority: 'high' }, 'priority=high', { priority: 'high' }],
  [{ args: ['b', 'a', '', '-x'] }, 'arg=b&arg=a&arg=&arg=-x', { args: ['b', 'a', '', '-x'] }],
  [{ script_args: ['1', '2'] }, 'script_args=1&script_args=2', { args: ['1', '2'] }],
  [{ stdin: 'ä\n' }, 'stdin=%C3%A4%0A', { stdin: bytes('ä\n') }],
  [{ stdin_base64: '/wA=' }, 'stdin_base64=%2FwA%3D', { stdin: Buffer.from([0xff, 0]) }],
  [{ env: { A: '1', B: '=x' } }, 'env=A%3D1&env=B%3D%3Dx', { environment: { A: '1', B: '=x' } }],
  [{ env_vars: ['A=1', 'B='] }, 'env_vars=A%3D1&env_vars=B%3D', { environment: { A: '1', B: '' } }],
  [{ image: 'pyexec/data' }, 'image=pyexec/data', { image: 'pyexec/data' }],
  [{ docker_image: 'pyexec/data' }, 'docker_image=pyexec/data', { image: 'pyexec/data' }],
  [{ limits: { wall_ms: 1500 } }, 'wall_ms=1500', { limits: { wall_ms: 1500 } }],
  [{ limits: { cpu_ms: 10 } }, 'cpu_ms=10', { limits: { cpu_ms: 10 } }],
  [{ limits: { memory_bytes: 7 } }, 'memory_bytes=7', { limits: { memory_bytes: 7 } }],
  [{ limits: { pids: 9 } }, 'pids=9', { limits: { pids: 9 } }],
  [{ limits: { disk_bytes: 5 } }, 'disk_bytes=5', { limits: { disk_bytes: 5 } }],
  [{ limits: { output_bytes: 4 } }, 'output_bytes=4', { limits: { output_bytes: 4 } }],
  [{ limits: { open_files: 3 } }, 'open_files=3', { limits: { open_files: 3 } }],
  [{ limits: { cpus: 1.5 } }, 'cpus=1.5', { limits: { cpus: 1.5 } }],
  [{ config: { timeout_seconds: 5 } }, 'timeout_seconds=5', { limits: { wall_ms: 5000 } }],
  [{ config: { memory_mb: 64 } }, 'memory_mb=64', { limits: { memory_bytes: 64 * MIB } }],
  [{ config: { disk_mb: 2 } }, 'disk_mb=2', { limits: { disk_bytes: 2 * MIB } }],
  [{ config: { cpu_shares: 1536 } }, 'cpu_shares=1536', { limits: { cpus: 1.5 } }],
  [{ config: { timeout_seconds: 0, memory_mb: 0, disk_mb: 0, cpu_shares: 0 } }, 'timeout_seconds=0', { limits: {} }],
  [{ config: { network_disabled: false } }, 'network_disabled=false', { wantsNetwork: true }],
  [{ config: { network_disabled: true } }, 'network_disabled=true', { wantsNetwork: false }],
  [{ network: true }, 'network=true', { wantsNetwork: true }],
  [{ on_overflow: 'kill' }, 'on_overflow=kill', { onOverflow: 'kill' }],
  [{ pre_commands: ['a', 'b'] }, 'pre_commands=a&pre_commands=b', { preCommands: ['a', 'b'] }],
  [{ requirements_txt: '-' }, 'requirements_txt=-', {}],
  [{ requirements_txt: 'a==1\nb' }, 'requirements_txt=a%3D%3D1%0Ab', { requirements: 'a==1\nb' }],
  [{ requirements: ['a==1', 'b'] }, 'requirement=a%3D%3D1&requirement=b', { requirements: 'a==1\nb' }],
];

const DEFAULTS: RunRequest = {
  args: [],
  stdin: bytes(''),
  environment: {},
  limits: {},
  onOverflow: 'truncate',
  wantsNetwork: false,
  preCommands: [],
  artifacts: { patterns: [], inlineBytes: 0 },
  wantsDisplays: true,
};

describe('the vocabulary', () => {
  it('has a default for everything', () => {
    expect(parseRunOptions({})).toEqual<AskedRun>({ run: DEFAULTS, detach: false });
    expect(query('')).toEqual<AskedRun>({ run: DEFAULTS, detach: false });
  });

  it.each(VOCABULARY)('%j is ?%s', (json, text, means) => {
    expect(parseRunOptions(json).run).toEqual({ ...DEFAULTS, ...means });
    expect(query(text).run).toEqual({ ...DEFAULTS, ...means });
  });

  it('has detach, which is about the connection', () => {
    expect(parseRunOptions({ detach: true }).detach).toBe(true);
    expect(query('detach=true').detach).toBe(true);
  });
});

describe('JSON options that are refused', () => {
  it.each([
    [{ entry_point: 'x' }, 'unknown_field', 'entry_point'],
    [{ limits: { wall: 1 } }, 'unknown_field', 'limits.wall'],
    [{ config: { timeout: 1 } }, 'unknown_field', 'config.timeout'],
    // A misspelled name goes before whatever else is wrong.
    [{ args: 'x', stdim: '' }, 'unknown_field', 'stdim'],
    [{ eval_last_value: true }, 'unknown_field', 'eval_last_value'],
    [{ args: 'x' }, 'invalid_request', 'args'],
    [{ args: ['x', 1] }, 'invalid_request', 'args.1'],
    [{ env: ['A=1'] }, 'invalid_request', 'env'],
    [{ env: { A: 1 } }, 'invalid_request', 'env.A'],
    [{ env_vars: ['A'] }, 'invalid_request', 'env_vars.0'],
    [{ env_vars: ['A=1', '=2'] }, 'invalid_request', 'env_vars.1'],
    [{ env_vars: ['A=1', 'A=1'] }, 'invalid_request', 'env_vars.1'],
    [{ limits: { wall_ms: 1.5 } }, 'invalid_request', 'limits.wall_ms'],
    [{ limits: { wall_ms: '5' } }, 'invalid_request', 'limits.wall_ms'],
    [{ limits: { wall_ms: 0 } }, 'invalid_request', 'limits.wall_ms'],
    [{ limits: { wall_ms: -1 } }, 'invalid_request', 'limits.wall_ms'],
    [{ limits: { wall_ms: 1e300 } }, 'invalid_request', 'limits.wall_ms'],
    [{ limits: { cpus: Infinity } }, 'invalid_request', 'limits.cpus'],
    [{ limits: [] }, 'invalid_request', 'limits'],
    [{ limits: null }, 'invalid_request', 'limits'],
    [{ config: { timeout_seconds: '5' } }, 'invalid_request', 'config.timeout_seconds'],
    [{ config: { network_disabled: 1 } }, 'invalid_request', 'config.network_disabled'],
    [{ on_overflow: 'explode' }, 'invalid_request', 'on_overflow'],
    [{ network: 'true' }, 'invalid_request', 'network'],
    [{ detach: 0 }, 'invalid_request', 'detach'],
    [{ stdin: '\ud800' }, 'invalid_request', 'stdin'],
    [{ stdin_base64: 'a' }, 'invalid_request', 'stdin_base64'],
    [{ stdin_base64: '_-==' }, 'invalid_request', 'stdin_base64'],
    [{ requirements: ['a\nb'] }, 'invalid_request', 'requirements.0'],
    [{ requirements: ['a', 'b \\'] }, 'invalid_request', 'requirements.1'],
    [{ requirements: 7 }, 'invalid_request', 'requirements'],
    [{ requirements: 'a', requirements_txt: 'a' }, 'invalid_request', 'requirements_txt'],
    // One thing said twice.
    [{ entrypoint: 'a.py', module: 'a' }, 'invalid_request', 'module'],
    [{ args: [], script_args: [] }, 'invalid_request', 'script_args'],
    [{ stdin: '', stdin_base64: '' }, 'invalid_request', 'stdin_base64'],
    [{ env: {}, env_vars: [] }, 'invalid_request', 'env_vars'],
    [{ image: 'a', docker_image: 'a' }, 'invalid_request', 'docker_image'],
    [{ network: false, config: { network_disabled: true } }, 'invalid_request', 'config.network_disabled'],
    [{ limits: { wall_ms: 1000 }, config: { timeout_seconds: 1 } }, 'invalid_request', 'config.timeout_seconds'],
    [{ limits: { memory_bytes: MIB }, config: { memory_mb: 1 } }, 'invalid_request', 'config.memory_mb'],
    [{ limits: { disk_bytes: MIB }, config: { disk_mb: 1 } }, 'invalid_request', 'config.disk_mb'],
    [{ limits: { cpus: 1 }, config: { cpu_shares: 1024 } }, 'invalid_request', 'config.cpu_shares'],
  ])('%j: %s, naming %s', (options, code, field) => {
    expect(() => parseRunOptions(options)).toThrow(expect.objectContaining({ code, members: { field } }));
  });

  it.each([null, [], 'text', 5])('%j is not an object', (value) => {
    expect(() => parseRunOptions(value)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });

  it('say what may stand there, where several kinds of value may', () => {
    for (const [options, sentence] of [
      [{ requirements: 7 }, 'The field "requirements" is not valid: expected string or array, received number.'],
      [{ requirements: null }, 'The field "requirements" is not valid: expected string or array, received null.'],
      [{ requirements: ['a', 7] }, 'The field "requirements.1" is not valid: expected string, received number.'],
    ] as const) {
      expect(() => parseRunOptions(options)).toThrow(expect.objectContaining({ message: sentence }));
    }
  });

  it('never repeats a value', () => {
    for (const options of [{ args: 'hunter2' }, { on_overflow: 'hunter2' }, { env_vars: ['hunter2'] }]) {
      expect(() => parseRunOptions(options)).toThrow(
        expect.not.objectContaining({ message: expect.stringContaining('hunter2') as string }),
      );
    }
  });
});

describe('query options that are refused', () => {
  it.each([
    ['args=x', 'unknown_field', 'args'],
    ['__proto__=x', 'unknown_field', '__proto__'],
    ['toString=x', 'unknown_field', 'toString'],
    ['limits.wall_ms=1', 'unknown_field', 'limits.wall_ms'],
    ['wall_ms=1.0', 'invalid_request', 'wall_ms'],
    ['wall_ms=', 'invalid_request', 'wall_ms'],
    ['wall_ms=0x10', 'invalid_request', 'wall_ms'],
    ['wall_ms=+5', 'invalid_request', 'wall_ms'],
    ['wall_ms=0', 'invalid_request', 'wall_ms'],
    ['wall_ms=1&wall_ms=1', 'invalid_request', 'wall_ms'],
    ['cpus=1e3', 'invalid_request', 'cpus'],
    ['detach=yes', 'invalid_request', 'detach'],
    ['detach=', 'invalid_request', 'detach'],
    ['env=A', 'invalid_request', 'env'],
    ['env=A%3D1&env=A%3D2', 'invalid_request', 'env'],
    ['on_overflow=x', 'invalid_request', 'on_overflow'],
    ['arg=1&script_args=1', 'invalid_request', 'script_args'],
    ['wall_ms=1000&timeout_seconds=1', 'invalid_request', 'timeout_seconds'],
    ['requirement=x&requirements_txt=x', 'invalid_request', 'requirements_txt'],
    ['requirement=a%0Ab', 'invalid_request', 'requirement.0'],
  ])('?%s: %s, naming %s', (text, code, field) => {
    expect(() => query(text)).toThrow(expect.objectContaining({ code, members: { field } }));
  });
});
