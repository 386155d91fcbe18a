/**
 * However much a program prints, head and tail are kept, the middle is counted,
 * and the service stays as it is. Control: below the limit nothing is cut.
 */
import { describe, expect, it } from 'vitest';
import { eventsOf } from '../../support/events.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();
const MIB = 2 ** 20;

describe('L06 too much output', () => {
  it('L06 keeps head and tail and counts the middle; the program is not disturbed', async () => {
    const lines = 200_000;
    const run = await sandbox.run(
      `import sys\nfor i in range(${String(lines)}): print('line', i)\nprint('last', file=sys.stderr)\nsys.exit(3)`,
      { limits: { output_bytes: 100_000 } },
    );
    expect(run).toMatchObject({ exit_code: 3, outcome: { kind: 'exited' }, stderr: 'last\n' });
    const total = Array.from({ length: lines }, (_, i) => `line ${String(i)}\n`).join('').length;
    const cut = run.truncated?.stdout;
    expect(cut).toMatchObject({ total_bytes: total, kept_bytes: run.limits?.output_bytes });
    expect((cut?.kept_bytes ?? 0) + (cut?.omitted_bytes ?? 0)).toBe(total);
    expect(run.truncated?.stderr).toBeUndefined();
    expect(run.stdout).toMatch(/^line 0\nline 1\n/);
    expect(run.stdout?.endsWith(`line ${String(lines - 1)}\n`)).toBe(true);
    expect(run.stdout).toContain(`[... ${String(cut?.omitted_bytes)} bytes omitted ...]`);
  });

  it('L06 control: output of exactly the limit is whole', async () => {
    const run = await sandbox.run(`import os; os.write(1, b'x' * 5000); os.write(2, b'y' * 5000)`, {
      limits: { output_bytes: 5000 },
    });
    expect(run).toMatchObject({ exit_code: 0, stdout: 'x'.repeat(5000), stderr: 'y'.repeat(5000) });
    expect(run.truncated).toBeUndefined();
    const more = await sandbox.run(`import os; os.write(1, b'x' * 5001)`, { limits: { output_bytes: 5000 } });
    expect(more.truncated?.stdout).toEqual({ total_bytes: 5001, kept_bytes: 5000, omitted_bytes: 1 });
  });

  it('L06 an endless flood ends as timed out, with what was kept', async () => {
    const run = await sandbox.run(`while True: print('x')`, { limits: { wall_ms: 1_500, output_bytes: 20_000 } });
    expect(run).toMatchObject({ exit_code: 124, outcome: { kind: 'timed_out' } });
    expect(run.truncated?.stdout?.kept_bytes).toBe(run.limits?.output_bytes);
    expect(run.stdout?.startsWith('x\nx\n')).toBe(true);
  });

  it.each(['stdout', 'stderr'] as const)('L06 with on_overflow "kill" too much %s ends the run', async (stream) => {
    const run = await sandbox.run(`import sys\nwhile True: print('x', file=sys.${stream})`, {
      onOverflow: 'kill',
      limits: { output_bytes: 50_000, wall_ms: 20_000 },
    });
    expect(run).toMatchObject({
      status: 'failed',
      exit_code: 137,
      outcome: { kind: 'output_limit', limit_bytes: run.limits?.output_bytes },
    });
    expect(run.duration_ms).toBeLessThan(10_000);
    const below = await sandbox.run(`import sys; print('x' * 49_000, file=sys.${stream})`, {
      onOverflow: 'kill',
      limits: { output_bytes: 50_000 },
    });
    expect(below).toMatchObject({ exit_code: 0, outcome: { kind: 'exited' } });
  });
});

describe('L07 many small writes', () => {
  it('L07 single bytes on both streams in turn for seconds: nothing is lost, and others run meanwhile', async () => {
    const flood = sandbox.run(
      `
import os, time
end, count = time.monotonic() + 3, 0
while time.monotonic() < end:
    os.write(1, b'a'); os.write(2, b'b'); count += 1
os.write(1, b'\\n%d' % count)`,
      { limits: { output_bytes: 16 * MIB, wall_ms: 20_000 } },
    );
    const canaries = await Promise.all([1, 2, 3].map((i) => sandbox.run(`print(${String(i)})`)));
    expect(canaries.map(({ stdout }) => stdout)).toEqual(['1\n', '2\n', '3\n']);
    const run = await flood;
    expect(run).toMatchObject({ exit_code: 0, outcome: { kind: 'exited' } });
    const [written, count] = run.stdout?.split('\n') ?? [];
    expect(Number(count)).toBeGreaterThan(10_000);
    expect(written).toBe('a'.repeat(Number(count)));
    expect(run.stderr).toBe('b'.repeat(Number(count)));
  });
});

describe('L08 output that is not lines of text', () => {
  it('L08 one gigabyte without a newline is counted to the byte', async () => {
    const run = await sandbox.run(
      `import os\nblock = b'x' * ${String(MIB)}\nfor _ in range(1024): os.write(1, block)\nprint('end')`,
      {
        limits: { wall_ms: 60_000 },
      },
    );
    expect(run).toMatchObject({ exit_code: 0, outcome: { kind: 'exited' } });
    expect(run.truncated?.stdout?.total_bytes).toBe(1024 * MIB + 4);
    expect(run.stdout?.endsWith('xxxend\n')).toBe(true);
  });

  it('L08 ten gigabytes end with the limit at the latest', async () => {
    const run = await sandbox.run(
      `import os\nblock = b'x' * ${String(MIB)}\nfor _ in range(10240): os.write(1, block)`,
      {
        limits: { wall_ms: 4_000 },
      },
    );
    expect(['exited', 'timed_out']).toContain(run.outcome?.kind);
    expect(run.duration_ms).toBeLessThan(4_000 + 3_000);
    expect(run.truncated?.stdout?.kept_bytes).toBe(run.limits?.output_bytes);
  });

  it('L08 bytes that are not UTF-8 arrive as they were written', async () => {
    const run = await sandbox.run(`import sys; sys.stdout.buffer.write(bytes(range(256)) + b'\\xed\\xa0\\x80')`);
    expect(run).toMatchObject({ exit_code: 0, stdout_encoding: 'base64' });
    const bytes = Buffer.from(run.stdout ?? '', 'base64');
    expect([...bytes]).toEqual([...Array.from({ length: 256 }, (_, i) => i), 0xed, 0xa0, 0x80]);
  });

  it('L08 a lone surrogate is an error of the program, as in any Python', async () => {
    const run = await sandbox.run(`print('before', flush=True); print('\\ud800')`);
    expect(run).toMatchObject({ outcome: { kind: 'exited', exit_code: 1 }, stdout: 'before\n' });
    expect(run.stderr).toContain('UnicodeEncodeError');
  });

  it.each([1_000, 1_001, 1_002, 1_003])(
    'L08 a limit of %i bytes in the middle of characters loses no byte that was kept',
    async (limit) => {
      const whole = Buffer.from('€'.repeat(2_000));
      const submitted = await sandbox.submit(`import sys; sys.stdout.write('€' * 2_000)`, {
        limits: { output_bytes: limit },
      });
      const parts = [Buffer.alloc(0)];
      for await (const event of eventsOf(submitted.follow(0, new AbortController().signal))) {
        if (event.type === 'truncated') parts.push(Buffer.alloc(0));
        if (event.type !== 'stdout') continue;
        parts.push(Buffer.concat([parts.pop() ?? Buffer.alloc(0), Buffer.from(event.data, event.encoding ?? 'utf8')]));
      }
      const [head, tail] = parts;
      expect(parts).toHaveLength(2);
      expect(Buffer.concat(parts)).toHaveLength(limit);
      expect(head).toEqual(whole.subarray(0, head?.length));
      expect(tail).toEqual(whole.subarray(whole.length - (tail?.length ?? 0)));

      const run = await submitted.snapshot();
      expect(run.truncated?.stdout).toEqual({ total_bytes: 6_000, kept_bytes: limit, omitted_bytes: 6_000 - limit });
      expect(run.stdout_encoding, 'text that was cut is still text').toBeUndefined();
      expect(run.stdout).toMatch(/^€+\n\[\.\.\. \d+ bytes omitted \.\.\.\]\n€+$/);
    },
  );
});

describe('L09 readers that stall', () => {
  it('L09 slow down neither the program nor other readers, and can go on later', async () => {
    const submitted = await sandbox.submit(`import os\nfor i in range(3000): os.write(1, b'%05d\\n' % i)`);
    const { signal } = new AbortController();
    const stalled = eventsOf(submitted.follow(0, signal));
    await stalled.next();
    const seen: number[] = [];
    for await (const event of eventsOf(submitted.follow(0, signal))) seen.push(event.seq);
    const { outcome, stdout } = await submitted.snapshot();
    expect(outcome).toMatchObject({ kind: 'exited', exit_code: 0 });
    expect(stdout?.split('\n')).toHaveLength(3001);
    const late: number[] = [1];
    for await (const event of stalled) late.push(event.seq);
    expect(late).toEqual(seen);
  });

  it('L09 that never read at all do not keep a run from being timed out', async () => {
    const submitted = await sandbox.submit(`import os\nwhile True: os.write(1, b'x' * 65536)`, {
      limits: { wall_ms: 1_000 },
    });
    const stalled = submitted.follow(0, new AbortController().signal);
    await stalled.next();
    await submitted.ended;
    expect(await submitted.snapshot()).toMatchObject({ exit_code: 124, outcome: { kind: 'timed_out' } });
  });
});
