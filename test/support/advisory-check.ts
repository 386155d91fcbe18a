/** The check of packages as the service builds it, without the service: settings in, reports out. */
import { pino } from 'pino';
import { buildAdvisories } from '../../src/composition/advisories.ts';
import { parseConfig } from '../../src/config/config.ts';
import type { AdvisoryEvent } from '../../src/dependencies/advisories/package-advisories.ts';
import { newExecutionId } from '../../src/domain/execution.ts';
import { AdvisoryTable } from '../../src/store/advisory-table.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { temporaryStateDirectory } from './state-directory.ts';

export type AdvisoryCheck = ReturnType<typeof openAdvisoryCheck>;

/** @param directory of the answers that are kept; absent: one of its own that goes with it. */
export function openAdvisoryCheck(settings: Readonly<Record<string, string>>, directory?: string) {
  const own = directory === undefined ? temporaryStateDirectory() : undefined;
  const table = new AdvisoryTable(directory ?? own?.path ?? '');
  const metrics = new Metrics({});
  const events: AdvisoryEvent[] = [];
  const log: Record<string, unknown>[] = [];
  const logger = pino(
    { level: 'trace' },
    {
      write: (line) => log.push(JSON.parse(line) as Record<string, unknown>),
    },
  );
  const dispose = async () => {
    await built?.close();
    table.close();
    own?.remove();
  };
  let built: ReturnType<typeof buildAdvisories>;
  try {
    built = buildAdvisories(parseConfig(settings), { table, logger, metrics, checked: (event) => events.push(event) });
  } catch (error) {
    void dispose();
    throw error;
  }
  return {
    events,
    log,
    metrics: async () => (await metrics.render()).body,
    check: async (...packages: readonly string[]) => {
      if (!built) throw new Error('no source is named');
      return built.packages.check(packages, { caller: 'ada', executionId: newExecutionId() });
    },
    expect: (...packages: readonly string[]) => {
      built?.packages.expect(packages);
    },
    [Symbol.asyncDispose]: dispose,
  };
}
