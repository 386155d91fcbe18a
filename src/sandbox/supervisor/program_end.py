"""How the program ends: the value of its last expression, the exception that ended it, its status.

In the child, once the program runs; what it leaves for PID 1 is in Notes. Part of PID 1's one
namespace, and of the child's.
"""

KEYBOARD_INTERRUPT_STATUS = 130
# compile() flags: the tree instead of code; and the part of co_flags that `from __future__` sets.
ONLY_AST = 0x400
FUTURE_FLAGS = 0x1FF0000


class ProgramEnd:
    """`api` is the interpreter's own C functions. What is set later: `pid`, the program's process; `script_path`, its
    file, or None; `watch`, what it shows, or None."""

    def __init__(self, api, notes):
        self.notes = notes
        self.pid = self.script_path = self.watch = None
        # Function objects are made anew by each subscription: this one takes a plain status.
        self.leave_with = api["Py_Exit"]
        self.call_at_exit = api["__cxa_atexit"]
        self.end_process = api["exit"]
        self.end_process.argtypes = [ctypes.c_int]
        self.usual_output = type(sys.stdout)
        self.raise_address = ctypes.cast(api["raise"], ctypes.c_void_p)

    def exit_status(self, result):
        """The status for Py_Exit: 0, 1, or death by SIGINT after an unhandled KeyboardInterrupt.

        CPython's main ends such a process by raising SIGINT against itself once the
        interpreter is finalised, and with a status of its own where that is blocked.
        """
        if os.getpid() == self.pid:
            self.notes.say_ending()
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

    def note_exception(self):
        """Which exception ended the program, and at which line of its own file. Best effort."""
        if os.getpid() != self.pid:
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
            self.notes.leave(EXCEPTION_NOTE, type(problem).__name__, line)
            self.notes.leave(DETAIL_NOTE, *exception_details(problem, sys.last_traceback))
        except BaseException:
            pass

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
                self.notes.leave(VALUE_NOTE, repr(value))
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
