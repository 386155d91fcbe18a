"""Notices, in the program's process, that it has something to show.

A program that never imports a plotting library and never says `display(` runs none
of this but one comparison an import. rich_output.py, which does the showing, is
compiled only when it is needed. Runs in the child; the two constants are PID 1's too.
"""

DISPLAY_ADDRESS = b"\0pyexec-display"
DISPLAY_BYTES_MAX = 4 << 20
WATCHED_MODULES = frozenset(
    ("matplotlib.backend_bases", "matplotlib.pyplot", "PIL.ImageShow", "IPython.core.display_functions")
)
# As much of the program's file as is searched for a call of `display`.
SEARCHED_BYTES = 1 << 20
# Frames of importlib, which this then looks like, are left out of tracebacks of failed imports.
IMPORTLIB_FILE = "<frozen importlib._bootstrap_external>"


class DisplayWatch:
    """From the last moment before the program's first line to its end."""

    def __init__(self, start):
        self.namespace = None
        self.watch_imports()
        if b"display(" in start:
            self.provide_display()
        for name in WATCHED_MODULES.intersection(sys.modules):
            self.rich_output("watch")(sys.modules[name])

    def rich_output(self, name):
        """A function of rich_output.py."""
        if self.namespace is None:
            self.namespace = {"ADDRESS": DISPLAY_ADDRESS, "BYTES_MAX": DISPLAY_BYTES_MAX, "__name__": "rich_output"}
            exec(compile(RICH_OUTPUT, IMPORTLIB_FILE, "exec"), self.namespace)
        return self.namespace[name]

    def watch_imports(self):
        finder = sys.modules["_frozen_importlib_external"].PathFinder
        find = finder.find_spec.__func__
        watch = self

        def find_spec(cls, fullname, path=None, target=None):
            spec = find(cls, fullname, path, target)
            if fullname in WATCHED_MODULES and spec is not None and spec.loader is not None:
                watch.rich_output("watch_spec")(spec)
            return spec

        for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(find_spec, attribute, getattr(find, attribute))
        find_spec.__code__ = find_spec.__code__.replace(co_filename=IMPORTLIB_FILE)
        finder.find_spec = classmethod(find_spec)

    def provide_display(self):
        """As in a notebook, `display` is there without an import; where it is never named, it is not there either."""

        def display(*objects, **options):
            self.rich_output("display")(*objects, **options)

        sys.modules["builtins"].display = display

    def show_value(self, value):
        """The value of the last expression, where it has more to show than its repr()."""
        if type(value).__module__ != "builtins" and self.rich_output("is_rich")(value):
            self.rich_output("display")(value)
