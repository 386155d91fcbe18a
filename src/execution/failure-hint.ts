/**
 * A sentence about what to try next, where the failure is one we know. Pure.
 *
 * Made from the outcome, the exception that ended the program and the end of stderr, which
 * the program controls: a hint may be wrong, so it never changes what is reported.
 */
import { sentencesOn } from '../dependencies/advisories/advisory-findings.ts';
import { packageOf } from '../dependencies/imported-packages.ts';
import { STANDARD_MODULES } from '../dependencies/standard-modules.ts';
import type { AdvisoryReport } from '../domain/advisories.ts';
import type { ProgramException } from '../domain/program-report.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { RunPlan } from '../domain/plan.ts';

const STDERR_TAIL_CHARS = 4_000;
const NETWORK_FAILURE =
  /Network is unreachable|Temporary failure in name resolution|Name or service not known|ENETUNREACH/;
const TRACEBACK = 'Traceback (most recent call last):\n';
const GROUP = `  + Exception Group ${TRACEBACK}`;
/** What Python writes between the tracebacks of one chain. */
const CHAINED =
  /\n(?:During handling of the above exception, another exception occurred|The above exception was the direct cause of the following exception):\s*$/;
const ENDED_FOR_MEMORY =
  'A process of the program was ended because the memory ran out. Raise limits.memory_bytes, or process the data in parts.';
const UNSEEN_DISPLAYS =
  'Figures and display() do not come back from an interpreter that is started anew: after pre_commands, with variables such as PYTHON* and LC_*, or by the program itself (subprocess). Save them as files and ask for artifacts, or do without.';

export interface Signs {
  /** The end of it. */
  readonly stderr: string;
  readonly exception?: ProgramException;
  /** How many processes the kernel ended because the memory ran out. */
  readonly memoryKills?: number;
  /** It says that it shows something, and ran where nothing that is shown is seen. */
  readonly unseenDisplays?: boolean;
  /** What is known of its packages. */
  readonly advisories?: AdvisoryReport | undefined;
}

export function failureHint(outcome: Outcome, signs: Signs, plan: RunPlan): string | undefined {
  const hints = [hintOf(outcome, signs, plan), signs.unseenDisplays ? UNSEEN_DISPLAYS : undefined];
  return hints.filter((hint) => hint !== undefined).join(' ') || undefined;
}

function hintOf(outcome: Outcome, signs: Signs, plan: RunPlan): string | undefined {
  const isShortOfMemory = (signs.memoryKills ?? 0) > 0;
  switch (outcome.kind) {
    case 'timed_out':
      if (isShortOfMemory) return `${ENDED_FOR_MEMORY} Others may have waited for it up to the limit.`;
      return outcome.limit === 'wall_ms'
        ? 'The output up to the limit was kept. Raise limits.wall_ms, or do less per run.'
        : 'Raise limits.cpu_ms, or do less per run.';
    case 'out_of_memory':
      return 'Raise limits.memory_bytes, or process the data in parts; files in /work and /tmp count as memory.';
    case 'output_limit':
      return 'Print less, raise limits.output_bytes, or leave on_overflow at "truncate".';
    case 'exited':
      if (isShortOfMemory) return ENDED_FOR_MEMORY;
      return outcome.exit_code === 0 ? undefined : exitHint(signs, plan);
    case 'signaled':
      if (isShortOfMemory) return ENDED_FOR_MEMORY;
      return outcome.signal === 'SIGSEGV' ? 'The interpreter crashed in native code.' : undefined;
    case 'queue_timeout':
      return 'The program was not started. Send it again, or give it longer with queue_timeout_ms.';
    case 'infrastructure_error':
      if (outcome.code !== 'advisory_findings' || !signs.advisories) return undefined;
      return `The program was not started. ${sentencesOn(signs.advisories) ?? ''}`.trim();
    case 'cancelled':
    case 'interrupted':
      return undefined;
  }
}

/** The tracebacks of the exception that ended the program; all of a stderr that has none. */
function lastChain(stderr: string): string {
  const group = stderr.lastIndexOf(GROUP);
  if (group >= 0) return stderr.slice(group);
  let begin = stderr.lastIndexOf(TRACEBACK);
  if (begin < 0) return stderr;
  while (CHAINED.test(stderr.slice(0, begin))) {
    const before = stderr.lastIndexOf(TRACEBACK, begin - 1);
    if (before < 0) return stderr;
    begin = before;
  }
  return stderr.slice(begin);
}

/** What is known by a pattern of what the program ended with; the first one counts. */
const KNOWN: readonly (readonly [RegExp, string])[] = [
  [
    /\bpip3?\b['", ]+install\b|No such file or directory: 'pip3?'|No module named '?pip\b|\bpip3?: (?:command )?not found/,
    'Runs cannot install packages: name them in requirements.',
  ],
  [
    /Cannot load backend '|TclError: (?:no display name|couldn't connect to display)|Qt binding modules|DISPLAY environment variable|(?:cannot|could not) connect to (?:X server|display)/,
    'There is no screen. Without matplotlib.use() figures are drawn, and plt.show() sends them.',
  ],
  [
    /\n {4}[%!][^\n]*\n[^\n]*\nSyntaxError: invalid syntax\b/,
    'Lines that begin with % or ! are for notebooks, not Python; packages are named in requirements, and plt.show() needs no %matplotlib.',
  ],
  [/unknown file extension: \.(?:mp4|mov|avi|webm|mkv|m4v)\b/, 'There is no ffmpeg: save animations as .gif.'],
  [/latex could not be found/, 'There is no LaTeX: without text.usetex, formulas between $ are drawn all the same.'],
  [
    /has no attribute 'run_(?:line|cell)_magic'|name 'get_ipython' is not defined/,
    'There is no notebook: leave out get_ipython(); packages are named in requirements, and plt.show() needs no setting.',
  ],
  [
    /SyntaxError: 'await' outside function/,
    'There is no event loop outside of functions, as in a notebook: use asyncio.run(main()).',
  ],
  [
    /No space left on device/,
    'The file system of the run is full: /work holds limits.disk_bytes, and all else is read-only.',
  ],
  [/\[Errno 27\] File too large/, 'A file may have limits.disk_bytes.'],
  [/Read-only file system/, 'Only /work and /tmp can be written.'],
  [/EOFError: EOF when reading a line/, 'The program reads stdin; send the text as stdin.'],
  [
    /can't start new thread|BlockingIOError: \[Errno 11\] Resource temporarily unavailable/,
    'The run is at its limit of processes and threads: raise limits.pids, or start fewer.',
  ],
  [/\[Errno 24\] Too many open files/, 'Raise limits.open_files, or close files that are not needed any more.'],
  [/^(?:\w+\.)*\w*MemoryError\b/m, 'Raise limits.memory_bytes, or process the data in parts.'],
];

function exitHint({ stderr, exception }: Signs, plan: RunPlan): string | undefined {
  const text = lastChain(stderr.slice(-STDERR_TAIL_CHARS));
  const told = exception ? `${text}\n${exception.type}: ${exception.message}` : text;
  const missing = /No module named '([^']{1,100})'; '[^']+' is not a package/.test(told)
    ? undefined
    : (/ModuleNotFoundError: No module named '([^']{1,100})'/.exec(told)?.[1] ??
      /Missing optional dependency '([\w.-]{1,100})'/.exec(told)?.[1]);
  if (missing !== undefined) {
    const hint = missingHint(missing, plan);
    if (hint !== undefined) return hint;
  }
  if (plan.shape.network === 'none' && NETWORK_FAILURE.test(told)) {
    return 'Runs have no network; send the data with the project instead.';
  }
  return KNOWN.find(([pattern]) => pattern.test(told))?.[1];
}

function missingHint(missing: string, plan: RunPlan): string | undefined {
  const { image } = plan.shape;
  const [top = missing] = missing.split('.');
  if (top === 'pip') return undefined;
  // Python names the first part that is missing.
  if (top !== missing) {
    return `The module ${missing} is not in the ${top} that is there, the project's or that of the image ${image}: a file is missing, or another version is meant.`;
  }
  if (top === 'IPython') {
    return `IPython is not in the image ${image}. display() is there without an import, also display({'text/html': '<b>bold</b>'}, raw=True), and figures are shown by plt.show().`;
  }
  if (STANDARD_MODULES.has(top)) {
    const other = top === 'distutils' ? ' The package setuptools brings it back: name it in requirements.' : '';
    return `The module ${missing} belongs to Python's standard library, but not in the image ${image}: newer versions of Python lack some modules.${other}`;
  }
  const name = packageOf(top);
  const called = name === missing ? '' : ` (on the index: ${name})`;
  return `The module ${missing}${called} is neither in the project nor in the image ${image}. Name it in requirements, or an image of GET /api/v1/images that has it.`;
}
