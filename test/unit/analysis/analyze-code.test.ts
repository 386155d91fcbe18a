/**
 * What becomes of an analyzer that breaks, lies or never ends. It is played here: a real
 * one cannot be made to.
 */
import { tmpdir } from 'node:os';
import { expect, it } from 'vitest';
import { analyzeCode, type AnalyzeCodeOptions } from '../../../src/analysis/analyze-code.ts';
import frameTypes from '../../../src/analysis/analyzer/frame-types.json' with { type: 'json' };
import { buildProject } from '../../../src/archive/build-project.ts';
import { DEFAULT_ARCHIVE_LIMITS } from '../../../src/archive/read-project.ts';
import { PLAN } from '../execution/plan-and-report.ts';

const project = await buildProject([{ path: 'main.py', content: Buffer.from('print(1)\n') }], {
  limits: DEFAULT_ARCHIVE_LIMITS,
  spoolDirectory: tmpdir(),
});
const never = new AbortController().signal;
const honest = {
  tool: 'bandit 1.7',
  analyzed: 1,
  skipped: [],
  skipped_count: 0,
  counts: { low: 0, medium: 0, high: 0 },
  findings: [],
};
const finding = { id: 'B1', name: 'n', severity: 'low', confidence: 'low', file: 'main.py', line: 1, message: 'm' };

/** An analyzer that says this once it is ready, and then ends, or stays until it is released. */
function analyzer(says: readonly (readonly [number, unknown])[], stays = false) {
  const sent: number[] = [];
  const released = Promise.withResolvers<undefined>();
  const failures: unknown[] = [];
  const options: AnalyzeCodeOptions = {
    startAnalyzer: () =>
      Promise.resolve({
        send: (type) => {
          sent.push(type);
          return Promise.resolve();
        },
        frames: async function* () {
          yield { type: frameTypes.READY, payload: Buffer.from('{}') };
          for (const [type, value] of says) yield { type, payload: Buffer.from(JSON.stringify(value)) };
          if (stays) await released.promise;
        },
        release: () => {
          released.resolve(undefined);
          return Promise.resolve();
        },
      }),
    timeoutMs: 200,
    limits: { findingsMax: 2, fileBytesMax: 1000, fileTimeMs: 100 },
    sourceBytesMax: 1000,
    onFailure: (error) => failures.push(error),
  };
  return { options, sent, failures, released: released.promise };
}

it('an honest one is believed', async () => {
  const { options, sent, failures } = analyzer([[frameTypes.REPORT, honest]]);
  expect(await analyzeCode(PLAN, project, options, never)).toMatchObject({ status: 'complete', files_analyzed: 1 });
  expect(sent).toEqual([frameTypes.SOURCES, frameTypes.TAR, frameTypes.TAR_END]);
  expect(failures).toEqual([]);
});

it.each<[string, readonly (readonly [number, unknown])[]]>([
  ['ends early', []],
  ['says that it failed', [[frameTypes.FAILED, { text: 'MemoryError()' }]]],
  ['sends a frame nobody knows', [[99, {}]]],
  ['sends no report', [[frameTypes.REPORT, { ...honest, counts: undefined }]]],
  [
    'speaks of a file it was not sent',
    [[frameTypes.REPORT, { ...honest, findings: [{ ...finding, file: '/etc/x' }] }]],
  ],
  ['speaks of an input there is not', [[frameTypes.REPORT, { ...honest, findings: [{ ...finding, input: 3 }] }]]],
  ['leaves a file out', [[frameTypes.REPORT, { ...honest, analyzed: 0 }]]],
])('one that %s has failed, with the reason for the log alone', async (_name, says) => {
  const { options, failures } = analyzer(says);
  const report = await analyzeCode(PLAN, project, options, never);
  expect(report).toEqual({ status: 'failed', detail: 'The analyzer could not be started, or broke.' });
  expect(failures).toHaveLength(1);
});

it('one that cannot be started has failed', async () => {
  const { options } = analyzer([]);
  const startAnalyzer = () => Promise.reject(new Error('no daemon'));
  expect(await analyzeCode(PLAN, project, { ...options, startAnalyzer }, never)).toMatchObject({ status: 'failed' });
});

it('one that never ends is ended, and is not waited for once nobody wants its report', async () => {
  const slow = analyzer([], true);
  expect(await analyzeCode(PLAN, project, slow.options, never)).toMatchObject({ status: 'timed_out' });
  await slow.released;
  const unwanted = analyzer([], true);
  const gone = AbortSignal.abort();
  expect(await analyzeCode(PLAN, project, unwanted.options, gone)).toMatchObject({ status: 'interrupted' });
});

it('more findings than are listed are counted', async () => {
  const findings = [finding, finding, finding];
  const { options } = analyzer([[frameTypes.REPORT, { ...honest, counts: { low: 3, medium: 0, high: 0 }, findings }]]);
  const report = await analyzeCode(PLAN, project, options, never);
  expect(report).toMatchObject({ status: 'complete', counts: { low: 3 }, truncated: true });
  expect(report.findings).toHaveLength(2);
});
