/**
 * A disk that takes no more while a program puts out. The kernel refuses the server's
 * writes beyond a size, as it does when the disk is full (EFBIG for ENOSPC).
 */
import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { ServiceProcess } from '../../support/service-process.ts';

const MIB = 2 ** 20;
const FILE_BYTES_MAX = MIB;

interface Line {
  readonly seq: number;
  readonly t_ms: number;
  readonly type: string;
  readonly data?: string;
  readonly code?: string;
  readonly outcome?: unknown;
}

const linesOf = (text: string): Line[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
    .filter(({ type }) => type !== 'heartbeat');

it('ends the run as what it is, keeps its end, and the server goes on', async () => {
  await using service = await ServiceProcess.start({
    PYEXEC_DEFAULT_OUTPUT_BYTES: String(64 * MIB),
    PYEXEC_DEFAULT_IMAGE: 'pyexec/slim',
  });
  execFileSync('prlimit', ['--pid', String(service.pid), `--fsize=${String(FILE_BYTES_MAX)}`]);
  const flood = `
import os, time
for number in range(32 * 1024): os.write(1, b'%08d' % number + b'x' * 1015 + b'\\n')
time.sleep(60)`;
  const streamed = await service.exec(flood, { headers: { accept: 'application/x-ndjson' } });
  const id = streamed.headers.get('x-execution-id') ?? '';
  const live = linesOf(await streamed.text());
  const failure = { kind: 'infrastructure_error', code: 'storage_full' };
  expect(live.at(-1)).toMatchObject({ type: 'error', code: 'storage_full', outcome: failure });
  expect(live.map(({ seq }) => seq)).toEqual(live.map((_, index) => index + 1));

  const printed = live.map(({ data = '' }) => data).join('');
  expect(printed.length).toBeGreaterThan(FILE_BYTES_MAX);
  const whole = printed.slice(0, -(printed.length % 1024) || undefined);
  expect(whole.match(/\d{8}(?=x{1015}\n)/g)?.map(Number)).toEqual(
    Array.from({ length: whole.length / 1024 }, (_, i) => i),
  );

  // The disk has no room for all that was said: the first of it is kept, how much is missing is told, and how it ended.
  const replayed = linesOf(await (await service.get(`/api/v1/executions/${id}/events`)).text());
  expect(replayed.length).toBeGreaterThan(5);
  expect(replayed).toEqual([...live.slice(0, replayed.length - 1), live.at(-1)]);
  const kept = replayed.map(({ data = '' }) => data).join('');
  expect(kept.length).toBeGreaterThan(FILE_BYTES_MAX / 2);
  const stored = (await service.execution(id)) as unknown as Line & { stdout: string; truncated: { stdout: object } };
  expect(stored).toMatchObject({ status: 'failed', outcome: failure });
  expect(stored.stdout === kept).toBe(true);
  expect(stored.truncated.stdout).toEqual({
    total_bytes: printed.length,
    kept_bytes: kept.length,
    omitted_bytes: printed.length - kept.length,
  });
  const after = linesOf(
    await (await service.get(`/api/v1/executions/${id}/events?after=${String(replayed.length)}`)).text(),
  );
  expect(after).toEqual([live.at(-1)]);

  const waited = await service.exec(flood);
  expect([waited.status, await waited.json()]).toMatchObject([507, { code: 'storage_full', retryable: true }]);

  expect(await (await service.exec('print(1)')).json()).toMatchObject({ exit_code: 0, stdout: '1\n' });
});
