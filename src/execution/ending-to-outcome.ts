/**
 * What an observed ending means. Pure.
 *
 * Out of memory is told apart from other kills by the kernel's own count of its
 * kills, never by an exit code.
 */
import { constants } from 'node:os';
import type { CancelReason, Outcome, Usage } from '../domain/outcome.ts';
import type { ProgramException, ProgramReport } from '../domain/program-report.ts';
import type { RunPlan } from '../domain/plan.ts';
import type { Ending } from '../sandbox/sandbox.ts';
import type { Noticed } from './execution-record.ts';

const SIGNAL_NAMES = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));
SIGNAL_NAMES.set(constants.signals.SIGABRT, 'SIGABRT').set(constants.signals.SIGIO, 'SIGIO');

/** The signal's name, `SIG<number>` for one without. */
export function signalName(number: number): string {
  return SIGNAL_NAMES.get(number) ?? `SIG${String(number)}`;
}

export function outcomeOf(
  ending: Ending,
  plan: RunPlan,
  cancelReason: CancelReason,
): { outcome: Outcome; usage: Usage | undefined } {
  const { limits } = plan;
  switch (ending.kind) {
    case 'out_of_memory':
      return { outcome: { kind: 'out_of_memory', limit_bytes: limits.memory_bytes }, usage: undefined };
    case 'backstop': {
      const outcome: Outcome =
        ending.cause === 'cancelled'
          ? { kind: 'cancelled', reason: cancelReason }
          : { kind: 'timed_out', limit: 'wall_ms', limit_ms: limits.wall_ms };
      return { outcome, usage: { wall_ms: Math.round(ending.wallMs) } };
    }
    case 'reported': {
      const { report } = ending;
      const usage: Usage = {
        wall_ms: Math.round(report.wallMs),
        cpu_ms: Math.round(report.cpuMs),
        ...(report.memoryPeakBytes === null ? {} : { memory_peak_bytes: report.memoryPeakBytes }),
      };
      return { outcome: reportedOutcome(report, plan, cancelReason), usage };
    }
  }
}

/** What one reported ending means. */
export function reportedOutcome(
  report: Pick<Extract<Ending, { kind: 'reported' }>['report'], 'cause' | 'exitCode' | 'signal' | 'oomKills' | 'cpuMs'>,
  { limits }: RunPlan,
  cancelReason: CancelReason,
): Outcome {
  switch (report.cause) {
    case 'wall_ms':
      return { kind: 'timed_out', limit: 'wall_ms', limit_ms: limits.wall_ms };
    case 'cpu_ms':
      return { kind: 'timed_out', limit: 'cpu_ms', limit_ms: limits.cpu_ms };
    case 'output_bytes':
      return { kind: 'output_limit', limit_bytes: limits.output_bytes };
    case 'cancelled':
      return { kind: 'cancelled', reason: cancelReason };
    case null:
      break;
  }
  if (report.signal !== null) {
    const { SIGKILL, SIGXCPU } = constants.signals;
    if (report.signal === SIGKILL && (report.oomKills ?? 0) > 0) {
      return { kind: 'out_of_memory', limit_bytes: limits.memory_bytes };
    }
    if ((report.signal === SIGXCPU || report.signal === SIGKILL) && report.cpuMs >= limits.cpu_ms) {
      return { kind: 'timed_out', limit: 'cpu_ms', limit_ms: limits.cpu_ms };
    }
    return { kind: 'signaled', signal: signalName(report.signal), signal_number: report.signal };
  }
  return { kind: 'exited', exit_code: report.exitCode ?? 255 };
}

const WORK = '/work/';

/** @param text message, file and traceback, as exception_details.py wrote them; or anything the program put there. */
function exceptionOf(type: string, text: string, line: number): ProgramException {
  const [message = '', file = '', traceback = ''] = text.split('\0');
  const isOfProject = file.startsWith(WORK) && file.length > WORK.length;
  return {
    type,
    message,
    ...(isOfProject ? { file: file.slice(WORK.length) } : {}),
    ...(isOfProject && line > 0 ? { line } : {}),
    traceback,
  };
}

/** What is worth a word beside how the run ended. */
export function noticedIn(
  { oomKills, unseenDisplays, valueOmittedBytes }: Extract<Ending, { kind: 'reported' }>['report'],
  { displays, inputs }: RunPlan,
): Noticed {
  return {
    // Each of many inputs has an outcome of its own.
    ...(inputs ? {} : { memoryKills: oomKills ?? 0 }),
    unseenDisplays: displays !== undefined && unseenDisplays === true,
    resultOmittedBytes: valueOmittedBytes ?? 0,
  };
}

/** What a program that ended by itself said about itself. */
export function programReportOf(ending: Ending): ProgramReport {
  return ending.kind === 'reported' ? saidIn(ending.report) : {};
}

/** What one reported ending says. */
export function saidIn({
  cause,
  value,
  exception,
  details,
  exitCode,
}: Pick<
  Extract<Ending, { kind: 'reported' }>['report'],
  'cause' | 'value' | 'exception' | 'details' | 'exitCode'
>): ProgramReport {
  if (cause !== null) return {};
  return {
    ...(typeof value === 'string' && exitCode === 0 ? { result: value } : {}),
    ...(exception && exitCode !== 0
      ? {
          error_type: exception.type,
          ...(exception.line === null ? {} : { error_line: exception.line }),
          ...(details ? { exception: exceptionOf(exception.type, ...details) } : {}),
        }
      : {}),
  };
}
