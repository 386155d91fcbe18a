"""Modules the operator wants imported before the program comes (docs/SUPERVISOR.md).

They are imported by the waiting child itself, not by PID 1: the trusted process
never runs their code, and threads, descriptors and seeds they make are the
program's own, as if it had imported them. Where the program could have got
something else from its import, the child says so and a new interpreter is started.
"""

# Set for every run (policy/thread-counts.ts); the same values are there when libraries are imported.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
    "POLARS_MAX_THREADS",
)
# What libraries read in the current directory or in HOME, which is /work, when they are imported.
READ_AT_IMPORT = frozenset(("matplotlibrc", ".matplotlib", ".config", ".local", ".pythonrc.py"))


class Preimports:
    """What was imported beforehand: nothing, until `bring` was called."""

    def __init__(self, wanted):
        threads, *self.names = wanted.split()
        self.threads = threads
        self.modules = BASELINE_MODULES
        self.importer_paths = BASELINE_IMPORTER_PATHS
        self.top_level = frozenset()
        self.left = frozenset()

    def bring(self):
        """Imports the modules as the program would. Returns what went wrong, or an empty text."""
        for name in [name for name in sys.modules if name not in BASELINE_MODULES]:
            del sys.modules[name]
        os.environ.pop("HOSTNAME", None)
        saved_variables = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, self.threads))
        os.chdir(WORK)
        saved = sys.argv, sys.path[0]
        sys.argv, sys.path[0] = ["main.py"], WORK
        problem = self.import_each()
        sys.argv, sys.path[0] = saved
        os.chdir("/")
        for name, value in saved_variables.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value
        for known in [known for known in sys.path_importer_cache if known == WORK or known.startswith(WORK + "/")]:
            del sys.path_importer_cache[known]
        self.modules = frozenset(sys.modules)
        self.importer_paths = frozenset(sys.path_importer_cache)
        self.top_level = frozenset(name.partition(".")[0] for name in self.modules - BASELINE_MODULES)
        # Caches and the like in HOME; as after an import of the program's own.
        self.left = frozenset(os.listdir(WORK))
        visible = sorted(name for name in self.left if not name.startswith("."))
        if visible and not problem:
            problem = "the import leaves %s in the home directory" % ", ".join(visible[:5])
        return problem

    def import_each(self):
        """A module that writes or warns cannot be imported beforehand: the program would not see it."""
        kept = os.dup(1), os.dup(2)
        said_read, said_write = os.pipe()
        os.set_blocking(said_write, False)
        os.dup2(said_write, 1)
        os.dup2(said_write, 2)
        os.close(said_write)
        problem = ""
        for name in self.names:
            try:
                # Seen from __main__, for warnings that are shown there only.
                exec(compile("import " + name, "main.py", "exec"), {"__name__": "__main__"})
            except BaseException as failure:
                problem = "%s cannot be imported: %s: %s" % (name, type(failure).__name__, failure)
                break
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        os.close(kept[0])
        os.close(kept[1])
        said = b"" if problem else self.read_said(said_read)
        os.close(said_read)
        if said:
            problem = "%s writes when it is imported: %s" % (name, said.decode("utf-8", "replace").strip())
        return problem[:400]

    @staticmethod
    def read_said(descriptor):
        # Both copies of the write end are gone: this ends.
        return os.read(descriptor, 1000)

    def were_other(self, environment):
        """Whether the run sets variables that were not so when the modules were imported."""
        return bool(self.names) and any(
            name not in THREAD_VARIABLES or value != self.threads for name, value in environment.items()
        )

    def could_differ(self, directory):
        """Whether an import of the program, from `directory`, could have meant a file of the project."""
        if not self.names:
            return False
        for place in {directory, WORK}:
            for name in os.listdir(place):
                if name in READ_AT_IMPORT - self.left or name.partition(".")[0] in self.top_level:
                    return True
        return False

    def renew(self):
        """What is remembered of the time of import and would not be so in a program that just began."""
        logging = sys.modules.get("logging")
        if logging is not None:
            logging._startTime = time.time_ns() if isinstance(logging._startTime, int) else time.time()
