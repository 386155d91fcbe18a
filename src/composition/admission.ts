/**
 * Who runs next and how much, from the settings.
 */
import { Budgets } from '../admission/budgets.ts';
import { RunSlots } from '../admission/run-slots.ts';
import type { Config } from '../config/config.ts';
import type { UsageTable } from '../domain/budget.ts';
import type { Logger } from '../telemetry/logger.ts';

const MIB = 2 ** 20;
/** What of the queue one caller may fill; the rest stays for the others. */
const CALLER_SHARE = 3 / 4;

export function runSlots(config: Config): RunSlots {
  const queueMax = config.PYEXEC_MAX_QUEUE;
  const queueBytesMax = config.PYEXEC_MAX_QUEUE_MB * MIB;
  return new RunSlots({
    concurrent: config.PYEXEC_MAX_CONCURRENT,
    queueMax,
    queueBytesMax,
    callerConcurrentMax: config.PYEXEC_MAX_CONCURRENT_PER_CALLER || Infinity,
    callerQueueMax: config.PYEXEC_MAX_QUEUE_PER_CALLER || Math.ceil(queueMax * CALLER_SHARE),
    callerQueueBytesMax: Math.ceil(queueBytesMax * CALLER_SHARE),
  });
}

/** @param table absent: nobody has a budget; use is counted, but not kept over a restart. */
export function buildBudgets(config: Config, table: UsageTable | undefined, logger: Logger): Budgets {
  return new Budgets({
    windowMs: config.PYEXEC_BUDGET_WINDOW * 1000,
    cpuMsMax: config.PYEXEC_BUDGET_CPU_SECONDS * 1000,
    memoryMibMsMax: config.PYEXEC_BUDGET_MEMORY_MIB_SECONDS * 1000,
    table: table ?? { load: () => [], save: () => undefined },
    onError: (err) => {
      logger.error({ err }, 'what a caller used could not be written down');
    },
  });
}
