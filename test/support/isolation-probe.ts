/**
 * What the isolation tests run: small Python programs that try something and tell
 * what came of it, as one JSON object on stdout.
 *
 * The same text runs inside a sandbox and, as its control, in a container that
 * lacks the guard under test (isolation-control.ts). A probe never does harm when
 * it succeeds: it opens without writing, or passes arguments that the kernel
 * refuses only after it has checked for permission.
 */

/** What a probe found: `done`, the name of an errno or exception, or whatever it noted. */
export type Facts = Readonly<Record<string, unknown>>;

const PRELUDE = `
import ctypes, errno, json, os, platform, signal, stat, subprocess, sys, time
facts = {}
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def outcome(action):
    try:
        action()
    except OSError as problem:
        return errno.errorcode.get(problem.errno, repr(problem))
    except BaseException as problem:
        return type(problem).__name__
    return 'done'

def attempt(name, action):
    facts[name] = outcome(action)

def syscall(x86_64, aarch64, *arguments):
    "The result of a system call by its number on either architecture; raises OSError."
    number = x86_64 if platform.machine() == 'x86_64' else aarch64
    if number is None:
        raise OSError(errno.ENOSYS, 'not on this architecture')
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *passed)
    if result == -1:
        raise OSError(ctypes.get_errno(), 'syscall %d' % number)
    return result

def opened(path, flags=os.O_RDONLY):
    os.close(os.open(path, flags | os.O_CLOEXEC))

def in_child(action):
    "What became of a forked child: its exit status as 0-255, or the name of the signal that ended it."
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(action() or 0)
        except BaseException:
            os._exit(99)
    _, status = os.waitpid(pid, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
`;

/** A program out of statements that call `attempt` or write to `facts`. */
export function probe(statements: string): string {
  return `${PRELUDE}\n${statements}\nprint(json.dumps(facts), flush=True)\n`;
}

/**
 * The facts a probe printed.
 * @throws {Error} when it printed anything else, with what it said.
 */
export function factsOf(run: { readonly stdout: string; readonly stderr: string }): Facts {
  const last = run.stdout.trimEnd().split('\n').at(-1) ?? '';
  let facts: unknown;
  try {
    facts = JSON.parse(last);
  } catch (cause) {
    throw new Error(`the probe printed no facts:\n${run.stdout.slice(-2000)}\n${run.stderr.slice(-4000)}`, { cause });
  }
  if (typeof facts !== 'object' || facts === null) throw new Error('the facts are not an object');
  return { ...facts };
}
