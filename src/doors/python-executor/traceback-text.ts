/**
 * Which exception ended a program, read off the end of its stderr. Pure.
 *
 * For programs that ran in an interpreter of their own and could not tell us
 * otherwise. The program controls the text, so it may say anything; nothing but
 * `error_type` and `error_line` is made of it.
 */
const FRAME = /^ {2}File "(.*)", line (\d{1,9})(?:, in .*)?$/;
const TRACEBACK = 'Traceback (most recent call last):';
const EXCEPTION = /^(?:[\p{L}_][\p{L}\p{N}_]*\.)*([\p{L}_][\p{L}\p{N}_]*)(?::(?: .*)?)?$/u;
/** A traceback that ends a program is at the end of what it said. */
const TAIL_CHARS = 65_536;

export interface TracebackEnd {
  readonly error_type: string;
  /** The line of the outermost frame in a file of the project; absent when there is none. */
  readonly error_line?: number;
}

export function tracebackEnd(stderr: string, folder = '/work/'): TracebackEnd | undefined {
  const lines = stderr.slice(-TAIL_CHARS).split('\n');
  const lastFrame = lines.findLastIndex((line) => FRAME.test(line));
  if (lastFrame === -1) return undefined;
  const said = lines.slice(lastFrame + 1).find((line) => line !== '' && !line.startsWith(' '));
  const type = said === undefined ? undefined : EXCEPTION.exec(said)?.[1];
  if (type === undefined) return undefined;
  const first = lines.slice(0, lastFrame).lastIndexOf(TRACEBACK) + 1;
  const frames = lines.slice(first, lastFrame + 1).flatMap((line) => {
    const [, file, number] = FRAME.exec(line) ?? [];
    return file?.startsWith(folder) ? [Number(number)] : [];
  });
  // A syntax error has no frame of the program: its line is where the text is wrong.
  const line = frames[0];
  return line === undefined ? { error_type: type } : { error_type: type, error_line: line };
}
