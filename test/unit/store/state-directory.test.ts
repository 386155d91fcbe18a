/** The state directory: made for its owner alone, and never two servers' at a time. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StateDirectory } from '../../../src/store/state-directory.ts';

const MODULE = new URL('../../../src/store/state-directory.ts', import.meta.url).href;

let parent: string;
let path: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'pyexec-state-'));
  path = join(parent, 'a', 'state');
});
afterEach(() => {
  rmSync(parent, { recursive: true });
});

/** Another process that opens the directory and then stays. */
async function otherServer() {
  const program = `import { StateDirectory } from ${JSON.stringify(MODULE)};
    try { globalThis.kept = StateDirectory.open(process.argv[1]); console.log('open'); setInterval(() => {}, 1e6); }
    catch (error) { console.log(error.message); }`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  const kill = async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  };
  return { said: said.toString().trim(), kill };
}

test('is made with its parents, for its owner alone', () => {
  const state = StateDirectory.open(path);
  expect(statSync(path).mode & 0o777).toBe(0o700);
  expect(statSync(join(path, 'lock')).mode & 0o777).toBe(0o600);
  expect(state.executionDirectory('exe_1')).toBe(join(path, 'executions', 'exe_1'));
  state.close();
});

describe('the lock', () => {
  test('keeps out a second server of another process, until the first is killed', async () => {
    const first = await otherServer();
    expect(first.said).toBe('open');
    expect(() => StateDirectory.open(path)).toThrow(`${path} is in use by another server`);
    await first.kill();
    StateDirectory.open(path).close();
  });

  test('keeps out a second server of the same process, and that attempt gives nothing up', async () => {
    const state = StateDirectory.open(path);
    expect(() => StateDirectory.open(path)).toThrow('in use');
    const other = await otherServer();
    expect(other.said).toMatch(/in use by another server$/);
    await other.kill();
    state.close();
    const next = await otherServer();
    expect(next.said).toBe('open');
    await next.kill();
  });
});

test('one that others may write to is refused', () => {
  StateDirectory.open(path).close();
  chmodSync(path, 0o770);
  expect(() => StateDirectory.open(path)).toThrow('other users may write');
});
