/**
 * Analysis under gVisor, where the daemon has its runtime: the same reports, also of
 * sources made to break what reads them, on a kernel that counts its own threads among
 * the processes of the analyzer.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ServiceError } from '../../../src/domain/errors.ts';
import { containersOf, docker } from '../../support/docker-containers.ts';
import { startEngine, type TestEngine } from '../../support/engine.ts';
import { amongOthers, HARD_SOURCES, oneSkipped } from '../../support/hard-sources.ts';

const RUNTIME = 'runsc';
const info = (await docker.info()) as { Runtimes?: Record<string, unknown> };
const hasGvisor = Object.hasOwn(info.Runtimes ?? {}, RUNTIME);
const SHELL = 'import subprocess\nsubprocess.call("/bin/echo ran", shell=True)\n';

describe.skipIf(!hasGvisor)('under gVisor', () => {
  const INSTANCE = `test-gvisor-analysis-${String(process.pid)}`;
  let engine: TestEngine;
  beforeAll(async () => {
    engine = await startEngine({
      PYEXEC_RUNTIME: RUNTIME,
      PYEXEC_ANALYSIS_TIMEOUT: '120',
      PYEXEC_INSTANCE: INSTANCE,
    });
  });
  afterAll(() => engine[Symbol.asyncDispose]());
  const analyzed = (files: Parameters<TestEngine['run']>[0]) => engine.run(files, { wantsAnalysis: true });

  it('a report has each finding, beside what the run did; the analyzer is under it, too', async () => {
    const files = Object.fromEntries(
      Array.from({ length: 100 }, (_, at) => [`part${String(at)}.py`, 'eval(x)\n'.repeat(100)]),
    );
    const running = analyzed({ 'main.py': SHELL, ...files });
    const runtimes = new Map<string, string>();
    let isOver = false;
    const over = running.then(() => (isOver = true));
    while (!isOver) {
      for (const { Id, Image } of await containersOf(INSTANCE)) {
        const container = await docker
          .getContainer(Id)
          .inspect()
          .catch(() => undefined);
        if (container?.HostConfig.Runtime !== undefined) runtimes.set(Image, container.HostConfig.Runtime);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await over;
    const execution = await running;
    expect(execution).toMatchObject({
      runtime: RUNTIME,
      stdout: 'ran\n',
      analysis: { status: 'complete', files_analyzed: 101, counts: { low: 2, medium: 10_000, high: 0 } },
    });
    expect(runtimes.size).toBe(2);
    expect(new Set(runtimes.values())).toEqual(new Set([RUNTIME]));
  }, 150_000);

  it.each(HARD_SOURCES)(
    'a source with %s is skipped, and the others are not',
    async (_name, content, reason) => {
      const { analysis, exit_code } = await analyzed(amongOthers(content));
      expect(exit_code).toBe(0);
      expect(analysis).toMatchObject(oneSkipped(reason));
    },
    150_000,
  );

  it('where the operator blocks, a finding refuses and clean code runs', async () => {
    await using gate = await startEngine({ PYEXEC_RUNTIME: RUNTIME, PYEXEC_ANALYSIS: 'block' });
    const refused = await gate.run('import hashlib\nhashlib.md5(b"")\n').catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ServiceError);
    expect(refused).toMatchObject({ code: 'analysis_findings' });
    expect(await gate.run('print(1)')).toMatchObject({ stdout: '1\n', analysis: { status: 'complete' } });
  }, 150_000);

  it('one after another is read, with no process of the one before left over', async () => {
    for (let round = 0; round < 4; round += 1) {
      expect((await analyzed(SHELL)).analysis, String(round)).toMatchObject({ status: 'complete' });
    }
    await expect.poll(async () => (await containersOf(INSTANCE)).length, { timeout: 10_000 }).toBe(0);
  }, 150_000);
});
