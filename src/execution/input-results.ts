/**
 * What is told of the inputs of an execution, and how the execution ended by them.
 *
 * The whole ended as its first input that did not exit with 0; with 0 when all did. An
 * input nobody ran is told as such: every input has exactly one result, in order.
 */
import { isUtf8 } from 'node:buffer';
import type { InputResult } from '../domain/inputs.ts';
import { exitCodeOf, type CancelReason, type Outcome } from '../domain/outcome.ts';
import type { RunPlan } from '../domain/plan.ts';
import type { ProgramReport } from '../domain/program-report.ts';
import type { InputEnding } from '../sandbox/run-frames.ts';
import type { Ending } from '../sandbox/sandbox.ts';
import { reportedOutcome, saidIn } from './ending-to-outcome.ts';

/** Exit code of an execution of which an input was not run although all that were ended with 0. */
const INCOMPLETE_STATUS = 255;

export class InputResults {
  readonly #plan: RunPlan;
  readonly #tell: (result: InputResult) => void;
  readonly #cancelReason: () => CancelReason;
  #next = 0;
  #firstFailure: Outcome | undefined;
  /** What the first that failed said of it. */
  told: ProgramReport = {};

  constructor(plan: RunPlan, tell: (result: InputResult) => void, cancelReason: () => CancelReason) {
    this.#plan = plan;
    this.#tell = tell;
    this.#cancelReason = cancelReason;
  }

  /** The next input ended. */
  ended({ report, stdout, stderr }: InputEnding): void {
    const outcome = reportedOutcome(report, this.#plan, this.#cancelReason());
    const said = saidIn(report);
    if (exitCodeOf(outcome) !== 0 && !this.#firstFailure) {
      this.#firstFailure = outcome;
      this.told = said;
    }
    const omitted = report.omittedBytes;
    this.#tell({
      index: this.#next,
      exit_code: exitCodeOf(outcome),
      outcome,
      usage: { wall_ms: Math.round(report.wallMs), cpu_ms: Math.round(report.cpuMs) },
      ...textOf('stdout', stdout),
      ...textOf('stderr', stderr),
      ...said,
      ...(omitted.stdout + omitted.stderr > 0 ? { omitted } : {}),
    });
    this.#next += 1;
  }

  /** Tells of the inputs that were not run, and says how the whole ended. */
  finish(ending: Ending, outcome: Outcome): Outcome {
    const isReported = ending.kind === 'reported' && ending.report.cause === null;
    const damage = ending.kind === 'reported' ? ending.report.damage : undefined;
    const count = this.#plan.inputs?.list.length ?? 0;
    const isComplete = this.#next === count;
    const reason =
      damage ??
      (!isReported
        ? 'the run ended before'
        : this.#plan.inputs?.stopOnFailure && this.#firstFailure
          ? 'an input before it failed'
          : 'the time or the output of all inputs together was used up');
    for (; this.#next < count; this.#next += 1) {
      this.#tell({ index: this.#next, exit_code: -1, outcome: { kind: 'not_run', reason }, stdout: '', stderr: '' });
    }
    if (!isReported) return outcome;
    return this.#firstFailure ?? (isComplete ? outcome : { kind: 'exited', exit_code: INCOMPLETE_STATUS });
  }
}

function textOf(stream: 'stdout' | 'stderr', bytes: Buffer): Pick<InputResult, 'stdout' | 'stderr'> {
  const isText = isUtf8(bytes);
  return {
    [stream]: bytes.toString(isText ? 'utf8' : 'base64'),
    ...(isText ? {} : { [`${stream}_encoding`]: 'base64' }),
  } as unknown as Pick<InputResult, 'stdout' | 'stderr'>;
}
