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
KEYBOARD_INTERRUPT_STATUS = 130
# Its end of the socket to PID 1; closed before the program runs.
GO_DESCRIPTOR = 3
# Where the child leaves what it knows of its own end, and how long each of the two texts may be.
NOTE_BYTES = 1 << 20
EXCEPTION_NOTE = (0, 256)
DETAIL_NOTE = (512, 16384)
# Single bytes between the two: not zero when the program's last line has run and its interpreter ends; whether what
# the program says it shows is seen by nobody.
ENDING_NOTE, UNSEEN_NOTE = 511, 510
UNSEEN, UNSEEN_IF_NOTHING_CAME = 1, 2
VALUE_NOTE = (16896, NOTE_BYTES - 16896)
# compile() flags: the tree instead of code; and the part of co_flags that `from __future__` sets.
ONLY_AST = 0x400
FUTURE_FLAGS = 0x1FF0000
# prctl(2), and the fields of /proc/self/stat its memory map begins with: code, data, heap; then the stack.
PR_SET_MM, PR_SET_MM_MAP = 35, 14
# prctl(2): where the kernel keeps the number of this thread for the C library.
PR_GET_TID_ADDRESS = 40
# clone(2), where it is known: its number, and whether the address of the thread's number comes before the other or after it.
CLONE = {"x86_64": (56, 1), "aarch64": (220, -1)}.get(os.uname().machine)
# As fork(3): CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID and SIGCHLD; and CLONE_PARENT.
CLONE_FLAGS = 0x01000000 | 0x00200000 | 17 | 0x00008000
# What is read of the program's file at first.
USUAL_BYTES = 1 << 14
LIMITS_OF_RUNS = (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)
LAYOUT_FIELDS = (26, 27, 45, 46, 47)
STACK_FIELD = 28
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
        self.notes = mmap.mmap(-1, NOTE_BYTES)
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
        self.read_layout()
        self.show_in_proc({"command": [b"", b"python3"], "environment": {"A": "b"}})
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
                return ctypes.c_int(child.exit_status(result))

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
        # Function objects are made anew by each subscription: this one takes a plain status.
        self.leave_with = api["Py_Exit"]
        self.importer_of = api.PyImport_GetImporter
        self.importer_of.argtypes = [ctypes.py_object]
        self.importer_of.restype = ctypes.py_object
        self.leave_recursive_call = api.Py_LeaveRecursiveCall
        self.allocate, self.end_of_heap, self.prctl = api.malloc, api.sbrk, api.prctl
        self.allocate.restype = self.end_of_heap.restype = ctypes.c_void_p
        self.call_at_exit = api["__cxa_atexit"]
        self.end_process = api["exit"]
        self.end_process.argtypes = [ctypes.c_int]
        self.usual_output = type(sys.stdout)
        self.raise_address = ctypes.cast(api["raise"], ctypes.c_void_p)
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
                self.fork_for_inputs()
                self.hear(1)
            program = self.hear_value()
            self.become_program(program)
            program.update(self.hear_value())
            return self.prepare(program)
        except BaseException as problem:
            self.fail(problem)

    def fork_for_inputs(self):
        """Gives PID 1 a process for each input; returns in each of them, never in this one.

        A fork from here has no frame of ours below it either. The next process is forked as soon as
        everything of the input before has ended, while PID 1 restores the files, and waits for its pipes.
        """
        import _socket

        set_dumpable(0)
        scheduling = own_scheduling()
        control = _socket.socket(fileno=GO_DESCRIPTOR)
        # Descriptors come with what is said next, which must not be read with what was said before.
        control.send(b"s")
        spare = self.fork_spare(_socket)
        while spare is not None:
            asked, passed, _, _ = control.recvmsg(1, 64)
            if not asked:
                os._exit(0)
            if asked in b"KE":
                is_alone = self.end_all_others()
                control.send(b"k" if is_alone else b"?")
                spare = self.fork_spare(_socket) if is_alone and asked == b"K" else ()
                continue
            descriptors = self.descriptors_of(passed)
            spare = spare or self.fork_spare(_socket)
            if spare is None:
                break
            to_it, pid, middle = spare
            if middle:
                # Until it has ended it is the program's parent.
                os.waitpid(middle, 0)
            if own_scheduling() != scheduling:
                control.send(bytes(4))
            else:
                to_it.sendmsg([b"F"], passed)
                control.send(pid.to_bytes(4, "big"))
            to_it.close()
            for descriptor in descriptors:
                os.close(descriptor)
        control.detach()

    def fork_spare(self, _socket):
        """A process that waits for the pipes of an input: (socket to it, its pid, the pid of one between the two or 0).

        In that process, once it has its pipes: None. It is PID 1's own child, because the kernel was asked for that
        or because the one in the middle ends at once.
        """
        ours, theirs = (_socket.socket(fileno=descriptor) for descriptor in socket_pair())
        pid, middle = self.fork_sibling(), 0
        if pid is None:
            middle = os.fork()
            if middle:
                pid = int.from_bytes(ours.recv(4), "big")
            else:
                pid = os.fork()
                if pid:
                    theirs.send(pid.to_bytes(4, "big"))
                    os._exit(0)
        if pid:
            theirs.close()
            return ours, pid, middle
        ours.close()
        self.begin_input()
        asked, passed, _, _ = theirs.recvmsg(1, 64)
        if not asked:
            os._exit(0)
        theirs.detach()
        self.take_input(self.descriptors_of(passed))
        return None

    def fork_sibling(self):
        """os.fork(), but the new process is PID 1's child; None where that cannot be had.

        The kernel is called past the C library, whose fork does more only for libraries that wish to be told of
        forks and for other threads: there are none unless something was imported beforehand.
        """
        thread = ctypes.c_void_p()
        if self.preimports.names or not CLONE or LIBC.prctl(PR_GET_TID_ADDRESS, ctypes.byref(thread), 0, 0, 0) != 0:
            return None
        api = ctypes.pythonapi
        number, order = CLONE
        addresses = [thread, None]
        api.PyOS_BeforeFork()
        pid = api.syscall(ctypes.c_long(number), ctypes.c_ulong(CLONE_FLAGS), None, None, *addresses[::order])
        if pid:
            api.PyOS_AfterFork_Parent()
        else:
            api.PyOS_AfterFork_Child()
        return None if pid < 0 else pid

    @staticmethod
    def descriptors_of(passed):
        rights = passed[0][2]
        return [int.from_bytes(rights[at : at + 4], sys.byteorder) for at in (0, 4, 8, 12)]

    @staticmethod
    def end_all_others():
        """Ends all processes but PID 1 and this one; whether there are none left, zombies included."""
        for _ in range(4000):
            try:
                os.kill(-1, _signal.SIGKILL)
            except ProcessLookupError:
                return True
            except OSError:
                pass
            time.sleep(0.0005)
        return False

    def begin_input(self):
        """In the process of the next input, while nothing else runs."""
        os.setsid()
        set_dumpable(1)
        try:
            descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
            os.write(descriptor, b"1000")
            os.close(descriptor)
        except OSError:
            pass
        numbers = sys.modules.get("numpy.random")
        if numbers is not None:
            numbers.seed()

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
        self.program_pid = os.getpid()
        self.show_in_proc(program)

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
                self.notes[UNSEEN_NOTE] = UNSEEN
            self.wait_for_go()
            os.execve(program["command"][0], program["command"][1:], program["environment"])
        self.script_path = absolute if is_script else None
        if is_script:
            begin = self.script(absolute)
            sys.argv = [entry] + program["args"]
            if hasattr(sys, "orig_argv"):
                sys.orig_argv = ["python3", entry] + program["args"]
            sys.path[0] = folder
        else:
            begin = self.second_main.prepare(program, self.note_exception)
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
            self.watch = DisplayWatch(start)
            if any(word in start for word in STARTING) and says_it_shows(CALLS_TO_SHOW):
                self.notes[UNSEEN_NOTE] = UNSEEN_IF_NOTHING_CAME
        else:
            self.watch = None
        self.wait_for_go()
        self.preimports.renew()
        if program["last_value"] and is_script:
            self.run_for_the_last_value(absolute)
        return begin

    def script(self, path):
        """What C is to call to run the file."""
        name = os.fsencode(path)
        opened = self.open_file(name, b"rb")
        if not opened:
            raise OSError("cannot open %s" % path)
        return _functools.partial(self.run_file, opened, name, 1, None)

    def read_layout(self):
        """Remembers where the kernel says that code, data, heap and stack begin."""
        self.layout = None
        try:
            with open("/proc/self/stat") as file:
                fields = [None] * 3 + file.read().rpartition(")")[2].split()
            self.layout = [int(fields[field]) for field in LAYOUT_FIELDS], int(fields[STACK_FIELD])
        except (OSError, ValueError, LookupError):
            pass

    def show_in_proc(self, program):
        """Makes /proc/self/cmdline and environ the program's own, not PID 1's. gVisor does not allow it."""
        if self.layout is None:
            return
        code_and_data, stack = self.layout
        try:
            command = b"".join(part + b"\0" for part in program["command"][1:])
            environment = b"".join(os.fsencode("%s=%s\0" % pair) for pair in program["environment"].items())
            start = self.allocate(len(command) + len(environment))
            ctypes.memmove(start, command + environment, len(command) + len(environment))
            layout = code_and_data + [self.end_of_heap(0), stack]
            middle, end = start + len(command), start + len(command) + len(environment)
            # No auxiliary vector, and -1 for no other executable.
            layout += [start, middle, middle, end, 0, 0xFFFFFFFF << 32]
            memory_map = (ctypes.c_uint64 * len(layout))(*layout)
            if self.prctl(PR_SET_MM, PR_SET_MM_MAP, memory_map, ctypes.c_ulong(ctypes.sizeof(memory_map)), 0) != 0:
                self.layout = None
        except OSError:
            pass

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

    def run_for_the_last_value(self, path):
        """Runs the file so that the value of its last expression is known. Does not return.

        The last expression is compiled as a prompt would: its value goes to
        sys.displayhook, no name is added to the program, and every line keeps its
        number. Frames of ours lie below; tracebacks are cut where ours end.
        """
        main = sys.modules["__main__"].__dict__
        loader = sys.modules["_frozen_importlib_external"].SourceFileLoader
        main.update(__file__=path, __cached__=None, __loader__=loader("__main__", path))

        def keep(value):
            if value is not None:
                self.note(VALUE_NOTE, repr(value))
                if self.watch:
                    self.watch.show_value(value)

        def run(source):
            tree = compile(source, path, "exec", ONLY_AST, True)
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], _ast.Expr) else None
            code = compile(tree, path, "exec", 0, True)
            exec(code, main)
            if last is not None:
                value = compile(_ast.Interactive([last]), path, "single", code.co_flags & FUTURE_FLAGS, True)
                hook, sys.displayhook = sys.displayhook, keep
                try:
                    exec(value, main)
                finally:
                    sys.displayhook = hook

        try:
            with open(path, "rb") as file:
                source = file.read()
            run(source)
        except SystemExit as exit:
            status = exit.code
            if status is not None and not isinstance(status, int):
                print(status, file=sys.stderr)
                status = 1
            self.leave_with(ctypes.c_int((status or 0) & 0xFF))
        except BaseException as problem:
            # Ours are the first frames, and `keep` before a repr() that failed.
            traceback = self.without_ours(problem.__traceback__)
            problem = problem.with_traceback(traceback)
            sys.last_type, sys.last_value, sys.last_traceback = type(problem), problem, traceback
            try:
                sys.excepthook(type(problem), problem, traceback)
            except BaseException:
                sys.__excepthook__(type(problem), problem, traceback)
            self.leave_with(ctypes.c_int(self.exit_status(-1)))
        self.leave_with(ctypes.c_int(0))

    @staticmethod
    def without_ours(traceback):
        """The traceback without frames of this file, wherever they are in it."""

        def is_ours(link):
            return link is not None and link.tb_frame.f_code.co_filename == "<child>"

        while is_ours(traceback):
            traceback = traceback.tb_next
        link = traceback
        while link is not None:
            while is_ours(link.tb_next):
                link.tb_next = link.tb_next.tb_next
            link = link.tb_next
        return traceback

    def note(self, place, text, number=None):
        """Leaves a text and a number where PID 1 finds them once this process has ended: without one, how many bytes are cut off."""
        offset, length = place
        whole = text.encode("utf-8", "backslashreplace")
        data = whole[: length - 32].decode("utf-8", "ignore").encode()
        if number is None:
            number = min(len(whole) - len(data), (1 << 31) - 1)
        self.notes[offset : offset + 32] = b"%15d %15d\n" % (len(data), number)
        self.notes[offset + 32 : offset + 32 + len(data)] = data

    def note_exception(self):
        """Which exception ended the program, and at which line of its own file. Best effort."""
        if os.getpid() != self.program_pid:
            # A process it forked.
            return
        try:
            problem = sys.last_value
            line = problem.lineno or 0 if isinstance(problem, SyntaxError) else 0
            traceback = sys.last_traceback
            name = self.script_path or sys.modules["__main__"].__file__
            while traceback is not None:
                if traceback.tb_frame.f_code.co_filename == name:
                    line = traceback.tb_lineno
                    break
                traceback = traceback.tb_next
            self.note(EXCEPTION_NOTE, type(problem).__name__, line)
            self.note(DETAIL_NOTE, *exception_details(problem, sys.last_traceback))
        except BaseException:
            pass

    def is_ending(self):
        """In PID 1: whether the program's interpreter is at its end. The program can say so too soon; it then waits longer to be heard."""
        return self.notes[ENDING_NOTE] != 0

    def shows_unseen(self, came):
        """In PID 1: whether the program says that it shows something, where nobody watches. `came`: how much was shown."""
        unseen = self.notes[UNSEEN_NOTE]
        return unseen == UNSEEN or unseen == UNSEEN_IF_NOTHING_CAME and came == 0

    def read_note(self, place):
        """In PID 1: what the child left there, as (text, number), or None. It may be anything."""
        offset, length = place
        try:
            size, number = (int(part) for part in self.notes[offset : offset + 32].split())
            if 0 <= size <= length - 32 and 0 <= number < 1 << 31:
                return self.notes[offset + 32 : offset + 32 + size].decode("utf-8", "replace"), number
        except ValueError:
            pass
        return None

    def exit_status(self, result):
        """The status for Py_Exit: 0, 1, or death by SIGINT after an unhandled KeyboardInterrupt.

        CPython's main ends such a process by raising SIGINT against itself once the
        interpreter is finalised, and with a status of its own where that is blocked.
        """
        if os.getpid() == self.program_pid:
            self.notes[ENDING_NOTE] = 1
        if result == 0:
            return self.end_early(0)
        self.note_exception()
        if getattr(sys, "last_type", None) is not KeyboardInterrupt:
            return self.end_early(1)
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        self.call_at_exit(self.raise_address, ctypes.c_void_p(_signal.SIGINT), None)
        return KEYBOARD_INTERRUPT_STATUS

    def end_early(self, status):
        """Has the process end where CPython has called what is to be called at exit, cleared every module, flushed its
        output for the last time and collected garbage for the last time: what it does after that frees memory, and costs
        half as much as all of it. Returns the status.

        What is collected then is a cycle that only the functions to call at a fork hold on to, which go just before.
        It leaves behind, where nobody looks any more, an object that goes next. Not where output cannot be written: the
        status is another one then, which only CPython knows. Functions of C that were given to Py_AtExit are not called.
        """
        try:
            if type(sys.stdout) is not self.usual_output or "_interpreters" in sys.modules:
                return status
            sys.stdout.flush()
        except BaseException:
            return status
        last = type("", (), {"__del__": _functools.partial(self.end_process, status)})()
        leave = _functools.partial(vars(sys).__setitem__, last, last)
        cycle = type("", (), {"__call__": staticmethod(int), "__del__": leave})()
        cycle.itself = cycle
        os.register_at_fork(after_in_child=cycle)
        return status


CHILD = Child(Preimports(PREIMPORTS))
