/** A program that does not read its stdin is not hindered by it; one that does gets every byte. */
import { expect, it } from 'vitest';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();
const stdin = Buffer.alloc(8 << 20, 'a line of stdin\n');

it('L20 a program that never reads 8 MiB of stdin ends by itself', async () => {
  const run = await sandbox.run('print("done")', { stdin });
  expect(run).toMatchObject({ stdout: 'done\n', exit_code: 0, outcome: { kind: 'exited' } });
});

it('L20 neither does one that closes stdin, or reads the beginning only', async () => {
  expect(await sandbox.run('import os, time; os.close(0); time.sleep(0.3); print("done")', { stdin })).toMatchObject({
    stdout: 'done\n',
    exit_code: 0,
  });
  expect(await sandbox.run('print(input())', { stdin })).toMatchObject({ stdout: 'a line of stdin\n', exit_code: 0 });
});

it('L20 nor one that prints as much as it is sent before it reads', async () => {
  const run = await sandbox.run(
    'import sys\nfor _ in range(64): sys.stdout.write("x" * 65536)\nprint(len(sys.stdin.buffer.read()))',
    { stdin, limits: { output_bytes: 1000 } },
  );
  expect(run).toMatchObject({
    exit_code: 0,
    stdout: expect.stringMatching(new RegExp(`${String(stdin.length)}\\n$`)) as string,
  });
});

it('L20 a program that stops reading is still timed out', async () => {
  const run = await sandbox.run('import time; input(); time.sleep(60)', { stdin, limits: { wall_ms: 800 } });
  expect(run).toMatchObject({ exit_code: 124, outcome: { kind: 'timed_out' } });
});

it('L20 control: all of it arrives at a program that reads', async () => {
  const run = await sandbox.run('import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())', {
    stdin,
  });
  const { createHash } = await import('node:crypto');
  expect(run.stdout).toBe(`${createHash('sha256').update(stdin).digest('hex')}\n`);
});
