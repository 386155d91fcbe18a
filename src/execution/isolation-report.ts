/**
 * What isolation is really applied, found out by trying: a probe is run like any
 * program and tells what it could not do.
 *
 * Nothing is read back from what we asked the daemon for. The report is kept for a
 * minute, since it costs a run.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { SERVICE } from '../domain/caller.ts';
import { ServiceError } from '../domain/errors.ts';
import type { Project } from '../domain/project.ts';
import type { Executions } from './executions.ts';

const REMEMBER_MS = 60_000;
const PROBE_WALL_MS = 20_000;
const checksSchema = z.array(z.tuple([z.string(), z.boolean(), z.string()]));

export interface IsolationReport {
  readonly isolated: boolean;
  readonly image: string;
  readonly runtime: string;
  readonly checked_at: string;
  readonly checks: readonly { readonly guard: string; readonly held: boolean; readonly observed: string }[];
}

/**
 * A function that answers with a report at most a minute old.
 * @param build makes a project of one file; the archive gate does.
 */
export function isolationReporter(
  executions: Executions,
  build: (path: string, content: Buffer) => Promise<Project>,
): () => Promise<IsolationReport> {
  const source = readFileSync(new URL('./isolation-probe.py', import.meta.url));
  let last: { readonly at: number; readonly report: Promise<IsolationReport> } | undefined;
  const probe = async (): Promise<IsolationReport> => {
    const submitted = await executions.submit(
      {
        args: [],
        stdin: new Uint8Array(),
        environment: {},
        limits: { wall_ms: PROBE_WALL_MS },
        onOverflow: 'truncate',
        wantsNetwork: false,
        preCommands: [],
      },
      await build('main.py', source),
      SERVICE,
    );
    await submitted.ended;
    const { stdout = '', image = '', runtime = '', outcome } = await submitted.snapshot();
    if (outcome?.kind !== 'exited' || outcome.exit_code !== 0) {
      throw new ServiceError('sandbox_failed', 'The probe did not run to its end.');
    }
    const checks = checksSchema.parse(JSON.parse(stdout)).map(([guard, held, observed]) => ({ guard, held, observed }));
    return { isolated: checks.every(({ held }) => held), image, runtime, checked_at: new Date().toISOString(), checks };
  };
  return () => {
    if (!last || performance.now() - last.at > REMEMBER_MS) {
      const report = probe();
      last = { at: performance.now(), report };
      report.catch(() => {
        last = undefined;
      });
    }
    return last.report;
  };
}
