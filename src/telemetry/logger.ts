/**
 * The service's log: one JSON object a line on stdout.
 *
 * What callers send is untrusted: it is only ever logged under keys of ours, and
 * code, output, environment values and tokens are not logged at all. A log that
 * cannot be written does not end the service.
 */
import { destination, pino, type Logger } from 'pino';

export type { Logger };

/** Lines that wait for a stdout nobody reads; more are dropped. */
const UNWRITTEN_BYTES_MAX = 8 << 20;

export function createLogger(level: string): Logger {
  const stdout = destination({ dest: 1, sync: false, maxLength: UNWRITTEN_BYTES_MAX });
  // A closed pipe or a full disk under stdout must not take the runs with it.
  stdout.on('error', () => undefined);
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ['req.headers', 'headers', '*.authorization', '*.cookie'], remove: true },
    },
    stdout,
  );
}
