/**
 * Who runs next, from the settings.
 */
import { RunSlots } from '../admission/run-slots.ts';
import type { Config } from '../config/config.ts';

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
