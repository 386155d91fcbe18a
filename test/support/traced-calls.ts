/**
 * System calls that change files, as strace saw a process make them: which began and which returned, in order.
 */
import { join, resolve } from 'node:path';

/** strace takes them; a call that changes files and is not among them would go unseen. */
const TRACED = [
  ...['write', 'pwrite64', 'writev', 'pwritev', 'pwritev2', 'ftruncate', 'truncate', 'fallocate'],
  ...['open', 'openat', 'openat2', 'creat', 'mkdir', 'mkdirat', 'mknod', 'mknodat', 'link', 'linkat', 'symlink'],
  ...['symlinkat', 'rename', 'renameat', 'renameat2', 'unlink', 'unlinkat', 'rmdir', 'fsync', 'fdatasync', 'msync'],
  ...['sync_file_range', 'copy_file_range', 'sendfile', 'splice', 'io_uring_setup', 'io_submit', 'mmap', 'dup', 'dup2'],
];

/** Writes the calls of `command` and all its threads to `trace`, with every byte. */
export const straceCommand = (trace: string, command: readonly string[]): readonly string[] => [
  ...['strace', '-f', '-y', '-xx', '--seccomp-bpf', '-s', String(1 << 24), '-e', `trace=${TRACED.join(',')}`],
  ...['-e', 'signal=none', '-o', trace, ...command],
];

/** A place in the trace: the call began, or it returned. */
export interface Moment {
  readonly at: 'began' | 'returned';
  readonly call: Call;
}

export interface Call {
  readonly name: string;
  /** Its arguments as strace prints them. */
  readonly text: string;
  /** What it returned; undefined while it has not, below zero when it failed. */
  result: number | undefined;
}

const LINE = /^(\d+) +(?:(\w+)\((.*)|<\.\.\. (\w+) resumed>(.*))$/;
const RETURNED = /\) += (-?\d+|\?|0x[0-9a-f]+)(?:<[^>]*>)?(?: .*)?$/;
const UNFINISHED = / <unfinished \.\.\.>$/;

/** The moments of a trace in their order. */
export function* momentsOf(trace: string): Generator<Moment, void, void> {
  const open = new Map<string, { call: Call; text: string }>();
  for (let start = 0; start < trace.length;) {
    let end = trace.indexOf('\n', start);
    if (end === -1) end = trace.length;
    const [, pid = '', name, rest = '', , tail = ''] = LINE.exec(trace.slice(start, end)) ?? [];
    start = end + 1;
    if (pid === '') continue;
    if (name !== undefined) {
      const call: Call = { name, text: rest.replace(UNFINISHED, ''), result: undefined };
      yield { at: 'began', call };
      if (UNFINISHED.test(rest)) open.set(pid, { call, text: '' });
      else yield returned(call, rest);
    } else {
      const begun = open.get(pid);
      open.delete(pid);
      if (begun) yield returned(begun.call, tail);
    }
  }
}

function returned(call: Call, text: string): Moment {
  const [, result = '?'] = RETURNED.exec(text.slice(-2000)) ?? [];
  if (result !== '?') call.result = Number(result);
  return { at: 'returned', call };
}

const STRING = /"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?/g;
const unescaped = (text: string) => Buffer.from(text.replaceAll('\\x', ''), 'hex');

/** The strings among its arguments, as bytes. */
export function stringsOf({ text, name }: Call): readonly Buffer[] {
  return [...text.matchAll(STRING)].map(([, hex = '', cut]) => {
    if (cut !== undefined) throw new Error(`the trace has only the beginning of what ${name} wrote`);
    return unescaped(hex);
  });
}

/** The descriptor a call is about first, and what it is open on. */
export function descriptorOf({ text }: Call): { readonly number: number; readonly path: string } {
  const [, number = '-1', path = ''] = /^(\d+)<([^>]*)>/.exec(text) ?? [];
  return { number: Number(number), path: nameIn(path) };
}

/** What `-y` says a descriptor is open on. */
const nameIn = (text: string) => text.replaceAll(/(?:\\x[0-9a-f]{2})+/g, (hex) => unescaped(hex).toString());

/** The paths a call names, absolute. */
export function pathsOf(call: Call): readonly string[] {
  const named = /(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:\\x[0-9a-f]{2})*)"/g;
  return [...call.text.matchAll(named)].map(([, directory = '/', path = '']) =>
    resolve(join('/', nameIn(directory)), unescaped(path).toString()),
  );
}

/** The number an argument is that comes last: an offset, a length. */
export const lastNumberOf = ({ text }: Call): number => Number(/(\d+)\)? *(?:=.*)?$/.exec(text)?.[1] ?? NaN);
