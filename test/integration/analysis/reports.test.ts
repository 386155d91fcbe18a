/**
 * Reports about submitted code: what a real bandit finds in real containers, in every
 * kind of source, and what becomes of sources made to break it. Each ends in a report
 * that says how far it came, and none changes what the run does.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ANONYMOUS } from '../../../src/domain/caller.ts';
import { amongOthers, HARD_SOURCES, oneSkipped } from '../../support/hard-sources.ts';
import { projectOf, runRequest, startEngine, type TestEngine } from '../../support/engine.ts';

let engine: TestEngine;
beforeAll(async () => {
  engine = await startEngine({ PYEXEC_ANALYSIS_TIMEOUT: '60' });
});
afterAll(() => engine[Symbol.asyncDispose]());

const SHELL = 'import subprocess\nsubprocess.call("/bin/echo ran", shell=True)\n';
const analyzed = (files: Parameters<TestEngine['run']>[0], request: Parameters<TestEngine['run']>[1] = {}) =>
  engine.run(files, { ...request, wantsAnalysis: true });

describe('a report', () => {
  it('has each finding with its check, its severity and its place, beside what the run did', async () => {
    const execution = await analyzed({ 'main.py': SHELL, 'lib/keys.py': 'password = "hunter2"\n' });
    expect(execution).toMatchObject({ stdout: 'ran\n', exit_code: 0 });
    expect(execution.analysis).toEqual({
      status: 'complete',
      tool: expect.stringMatching(/^bandit \d+\.\d+/) as string,
      files_analyzed: 2,
      counts: { low: 3, medium: 0, high: 0 },
      findings: expect.arrayContaining([
        {
          id: 'B602',
          name: 'subprocess_popen_with_shell_equals_true',
          severity: 'low',
          confidence: 'high',
          file: 'main.py',
          line: 2,
          message: expect.stringContaining('shell=True') as string,
          cwe: 78,
        },
        expect.objectContaining({ id: 'B105', file: 'lib/keys.py', line: 1, cwe: 259 }),
      ]) as object[],
    });
  });

  it('is made of nothing, without a finding, and is not made unless it is asked for', async () => {
    expect((await analyzed('print(1)')).analysis).toMatchObject({
      status: 'complete',
      counts: { low: 0, medium: 0, high: 0 },
      findings: [],
    });
    expect(await engine.run(SHELL)).not.toHaveProperty('analysis');
  });

  it('is not changed by what the code says about it: comments, configuration, names', async () => {
    const hidden = 'import subprocess  # nosec\nsubprocess.call(input(), shell=True)  # nosec B602\n';
    const { analysis } = await analyzed({
      'main.py': '# nosec\n',
      'tests/a.py': hidden,
      '.hidden/b.py': hidden,
      'strange \u{1f40d} name.py': hidden,
      '.bandit': '[bandit]\nexclude: /\nskips: B602,B404\n',
      'bandit.yaml': 'skips: [B602]\n',
      'pyproject.toml': '[tool.bandit]\nskips = ["B602"]\nexclude_dirs = ["tests"]\n',
      'setup.cfg': '[bandit]\nskips: B602\n',
    });
    const places = analysis?.findings?.filter(({ id }) => id === 'B602').map(({ file }) => file);
    expect(places?.sort()).toEqual(['.hidden/b.py', 'strange \u{1f40d} name.py', 'tests/a.py']);
  });

  it('covers the entry point whatever its name, and the files of each input', async () => {
    const script = await analyzed({ run: SHELL, 'data.txt': SHELL }, { entryPoint: { kind: 'script', path: 'run' } });
    expect(script.analysis?.findings?.map(({ file, id }) => [id, file])).toEqual([
      ['B404', 'run'],
      ['B602', 'run'],
    ]);
    const file = { path: 'helper.py', content: Buffer.from(SHELL) };
    const inputs = [
      { args: [], stdin: new Uint8Array() },
      { args: [], stdin: new Uint8Array(), files: [file] },
    ];
    const many = await analyzed('print(1)', { inputs: { list: inputs, stopOnFailure: false } });
    expect(many.analysis).toMatchObject({ status: 'complete', files_analyzed: 2 });
    expect(many.analysis?.findings).toContainEqual(
      expect.objectContaining({ id: 'B602', file: 'helper.py', input: 1 }),
    );
  });

  it('counts all findings and lists the worst hundred', async () => {
    const { analysis } = await analyzed({
      'main.py': '',
      'many.py': 'eval(x)\n'.repeat(300) + 'import hashlib\nhashlib.md5(b"")\n',
    });
    expect(analysis).toMatchObject({ status: 'complete', counts: { medium: 300, high: 1 }, truncated: true });
    expect(analysis?.findings).toHaveLength(100);
    expect(analysis?.findings?.[0]).toMatchObject({ severity: 'high', id: 'B324' });
  });
});

describe('sources that are not ordinary', () => {
  it.each<[string, string | Uint8Array]>([
    ['is Latin-1 and says so', Buffer.from('# coding: latin-1\nx = "\xe9"\neval(x)\n', 'latin1')],
    ['begins with a byte order mark', '\ufeffeval(x)\n'],
    ['has Windows line ends', 'x = 1\r\neval(x)\r\n'],
    ['is UTF-7 and says so', '# coding: utf-7\neval(x)\n'],
  ])('one that %s is read', async (_name, content) => {
    const { analysis } = await analyzed({ 'main.py': '', 'odd.py': content });
    expect(analysis).toMatchObject({ status: 'complete', findings: [{ id: 'B307', file: 'odd.py' }] });
  });

  it.each<readonly [string, string | Uint8Array, RegExp]>([
    ...HARD_SOURCES,
    ['bytes that are no text', Buffer.from([0x23, 0xff, 0xfe, 0x0a]), /^(syntax_error|not_readable)$/],
    ['a NUL', 'x = 1\0\n', /^(syntax_error|not_readable)$/],
    ['an expression as deep as the stack', `x = ${'-'.repeat(200_000)}1\n`, /^(syntax_error|not_readable|crashed)$/],
    ['more than is read of one file', `x = "${'y'.repeat(1 << 20)}"\n`, /^too_large$/],
  ])('one with %s is skipped, and the others are not', async (_name, content, reason) => {
    const { analysis, exit_code } = await analyzed(amongOthers(content));
    expect(exit_code).toBe(0);
    expect(analysis).toMatchObject(oneSkipped(reason));
  });

  it('more code than is analyzed is told, and nothing is started for it', async () => {
    const half = `x = "${'y'.repeat(900 << 10)}"\n`;
    const files = Object.fromEntries(Array.from({ length: 10 }, (_, at) => [`part${String(at)}.py`, half]));
    const { analysis } = await analyzed({ 'main.py': '', ...files });
    expect(analysis).toEqual({ status: 'too_large', detail: expect.stringContaining('8388608') as string });
  });

  it('one that takes too long ends with the time there is, and the report says so', async () => {
    await using hurried = await startEngine({ PYEXEC_ANALYSIS_TIMEOUT: '2' });
    const files = Object.fromEntries(
      Array.from({ length: 40 }, (_, at) => [`${String(at)}.py`, 'eval(x)\n'.repeat(9_000)]),
    );
    const { analysis, exit_code } = await hurried.run({ 'main.py': '', ...files }, { wantsAnalysis: true });
    expect(exit_code).toBe(0);
    expect(analysis?.status).toMatch(/^(incomplete|timed_out)$/);
    const reasons = new Set(analysis?.skipped?.entries.map(({ reason }) => reason));
    expect([...reasons].filter((reason) => reason !== 'timed_out')).toEqual([]);
  });

  it('a run that has ended keeps neither its place nor its container for its report', async () => {
    await using narrow = await startEngine({ PYEXEC_MAX_CONCURRENT: '1', PYEXEC_ANALYSIS_TIMEOUT: '60' });
    const { executions } = narrow.engine;
    const files = Object.fromEntries(
      Array.from({ length: 40 }, (_, at) => [`${String(at)}.py`, 'eval(x)\n'.repeat(9_000)]),
    );
    const project = await projectOf(narrow.engine, { 'main.py': 'print("first")\n', ...files });
    const first = await executions.submit(runRequest({ wantsAnalysis: true }), project, ANONYMOUS);
    // The only place there is becomes free while the report of the first is still being made.
    expect(await narrow.run('print("second")')).toMatchObject({ stdout: 'second\n' });
    expect(await first.snapshot()).toMatchObject({
      status: 'running',
      stdout: 'first\n',
      analysis: { status: 'pending' },
    });
    first.cancel('requested');
    await first.ended;
    expect(first.result()).toMatchObject({ outcome: { kind: 'exited' }, analysis: { status: 'interrupted' } });
  });

  it('twenty thousand files are read, or the report says how many were not', async () => {
    const files = Object.fromEntries(
      Array.from({ length: 20_000 }, (_, at) => [`m/${String(at)}.py`, at % 2 ? 'eval(x)\n' : '']),
    );
    const { analysis } = await analyzed({ 'main.py': '', ...files });
    const { files_analyzed = 0, skipped } = analysis ?? {};
    expect(files_analyzed + (skipped?.count ?? 0)).toBe(20_001);
    expect(analysis?.status).toBe(skipped ? 'incomplete' : 'complete');
    expect(analysis).toMatchObject({ truncated: true });
  });
});
