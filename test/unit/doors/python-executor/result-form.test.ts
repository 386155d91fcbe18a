import { describe, expect, it } from 'vitest';
import type { Execution } from '../../../../src/domain/execution.ts';
import { resultForm } from '../../../../src/doors/python-executor/result-form.ts';

const of = (more: Partial<Execution> = {}): Execution => ({
  execution_id: 'exe_0b0f3b1e-6a0f-4c58-9a3c-2f7f6f1f2d11',
  status: 'completed',
  exit_code: 0,
  outcome: { kind: 'exited', exit_code: 0 },
  created_at: '2026-01-02T03:04:05.678Z',
  stdout: '',
  stderr: '',
  ...more,
});

describe('what is left out', () => {
  it('everything that is empty or zero, but never the exit code', () => {
    const form = resultForm(of({ duration_ms: 0, error_line: 0 }));
    for (const name of ['stdout', 'stderr', 'duration_ms', 'error', 'error_type', 'error_line', 'result', 'hint']) {
      expect(form).not.toHaveProperty(name);
    }
    expect(form['exit_code']).toBe(0);
    expect(JSON.stringify(form)).not.toContain('null');
  });

  it('nothing that says something', () => {
    const whole = { stdout: 'o\n', stderr: 'e\n', duration_ms: 5, error: 'x', error_type: 'E', error_line: 3 };
    expect(resultForm(of(whole))).toMatchObject(whole);
  });

  it('bytes that are not text become U+FFFD, and no encoding is named', () => {
    const base64 = Buffer.from([0x61, 0xff, 0x0a]).toString('base64');
    const form = resultForm(of({ stdout: base64, stdout_encoding: 'base64' }));
    expect(form['stdout']).toBe('a\uFFFD\n');
    expect(form).not.toHaveProperty('stdout_encoding');
  });
});

describe('a result', () => {
  it.each([
    ['hello\n', 'hello'],
    ['hello', 'hello'],
    ['hello\n\n', 'hello\n'],
    ['\n', undefined],
    ['', undefined],
  ])('takes one newline off the output %j', (stdout, left) => {
    expect(resultForm(of({ stdout, result: '42' }))['stdout']).toBe(left);
  });

  it('without one the output stays', () => {
    expect(resultForm(of({ stdout: 'hello\n' }))['stdout']).toBe('hello\n');
  });

  it('can be an empty text', () => {
    expect(resultForm(of({ result: '' }))['result']).toBe('');
  });
});

describe('an exception the program could not tell us about', () => {
  const stderr = 'Traceback (most recent call last):\n  File "/work/main.py", line 3, in <module>\nOSError: x\n';

  it('is read off stderr', () => {
    const form = resultForm(of({ exit_code: 1, outcome: { kind: 'exited', exit_code: 1 }, stderr }));
    expect(form).toMatchObject({ error_type: 'OSError', error_line: 3 });
  });

  it('but not against what it told us, nor after another end', () => {
    const told = { exit_code: 1, outcome: { kind: 'exited', exit_code: 1 }, stderr, error_type: 'MyError' } as const;
    expect(resultForm(of(told))).not.toHaveProperty('error_line');
    expect(resultForm(of({ stderr }))).not.toHaveProperty('error_type');
    const exit3 = { exit_code: 3, outcome: { kind: 'exited', exit_code: 3 }, stderr } as const;
    expect(resultForm(of(exit3))).not.toHaveProperty('error_type');
  });
});

it('hints name the fields of this door', () => {
  const hint = 'Raise limits.memory_bytes, or limits.wall_ms, or limits.disk_bytes; not limits.output_bytes.';
  expect(resultForm(of({ hint }))['hint']).toBe(
    'Raise config.memory_mb, or config.timeout_seconds, or config.disk_mb; not limits.output_bytes.',
  );
});
