/**
 * How an end is written, alike for an execution that was watched to it and for one
 * that was found without it. Pure.
 */
import type { EventBody } from '../domain/events.ts';
import type { Execution, ExecutionResult } from '../domain/execution.ts';
import { errorSentenceOf, exitCodeOf, type Outcome } from '../domain/outcome.ts';
import type { CollectedOutput } from '../output/collected-output.ts';

/** The fields that tell how a run ended; of one that runs, its exit code of 0. */
export function endOf(outcome: Outcome | undefined): Pick<ExecutionResult, 'exit_code' | 'error' | 'outcome'> {
  if (!outcome) return { exit_code: 0 };
  const error = errorSentenceOf(outcome);
  return { exit_code: exitCodeOf(outcome), ...(error === undefined ? {} : { error }), outcome };
}

/** The last event of an execution with this result. */
export function terminalEvent(result: ExecutionResult): EventBody {
  const { outcome, error = '' } = result;
  if (outcome?.kind === 'interrupted' || outcome?.kind === 'queue_timeout') {
    return { type: 'error', code: outcome.kind, detail: error, ...result };
  }
  if (outcome?.kind === 'infrastructure_error') return { type: 'error', code: outcome.code, detail: error, ...result };
  return { type: 'result', ...result };
}

export function withOutput(result: ExecutionResult, collected: CollectedOutput): Execution {
  const { stdout, stderr, displays, results } = collected;
  return {
    ...result,
    stdout: stdout.text,
    ...(stdout.encoding ? { stdout_encoding: stdout.encoding } : {}),
    stderr: stderr.text,
    ...(stderr.encoding ? { stderr_encoding: stderr.encoding } : {}),
    ...(displays.length > 0 ? { displays } : {}),
    ...(results ? { results } : {}),
  };
}
