"""The process the program will run in: forked before the program arrives, waiting for it.

The program must find itself as under `python3 entry.py`, down to its outermost
frame. So it is run by the very C function CPython's main uses, called from C: this
file ends in the child, the interpreter's own main goes on to its interactive hook,
and the hook is PyRun_AnyFileExFlags itself. No Python frame of ours lies below.
CPython consults the hook when PYTHONINSPECT is set and stdin is a terminal, which
is why the child holds a pseudo-terminal until it has something to run.

In PID 1 the file supervisor.py follows, in the same namespace.
"""

SET_UP_FAILED = 71
# Its end of the socket to PID 1; closed before the program runs.
GO_DESCRIPTOR = 3
# What is read of the program's file at first.
USUAL_BYTES = 1 << 14
LIMITS_OF_RUNS = (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)
RECURSIVE_CALLS = 4
# Touches the pages a first program needs, while nobody waits.
EXERCISE = """
import keyword as k
class A(dict):
    at = property(lambda self: 1)
    def f(self, *a, b=None, **c):
        with open('/dev/null', 'w') as n:
            print(f'{a!r:>9}', '%s %5.2f' % (b, 1.5), *c.items(), sep=', ', file=n)
        return [x ** 2 for x in sorted(a, key=lambda y: -y) if x] + list({*a}) + list(map(str, range(300)))
def g(n):
    for i, x in enumerate(' a b '.strip().split()):
        yield from (i, x.encode().decode(), n and [*g(n - 1)])
try:
    A(a=1).f(1, 2, b='x', **{'k': b'y'}), list(g(2)), A().at, eval('2**99//7'), {}['missing']
except (KeyError, ZeroDivisionError) as e:
    str(e), repr(e), isinstance(e, Exception), int('12') + float('1.5')
"""


class Child:
    """The child and, in PID 1, the other ends of its pipes. `pid` is 0 in the child."""

    def __init__(self, preimports):
        self.preimports = preimports
        self.stdin_read, self.stdin_write = os.pipe()
        self.stdout_read, self.stdout_write = os.pipe()
        self.stderr_read, self.stderr_write = os.pipe()
        self.go_read, self.go = socket_pair()
        # Shared with the child, so that the program finds no descriptor it did not open.
        self.notes = Notes()
        # What was freed and is not given back, the child would have to give back when it ends.
        LIBC.malloc_trim(0)
        self.pid = os.fork()
        if self.pid:
            for descriptor in (self.stdin_read, self.stdout_write, self.stderr_write, self.go_read):
                os.close(descriptor)
            never_wait(self)
            return
        try:
            self.take_descriptors()
            if self.terminal is None:
                self.tell_ready("")
                self.wait_for_program()
            self.write_lines()
            problem = self.preimports.bring() if self.preimports.names else ""
            self.become_interactive()
            self.exercise()
            self.set_aside()
            own_pages(only_where_it_takes_long=True)
            self.tell_ready(problem)
        except BaseException as problem:
            self.fail(problem)

    @staticmethod
    def fail(problem):
        os.write(2, ("the program could not be started: %r\n" % (problem,)).encode())
        os._exit(SET_UP_FAILED)

    def take_descriptors(self):
        """Leaves the terminal on 0, the program's pipes on 1 and 2, its stdin on 4 until it begins."""
        os.setsid()
        try:
            self.terminal = os.openpty()
        except OSError:
            # Pseudo-terminals are counted for the whole machine, and somebody holds them all: an interpreter is executed.
            self.terminal = None
        os.dup2(self.stdin_read if self.terminal is None else self.terminal[1], 0)
        os.dup2(self.stdout_write, 1)
        os.dup2(self.stderr_write, 2)
        # Both targets are below every descriptor still needed, or are that descriptor's own copy.
        program_stdin = os.dup(self.stdin_read)
        os.dup2(self.go_read, GO_DESCRIPTOR, inheritable=False)
        os.dup2(program_stdin, GO_DESCRIPTOR + 1, inheritable=False)
        # The master end stays open on 5: a hung-up terminal is still a terminal, but not everywhere.
        if self.terminal is not None:
            os.dup2(self.terminal[0], GO_DESCRIPTOR + 2, inheritable=False)
        os.closerange(GO_DESCRIPTOR + 3, 256)

    @staticmethod
    def write_lines():
        """As at a terminal: a line is written when it is complete. stdin and stderr are as they should be."""
        stream = open(1, "w", buffering=1, closefd=False, encoding=sys.stdout.encoding, errors=sys.stdout.errors)
        stream.buffer.raw.name = "<stdout>"
        stream.mode = "w"
        sys.stdout = sys.__stdout__ = stream

    def exercise(self):
        """Does once what the way to a program's first line does: the pages are then this process's own."""
        known = frozenset(sys.modules)
        exec(compile(EXERCISE, "", "exec"), {})
        marshal.loads(marshal.dumps({"args": ["a"], "environment": {"A": "b"}, "rlimits": [(1, (2, 3))]}))
        self.importer_of(WORK + "/main.py")
        os.path.dirname(os.path.realpath(WORK + "/main.py"))
        self.proc_view.read_layout()
        self.proc_view.show({"command": [b"", b"python3"], "environment": {"A": "b"}})
        for name in [name for name in sys.modules if name not in known]:
            del sys.modules[name]

    def set_aside(self):
        """Takes what is there before the program out of the garbage collector's sight: the interpreter's end
        would go through all of it two or three times, for half of what that end costs.

        A program that imports gc finds everything in sight, as under a new interpreter; not what
        was imported beforehand.
        """
        for name in [name for name in sys.modules if name not in self.preimports.modules]:
            del sys.modules[name]
        collector = __import__("gc")
        if not self.preimports.names:
            del sys.modules["gc"]
            self.show_all_to_who_imports(collector)
        collector.collect()
        collector.freeze()
        # The program's own globals are looked at: cycles through them have finalizers to run.
        main = type(sys)("__main__")
        old = vars(sys.modules["__main__"])
        vars(main).update({name: value for name, value in old.items() if name in MAIN_NAMES})
        sys.modules["__main__"] = main

    @staticmethod
    def show_all_to_who_imports(collector):
        importer = sys.modules["_frozen_importlib"].BuiltinImporter
        original = vars(importer)["find_spec"]
        find = original.__func__

        def find_spec(cls, fullname, path=None, target=None):
            if fullname == "gc":
                importer.find_spec = original
                collector.unfreeze()
            return find(cls, fullname, path, target)

        find_spec.__code__ = find_spec.__code__.replace(co_filename="<frozen importlib._bootstrap>")
        importer.find_spec = classmethod(find_spec)

    def tell_ready(self, problem):
        os.write(GO_DESCRIPTOR, b"%4d" % len(problem.encode()) + problem.encode())

    def await_ready(self):
        """In PID 1: waits until the child waits; what it could not prepare, or an empty text."""
        length = os.read(self.go, 4)
        if len(length) < 4:
            return "the waiting child ended"
        return os.read(self.go, int(length)).decode("utf-8", "replace") if int(length) else ""

    def become_interactive(self):
        child = self

        class Beginning:
            @staticmethod
            def from_param(_):
                return ctypes.py_object(child.wait_for_program())

        class ExitStatus:
            @staticmethod
            def from_param(result):
                return ctypes.c_int(child.end.exit_status(result))

        api = ctypes.PyDLL(None)
        leave = api.Py_Exit
        leave.argtypes = [ExitStatus]
        self.run_file = api.PyRun_AnyFileExFlags
        self.run_file.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
        self.run_file.restype = leave
        self.second_main = SecondMain(api)
        begin = api.PyObject_CallObject
        begin.argtypes = [Beginning, ctypes.c_void_p]
        begin.restype = ctypes.py_object
        self.open_file = api.fopen
        self.open_file.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
        self.open_file.restype = ctypes.c_void_p
        self.importer_of = api.PyImport_GetImporter
        self.importer_of.argtypes = [ctypes.py_object]
        self.importer_of.restype = ctypes.py_object
        self.leave_recursive_call = api.Py_LeaveRecursiveCall
        self.proc_view = ProcView(api)
        self.end = ProgramEnd(api, self.notes)
        self.interactive_hook = getattr(sys, "__interactivehook__", None)
        os.environ["PYTHONINSPECT"] = "1"
        sys.__interactivehook__ = _functools.partial(begin, None, None)

    def wait_for_program(self):
        """Waits, becomes what the program expects, returns what C is to call to run it."""
        try:
            self.told = b""
            os.umask(0o022)
            os.chdir(WORK)
            self.limits = {which: resource.getrlimit(which) for which in LIMITS_OF_RUNS}
            if self.hear(1) == b"S":
                self.take_input(InputForks(self.preimports).serve())
                self.hear(1)
            program = self.hear_value()
            self.become_program(program)
            program.update(self.hear_value())
            return self.prepare(program)
        except BaseException as problem:
            self.fail(problem)

    def take_input(self, descriptors):
        """In the process of an input: the descriptors are where a single program's child has them."""
        # Another input may have changed them under a runtime without our filter.
        self.limits = {}
        stdin, stdout, stderr, go = descriptors
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.dup2(go, GO_DESCRIPTOR, inheritable=False)
        os.dup2(stdin, GO_DESCRIPTOR + 1, inheritable=False)
        os.closerange(GO_DESCRIPTOR + 3, 256)

    def hear(self, size):
        """The next bytes of what PID 1 says; what comes with them is kept for the next call."""
        while len(self.told) < size:
            part = os.read(GO_DESCRIPTOR, 1 << 16)
            if not part:
                os._exit(0)
            self.told += part
        heard, self.told = self.told[:size], self.told[size:]
        return heard

    def hear_value(self):
        length = int.from_bytes(self.hear(4), "big")
        return marshal.loads(self.hear(length))

    def wait_for_go(self):
        """Waits until the program may begin; then nothing connects this process to PID 1 but the program's pipes."""
        self.hear(1)
        os.closerange(GO_DESCRIPTOR, GO_DESCRIPTOR + 3)

    def become_program(self, program):
        """All that needs no file of the project, which PID 1 unpacks meanwhile."""
        os.dup2(GO_DESCRIPTOR + 1, 0)
        # By the child itself: the filter lets no process set the limits of another one, PID 1 among them.
        for which, limits in program["rlimits"]:
            if self.limits.get(which) != limits:
                resource.setrlimit(which, limits)
        if program["fresh"] or self.terminal is None:
            return
        os.environ.clear()
        os.environ.update(program["environment"])
        if "TZ" in program["environment"]:
            time.tzset()
        self.end.pid = os.getpid()
        self.proc_view.show(program)

    def prepare(self, program):
        entry = program["entry"]
        absolute = os.path.join(WORK, entry)
        folder = os.path.dirname(os.path.realpath(absolute) if program["has_links"] else absolute)
        self.forget_importers()
        start = b""
        is_script = program["is_script"] and not program["fresh"]
        if is_script:
            start = self.start_of(absolute)
            is_script = not self.is_archive(absolute, start)
        must_be_fresh = program["fresh"] or not (is_script or self.second_main.is_there)
        if must_be_fresh or self.terminal is None or self.preimports.could_differ(folder):
            _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
            _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
            if program["displays"] and says_it_shows():
                self.notes.say_unseen(UNSEEN)
            self.wait_for_go()
            os.execve(program["command"][0], program["command"][1:], program["environment"])
        self.end.script_path = absolute if is_script else None
        if is_script:
            begin = self.script(absolute)
            sys.argv = [entry] + program["args"]
            if hasattr(sys, "orig_argv"):
                sys.orig_argv = ["python3", entry] + program["args"]
            sys.path[0] = folder
        else:
            begin = self.second_main.prepare(program, self.end.note_exception)
        if self.interactive_hook is None:
            del sys.__interactivehook__
        else:
            sys.__interactivehook__ = self.interactive_hook
        main = sys.modules["__main__"].__dict__
        for name in [name for name in main if name not in MAIN_NAMES]:
            del main[name]
        for name in [name for name in sys.modules if name not in self.preimports.modules]:
            del sys.modules[name]
        # What lies in C between here and main counts as depth of recursion; the program begins at none.
        for _ in range(RECURSIVE_CALLS):
            self.leave_recursive_call()
        if program["displays"]:
            if not is_script and os.path.isfile(main_file(program)):
                start = self.start_of(main_file(program))
            self.end.watch = DisplayWatch(start)
            if any(word in start for word in STARTING) and says_it_shows(CALLS_TO_SHOW):
                self.notes.say_unseen(UNSEEN_IF_NOTHING_CAME)
        self.wait_for_go()
        self.preimports.renew()
        if program["last_value"] and is_script:
            self.end.run_for_the_last_value(absolute)
        return begin

    def script(self, path):
        """What C is to call to run the file."""
        name = os.fsencode(path)
        opened = self.open_file(name, b"rb")
        if not opened:
            raise OSError("cannot open %s" % path)
        return _functools.partial(self.run_file, opened, name, 1, None)

    def forget_importers(self):
        for known in [known for known in sys.path_importer_cache if known not in self.preimports.importer_paths]:
            del sys.path_importer_cache[known]

    @staticmethod
    def start_of(path):
        """The file's first bytes; all of a usual one. A large buffer would be a mapping made and unmade."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            start = os.read(descriptor, USUAL_BYTES)
            return start if len(start) < USUAL_BYTES else start + os.read(descriptor, SEARCHED_BYTES - USUAL_BYTES)
        finally:
            os.close(descriptor)

    def is_archive(self, path, start):
        """Asks what CPython's main asks of every file, and leaves the same in sys.path_importer_cache.

        zipimport would look for the end of a central directory; where the whole file is known
        not to have one, it is not asked.
        """
        if len(sys.path_hooks) == 2 and len(start) < SEARCHED_BYTES and b"PK\5\6" not in start:
            sys.path_importer_cache[path] = None
            return False
        return self.importer_of(path) is not None


CHILD = Child(Preimports(PREIMPORTS))
