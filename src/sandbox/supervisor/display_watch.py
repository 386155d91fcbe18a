"""Notices, in the program's process, that it has something to show.

A program that never imports a plotting library and never names `display` runs none
of this but one comparison an import. rich_output.py, which does the showing, is
compiled only when it is needed. Runs in the child, and in interpreters that
multiprocessing starts; the two constants are PID 1's too.
"""

import os
import sys

DISPLAY_ADDRESS = b"\0pyexec-display"
DISPLAY_BYTES_MAX = 4 << 20
WATCHED_MODULES = frozenset(
    ("matplotlib.backend_bases", "matplotlib.pyplot", "PIL.ImageShow", "IPython.core.display_functions")
)
# Where multiprocessing says what a new interpreter is to do before it begins.
SPAWN_MODULE = "multiprocessing.spawn"
# As much of a file of the program as is searched for a call of `display`.
SEARCHED_BYTES = 1 << 20
# What a program that shows something has somewhere.
SHOWING = (b"matplotlib", b"pyplot", b"seaborn", b"display(", b".plot(", b".show(")
CALLS_TO_SHOW = (b"display(", b".show(")
# And one that starts others, which may be interpreters that show something.
STARTING = (b"subprocess", b"os.system", b"os.popen", b"os.exec", b"os.spawn")
# What a new interpreter runs; nothing of it is worth failing for.
SPAWNED = """
try:
    import marshal
    DISPLAY_WATCH = marshal.loads(WATCH)
    exec(DISPLAY_WATCH)
    DisplayWatch(START)
except Exception:
    pass
"""
# Frames of importlib, which this then looks like, are left out of tracebacks of failed imports.
IMPORTLIB_FILE = "<frozen importlib._bootstrap_external>"


def main_file(program):
    """Where a module or a folder has the code it begins with, as far as a name tells; an archive is its own."""
    place = WORK + "/" + (program["module"].replace(".", "/") or program["entry"])
    for path in (place + ".py", place + "/__main__.py") if program["module"] else (place + "/__main__.py",):
        if os.path.isfile(path):
            return path
    return place


def says_it_shows(words=SHOWING):
    """Whether a file of the project has one of the words of what shows something. Of a large project, those found first are read."""
    left = SEARCHED_BYTES
    for folder, _, names in os.walk(WORK):
        for name in names:
            if left <= 0:
                return False
            # A name costs something, too.
            left -= 100
            if name.endswith(".py"):
                try:
                    with open(os.path.join(folder, name), "rb") as file:
                        source = file.read(left)
                except (OSError, ValueError):
                    continue
                left -= len(source)
                if any(word in source for word in words):
                    return True
    return False


def names_display(source):
    """Whether `display` is a word of it, and no attribute's name."""
    at = source.find(b"display")
    while at >= 0:
        before, after = source[at - 1 : at], source[at + 7 : at + 8]
        if not (before.isalnum() or before in (b"_", b".")) and not (after.isalnum() or after == b"_"):
            return True
        at = source.find(b"display", at + 7)
    return False


def disguised(function, original):
    """Makes it look like the one it replaces; in tracebacks like a part of importlib."""
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(function, attribute, getattr(original, attribute))
    function.__code__ = function.__code__.replace(co_filename=IMPORTLIB_FILE)
    return function


class Errand:
    """Becomes, where it is unpickled, a watch like the one here."""

    def __init__(self, provides_display):
        start = b"display" if provides_display else b""
        self.told = {"START": start, "WORK": WORK, "RICH_OUTPUT": RICH_OUTPUT}

    def __reduce__(self):
        import marshal

        watch = DISPLAY_WATCH
        if isinstance(watch, str):
            watch = compile(watch, IMPORTLIB_FILE, "exec")
        return exec, (SPAWNED, dict(self.told, WATCH=marshal.dumps(watch)))


class DisplayWatch:
    """From the last moment before the program's first line to its end."""

    def __init__(self, start):
        self.namespace = None
        self.provides_display = False
        self.watch_imports()
        self.search(start)
        for name in WATCHED_MODULES.intersection(sys.modules):
            self.rich_output("watch")(sys.modules[name])
        if SPAWN_MODULE in sys.modules:
            self.reach_spawned(sys.modules[SPAWN_MODULE])

    def rich_output(self, name):
        """A function of rich_output.py."""
        if self.namespace is None:
            namespace = {"ADDRESS": DISPLAY_ADDRESS, "BYTES_MAX": DISPLAY_BYTES_MAX, "__name__": "rich_output"}
            exec(compile(RICH_OUTPUT, IMPORTLIB_FILE, "exec"), namespace)
            # Whole; another thread may have been first.
            self.namespace = self.namespace or namespace
        return self.namespace[name]

    def watch_imports(self):
        finder = sys.modules["_frozen_importlib_external"].PathFinder
        find = finder.find_spec.__func__
        watch = self

        def find_spec(cls, fullname, path=None, target=None):
            spec = find(cls, fullname, path, target)
            if spec is not None and spec.loader is not None:
                if fullname in WATCHED_MODULES:
                    watch.after_execution(spec, watch.rich_output("watch"))
                elif fullname == SPAWN_MODULE:
                    watch.after_execution(spec, watch.reach_spawned)
                elif spec.origin and spec.origin.startswith(WORK):
                    watch.search_file(spec.origin)
            return spec

        finder.find_spec = classmethod(disguised(find_spec, find))

    @staticmethod
    def after_execution(spec, watch):
        """Has the module watched as soon as it has been executed; its loader is as before then."""
        loader = spec.loader
        execute = loader.exec_module

        def exec_module(module):
            del loader.exec_module
            execute(module)
            watch(module)

        loader.exec_module = disguised(exec_module, execute)

    def reach_spawned(self, spawn):
        """New interpreters of multiprocessing are told to watch, by what they are told anyway: no argument, no file."""
        prepare = spawn.get_preparation_data
        watch = self

        def get_preparation_data(name):
            data = prepare(name)
            data["displays"] = Errand(watch.provides_display)
            return data

        spawn.get_preparation_data = disguised(get_preparation_data, prepare)

    def search(self, source):
        """Has `display` provided when this, a file of the program, names it."""
        if not self.provides_display and names_display(source):
            self.provides_display = True
            self.provide_display()

    def search_file(self, path):
        if not self.provides_display:
            try:
                with open(path, "rb") as file:
                    self.search(file.read(SEARCHED_BYTES))
            except OSError:
                # Python will say so.
                pass

    def provide_display(self):
        """As in a notebook, `display` is there without an import; where it is never named, it is not there either."""

        def display(*objects, **options):
            return self.rich_output("display")(*objects, **options)

        display.__code__ = display.__code__.replace(co_filename=IMPORTLIB_FILE)
        sys.modules["builtins"].display = display

    def show_value(self, value):
        """The value of the last expression, where it has more to show than its repr()."""
        if type(value).__module__ != "builtins" and self.rich_output("is_rich")(value):
            self.rich_output("display")(value)
