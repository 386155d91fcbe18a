/** Which environment variables a caller may set. E31 of the hostile cases is here. */
import { describe, expect, test } from 'vitest';
import { ServiceError } from '../../../src/domain/errors.ts';
import { checkEnvironment } from '../../../src/policy/environment.ts';

function refusalOf(environment: Record<string, string>): ServiceError | undefined {
  try {
    checkEnvironment(environment);
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
  return undefined;
}

describe('accepted: it reaches the program and nothing else', () => {
  test.each([
    'A',
    '_',
    'PATH',
    'PYTHONPATH',
    'PYTHONSTARTUP',
    'http_proxy',
    'X1',
    'LD',
    'XLD_PRELOAD',
    'A'.repeat(128),
  ])('%s', (name) => {
    expect(refusalOf({ [name]: 'value' })).toBeUndefined();
  });

  test.each(['', ' ', 'B\nC', 'a=b', '$(id)', '€', 'x'.repeat(32_768)])('the value %j', (value) => {
    expect(refusalOf({ A: value })).toBeUndefined();
  });

  test('256 of them', () => {
    expect(refusalOf(Object.fromEntries(Array.from({ length: 256 }, (_, i) => [`V${String(i)}`, ''])))).toBeUndefined();
  });
});

describe('refused', () => {
  test.each(['LD_PRELOAD', 'LD_LIBRARY_PATH', 'LD_AUDIT', 'LD_'])('%s: the loader reads it', (name) => {
    expect(refusalOf({ [name]: '/work/evil.so' })?.code).toBe('invalid_environment');
  });

  test.each(['', ' ', '1A', 'A=B', 'A=B\nC', 'A B', 'A\0', 'A-B', 'Ä', 'A'.repeat(129), '\nA', 'A\n'])(
    'the name %j',
    (name) => {
      expect(refusalOf({ [name]: 'value' })?.code).toBe('invalid_environment');
    },
  );

  test.each(['\0', 'a\0b', 'x'.repeat(32_769), '€'.repeat(11_000)])('a value that cannot be had (%#)', (value) => {
    expect(refusalOf({ A: value })?.code).toBe('invalid_environment');
  });

  test('a 257th variable', () => {
    expect(refusalOf(Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`V${String(i)}`, ''])))?.code).toBe(
      'invalid_environment',
    );
  });

  test('the refusal names the variable, never its value', () => {
    const refusal = refusalOf({ API_TOKEN: 'hunter2\0' });
    expect(refusal?.members).toEqual({ field: 'env', variable: 'API_TOKEN' });
    expect(JSON.stringify([refusal?.message, refusal?.members])).not.toContain('hunter2');
  });
});

test('a total that no new process could be given is refused', () => {
  const variables = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`V${String(index)}`, 'x'.repeat(32_000)]));
  expect(refusalOf(variables(16))).toBeUndefined();
  expect(refusalOf(variables(17))?.code).toBe('invalid_environment');
});
