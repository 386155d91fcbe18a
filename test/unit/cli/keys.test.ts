/** The key commands, each as the operator runs it: a process on a state directory. */
import { copyFileSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { hashOfKey, isKey } from '../../../src/identity/key-format.ts';
import { KeyStore } from '../../../src/store/key-store.ts';
import { createKey, operatorCommand } from '../../support/operator-command.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

let state: ReturnType<typeof temporaryStateDirectory>;
beforeEach(() => {
  state = temporaryStateDirectory();
});
afterEach(() => {
  state.remove();
});

const keys = (...args: string[]) => operatorCommand(state.path, ['keys', ...args]);
const find = (key: string) => {
  const store = KeyStore.open(join(state.path, 'keys.sqlite'));
  try {
    return store.find(hashOfKey(key));
  } finally {
    store.close();
  }
};

test('a key is made with all it may do, shown once, and kept as a hash', async () => {
  const key = await createKey(
    state.path,
    'ci',
    'run,read',
    ...['--expires', '90d', '--limit', 'memory_mb=512', '--limit', 'cpus=0.5', '--image', 'pyexec/slim'],
    ...['--concurrent', '2'],
  );
  expect(isKey(key)).toBe(true);
  const { key: kept, secret } = find(key) ?? {};
  expect(kept).toMatchObject({
    name: 'ci',
    scopes: ['run', 'read'],
    maxima: { memory_bytes: 512 << 20, cpus: 0.5 },
    images: ['pyexec/slim'],
    concurrentMax: 2,
  });
  expect((secret?.expiresAtMs ?? 0) - (secret?.createdAtMs ?? 0)).toBe(90 * 86_400_000);

  const { stdout } = await keys('list');
  expect(JSON.parse(stdout)).toMatchObject({ name: 'ci', caller: `key:${kept?.id ?? ''}`, concurrent: 2 });
  const secretPart = key.slice(4, 40);
  expect(stdout).not.toContain(secretPart);
  for (const file of readdirSync(state.path, { recursive: true, withFileTypes: true })) {
    const path = join(file.parentPath, file.name);
    expect(statSync(path).mode & 0o077).toBe(0);
    if (file.isDirectory()) continue;
    expect(readFileSync(path).includes(secretPart)).toBe(false);
  }
});

test('scopes may be a list, or said one by one', async () => {
  const key = await createKey(state.path, 'ci', 'run', '--scope', 'read,run');
  expect(find(key)?.key.scopes).toEqual(['run', 'read']);
});

test('rotating gives a new secret to the same caller, and the old one an end', async () => {
  const old = await createKey(state.path, 'ci', 'run');
  const { stdout } = await keys('rotate', 'ci', '--overlap', '1h');
  const [before, after] = [find(old), find(stdout.trim())];
  expect(after?.key.id).toBe(before?.key.id);
  expect(after?.secret.expiresAtMs).toBeUndefined();
  const leftMs = (before?.secret.expiresAtMs ?? 0) - Date.now();
  expect(leftMs).toBeGreaterThan(0);
  expect(leftMs).toBeLessThanOrEqual(3_600_000);
});

test('rotating never prolongs a secret', async () => {
  const old = await createKey(state.path, 'ci', 'run', '--expires', '1m');
  const expiresAtMs = find(old)?.secret.expiresAtMs;
  await keys('rotate', 'ci', '--overlap', '90d');
  expect(find(old)?.secret.expiresAtMs).toBe(expiresAtMs);
});

test('a revoked name can be used again, by another caller', async () => {
  const first = await createKey(state.path, 'ci', 'run');
  expect((await keys('revoke', 'ci')).code).toBe(0);
  expect(find(first)?.key.revokedAtMs).toBeGreaterThan(0);
  const second = await createKey(state.path, 'ci', 'run');
  expect(find(second)?.key.id).not.toBe(find(first)?.key.id);
});

describe('what is refused', () => {
  test.each([
    ['without a name', ['create', '--scope', 'run'], /--name/],
    ['without a scope', ['create', '--name', 'a'], /--scope/],
    ['an unknown scope', ['create', '--name', 'a', '--scope', 'run,root'], /run, read, admin/],
    ['a name that is none', ['create', '--name', 'a b', '--scope', 'run'], /letters, digits/],
    ['an unknown limit', ['create', '--name', 'a', '--scope', 'run', '--limit', 'toString=1'], /The limits are/],
    ['a limit below what Python needs', ['create', '--name', 'a', '--scope', 'run', '--limit', 'memory_mb=1'], /32/],
    ['a duration without a unit', ['create', '--name', 'a', '--scope', 'run', '--expires', '90'], /s, m, h or d/],
    ['no concurrency at all', ['create', '--name', 'a', '--scope', 'run', '--concurrent', '0'], /above 0/],
    ['rotating what is not there', ['rotate', 'nobody'], /no key named nobody/],
    ['revoking what is not there', ['revoke', 'nobody'], /no key named nobody/],
    ['an unknown command', ['destroy'], /unknown command/],
  ])('%s', async (_what, args, sentence) => {
    const refused = await operatorCommand(state.path, ['keys', ...args]);
    expect(refused.code).toBe(1);
    expect(refused.stdout).toBe('');
    expect(refused.stderr).toMatch(sentence);
    expect(refused.stderr).not.toContain('    at ');
  });
});

test('a name is taken once', async () => {
  await createKey(state.path, 'ci', 'run');
  const { code, stderr } = await keys('create', '--name', 'ci', '--scope', 'run');
  expect([code, stderr]).toEqual([1, 'pyexec: there is a key named ci already; rotate it\n']);
});

test('a file that is put in the place of the one that is open lets nobody in, nor does one that is gone', async () => {
  const key = await createKey(state.path, 'ci', 'run');
  const path = join(state.path, 'keys.sqlite');
  const store = KeyStore.open(path);
  try {
    expect(store.find(hashOfKey(key))?.key.name).toBe('ci');
    copyFileSync(path, `${path}.backup`);
    renameSync(path, `${path}.before`);
    expect(() => store.find(hashOfKey(key))).toThrow(/was replaced or taken away/);
    renameSync(`${path}.backup`, path);
    expect(() => store.find(hashOfKey(key))).toThrow(/was replaced or taken away/);
    renameSync(`${path}.before`, path);
    expect(store.find(hashOfKey(key))?.key.name).toBe('ci');
  } finally {
    store.close();
  }
});
