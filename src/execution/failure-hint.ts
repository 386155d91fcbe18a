/**
 * A sentence about what to try next, where the failure is one we know. Pure.
 *
 * Made from the outcome and the end of stderr, which the program controls: a hint
 * may be wrong, so it never changes what is reported.
 */
import { packageOf } from '../dependencies/imported-packages.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { RunPlan } from '../domain/plan.ts';

const STDERR_TAIL_CHARS = 4_000;
const NETWORK_FAILURE =
  /Network is unreachable|Temporary failure in name resolution|Name or service not known|ENETUNREACH/;

export function failureHint(outcome: Outcome, stderr: string, plan: RunPlan): string | undefined {
  switch (outcome.kind) {
    case 'timed_out':
      return outcome.limit === 'wall_ms'
        ? 'The output up to the limit was kept. Raise limits.wall_ms, or do less per run.'
        : 'Raise limits.cpu_ms, or do less per run.';
    case 'out_of_memory':
      return 'Raise limits.memory_bytes, or process the data in parts; files in /work and /tmp count as memory.';
    case 'output_limit':
      return 'Print less, raise limits.output_bytes, or leave on_overflow at "truncate".';
    case 'exited':
      return outcome.exit_code === 0 ? undefined : exitHint(stderr.slice(-STDERR_TAIL_CHARS), plan);
    case 'signaled':
      return outcome.signal === 'SIGSEGV' ? 'The interpreter crashed in native code.' : undefined;
    case 'queue_timeout':
      return 'The program was not started. Send it again, or give it longer with queue_timeout_ms.';
    case 'cancelled':
    case 'interrupted':
    case 'infrastructure_error':
      return undefined;
  }
}

function exitHint(stderr: string, plan: RunPlan): string | undefined {
  const missing = /ModuleNotFoundError: No module named '([^']{1,100})'/.exec(stderr)?.[1];
  if (missing === 'IPython' || missing?.startsWith('IPython.')) {
    return 'IPython is not in the image. display() is there without an import, and figures are shown by plt.show().';
  }
  if (missing !== undefined) {
    const name = packageOf(missing.split('.')[0] ?? missing);
    const called = name === missing ? '' : ` (on the index: ${name})`;
    return `The module ${missing}${called} is neither in the project nor in the image ${plan.shape.image}. Name it in requirements, or an image of GET /api/v1/images that has it.`;
  }
  if (plan.shape.network === 'none' && NETWORK_FAILURE.test(stderr)) {
    return 'Runs have no network; send the data with the project instead.';
  }
  if (/No space left on device/.test(stderr)) {
    return 'The file system of the run is full: /work holds limits.disk_bytes, and all else is read-only.';
  }
  if (/Read-only file system/.test(stderr)) return 'Only /work and /tmp can be written.';
  if (/EOFError: EOF when reading a line/.test(stderr)) return 'The program reads stdin; send the text as stdin.';
  return undefined;
}
