/**
 * An execution as python-executor writes it: the fields its clients know, left out
 * where it leaves them out; ours stand beside them. Pure.
 */
import type { Execution } from '../../domain/execution.ts';
import { tracebackEnd } from './traceback-text.ts';
import { inWireWords } from './wire-words.ts';

/** What an uncaught exception ends Python with. */
const EXCEPTION_STATUS = 1;

/** Output as text whatever it was: bytes that are not UTF-8 become U+FFFD, as there. */
function textOf(data: string | undefined, encoding: 'base64' | undefined): string {
  if (data === undefined) return '';
  return encoding === undefined ? data : Buffer.from(data, encoding).toString('utf8');
}

export function resultForm(execution: Execution): Record<string, unknown> {
  const { stdout, stderr, stdout_encoding, stderr_encoding, duration_ms, error_line, hint, ...rest } = execution;
  const result: Record<string, unknown> = { ...rest };
  let out = textOf(stdout, stdout_encoding);
  // There the result was a line of stdout; taking it out took the newline before it as well.
  if (execution.result !== undefined) out = out.replace(/\n$/, '');
  const err = textOf(stderr, stderr_encoding);
  if (out !== '') result['stdout'] = out;
  if (err !== '') result['stderr'] = err;
  if (duration_ms !== undefined && duration_ms > 0) result['duration_ms'] = duration_ms;
  if (error_line !== undefined && error_line > 0) result['error_line'] = error_line;
  if (hint !== undefined) result['hint'] = inWireWords(hint);
  const { outcome, error_type } = execution;
  if (outcome?.kind === 'exited' && outcome.exit_code === EXCEPTION_STATUS && error_type === undefined) {
    Object.assign(result, tracebackEnd(err));
  }
  return result;
}
