/**
 * A project nobody here wrote: sortedcontainers from Debian's archive, with its own
 * test suite under its own configuration (its tox.ini asks for doctests too), posted
 * as the system's tar packs it.
 *
 * Debian is asked for it once; later runs use the copy in the user's cache.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi, type TestContext } from 'vitest';
import type { Execution } from '../../src/domain/execution.ts';
import { runTar } from '../support/examples-client.ts';
import { missing, run, shell, tarOf } from '../support/examples-commands.ts';
import { startService, type ExampleService } from '../support/examples-service.ts';

const UNREACHABLE = 3;

/** Here it takes some seconds; a busy machine with one core takes longer. */
vi.setConfig({ testTimeout: 180_000 });

let folder: string;
let project: string;
/** Why there is nothing to run; undefined when there is. */
let unavailable: string | undefined;
let service: ExampleService | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'examples-library-'));
  project = join(folder, 'project');
  const { status, stderr } = await run('examples/debian-library/fetch.sh', [project]);
  if (status === UNREACHABLE) unavailable = stderr.trim();
  else if (status !== 0) throw new Error(`fetch.sh exited with ${String(status)}: ${stderr}`);
  else service = await startService();
}, 180_000);

afterAll(async () => {
  await service?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** The running service; skips the test, or in CI fails it, when Debian gave nothing to run. */
function serviceFor({ skip }: TestContext): ExampleService {
  if (service) return service;
  const reason = `sortedcontainers is not to be had: ${unavailable ?? 'no service'}`;
  if (process.env['CI'] === 'true') throw new Error(reason);
  return skip(reason);
}

/** The counts of pytest's last line: `2 failed, 365 passed in 5.63s`. */
function counts(execution: Execution): Readonly<Record<string, number>> {
  const summary = (execution.stdout ?? '').trimEnd().split('\n').at(-1) ?? '';
  const found: Record<string, number> = {};
  for (const [, count, what] of summary.matchAll(/(\d+) (passed|failed|errors?|skipped|warnings?)/g)) {
    if (what !== undefined) found[what] = Number(count);
  }
  return found;
}

test('its whole test suite passes in the sandbox', async (context) => {
  const { url } = serviceFor(context);
  const tests = Number(await shell(`cat ${project}/tests/test_*.py | grep -cE '^ *def test_'`));
  expect(tests).toBeGreaterThan(250);

  const execution = await runTar(url, await tarOf(project, ['-z']), { module: 'pytest', arg: ['-v'] });
  expect(execution.stdout).toContain('configfile: tox.ini');
  expect(execution).toMatchObject({ status: 'completed', outcome: { kind: 'exited', exit_code: 0 } });
  const collected = Number(/\bcollected (\d+) items$/m.exec(execution.stdout ?? '')?.[1]);
  expect(counts(execution)).toEqual({ passed: collected });
  // As many test functions as the source has, counted without Python; the rest are doctests.
  const functions = execution.stdout?.match(/^tests\/test_\w+\.py::test_\w+ PASSED/gm) ?? [];
  expect(functions).toHaveLength(tests);
  expect(execution.stdout).toMatch(/^docs\/introduction\.rst::introduction\.rst PASSED/m);
  expect(collected).toBeGreaterThan(tests);
});

test('a fault planted in the library is found by them', async (context) => {
  const { url } = serviceFor(context);
  const file = join(project, 'sortedcontainers/sortedlist.py');
  const source = await readFile(file, 'utf8');
  const broken = source.replace('pos = bisect_right(_maxes, value)', 'pos = bisect_right(_maxes, value) + 1');
  expect(broken).not.toBe(source);
  await writeFile(file, broken);
  try {
    const arg = ['-q', '--tb=no', 'tests/test_coverage_sortedlist.py'];
    const execution = await runTar(url, await tarOf(project), { module: 'pytest', arg });
    expect(execution).toMatchObject({ status: 'completed', outcome: { kind: 'exited', exit_code: 1 } });
    expect(counts(execution)['failed']).toBeGreaterThan(0);
  } finally {
    await writeFile(file, source);
  }
});

test('its README shows what happens', async (context) => {
  const { url } = serviceFor(context);
  const absent = missing(['curl', 'jq']);
  if (absent.length > 0 && process.env['CI'] !== 'true') return context.skip(`no ${absent.join(', ')} here`);
  const { status, stdout, stderr } = await run(process.execPath, [
    'examples/run-recipes.mjs',
    '--server',
    url,
    'examples/debian-library/README.md',
  ]);
  expect(`${stdout.toString()}${stderr}`).toMatch(/^ok /m);
  expect(status).toBe(0);
});
