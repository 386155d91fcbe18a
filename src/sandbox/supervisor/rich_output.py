"""Shows figures, tables and pictures of the program to the host. Runs in the program.

Compiled only once the program has imported something that can be shown, or calls
`display`. It changes nothing the program can see of its own objects: a figure is
drawn as it is and stays open. Whatever goes wrong here is not told to the program:
what cannot be shown is not shown. It trusts nobody and is trusted by nobody
(displays.py). ADDRESS and BYTES_MAX come with its namespace.
"""

import sys

# How long the figures still open at the end may take to be drawn, all together.
LAST_FIGURES_S = 3.0
REPRESENTATIONS = (
    ("text/html", "_repr_html_"),
    ("text/markdown", "_repr_markdown_"),
    ("text/latex", "_repr_latex_"),
    ("image/svg+xml", "_repr_svg_"),
    ("image/png", "_repr_png_"),
    ("image/jpeg", "_repr_jpeg_"),
    ("application/json", "_repr_json_"),
)
# The process it belongs to, its lock and the socket.
connection = None
# What each figure looked like when it was last shown.
shown_figures = None


def send(parts, is_cut=False):
    """Sends (name, bytes) pairs as one display, and waits until PID 1 has it."""
    global connection
    import os

    parts = [(name.encode(), body) for name, body in parts]
    while parts and sum(len(name) + len(body) + 5 for name, body in parts) + 2 > BYTES_MAX:
        parts.remove(max(parts, key=lambda part: len(part[1])))
        is_cut = True
    if not parts:
        parts = [(b"text/plain", b"")]
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    message = bytes((is_cut, len(parts)))
    for name, body in parts:
        message += bytes((len(name),)) + name + len(body).to_bytes(4, "big") + body
    if connection is None or connection[0] != os.getpid():
        import _socket

        import _thread

        opened = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        opened.settimeout(10)
        opened.connect(ADDRESS)
        connection = (os.getpid(), _thread.allocate_lock(), opened)
    _, lock, opened = connection
    with lock:
        try:
            opened.sendall(len(message).to_bytes(4, "big") + message)
            opened.recv(1)
        except OSError:
            connection = None


def encoded(name, value):
    """The bytes of one representation, or None where it is none."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, str):
        if name.startswith("image/") and name != "image/svg+xml":
            import binascii

            return binascii.a2b_base64(value)
        return value.encode("utf-8", "replace")
    if name == "application/json" or name.endswith("+json"):
        import json

        return json.dumps(value).encode()
    return None


def bundle_of(value):
    """Every representation the object has of itself, as (name, bytes); the first is its text."""
    found = {}
    kind = type(value)
    try:
        if hasattr(kind, "_repr_mimebundle_"):
            given = value._repr_mimebundle_(include=None, exclude=None)
            found.update(given[0] if isinstance(given, tuple) else given or {})
    except Exception:
        pass
    for name, method in REPRESENTATIONS:
        try:
            if name not in found and hasattr(kind, method):
                given = getattr(value, method)()
                given = given[0] if isinstance(given, tuple) else given
                if given is not None:
                    found[name] = given
        except Exception:
            pass
    figure = figure_bytes(value) if is_figure(value) else None
    if figure is not None:
        found["image/png"] = figure
    if "text/plain" not in found:
        found["text/plain"] = repr(value)
    return parts_of_bundle(found)


def parts_of_bundle(found):
    parts = []
    for name in sorted(found, key=lambda name: name != "text/plain"):
        try:
            body = encoded(name, found[name])
        except Exception:
            body = None
        if body is not None and isinstance(name, str) and len(name) < 100 and len(parts) < 15:
            parts.append((name, body))
    return parts


def display(*objects, include=None, exclude=None, metadata=None, raw=False, **ignored):
    """Shows objects in the richest form they have. What IPython calls the same."""
    for value in objects:
        if raw and isinstance(value, dict):
            parts = parts_of_bundle(value)
        else:
            parts = bundle_of(value)
        if include:
            parts = [part for part in parts if part[0] in include]
        if exclude:
            parts = [part for part in parts if part[0] not in exclude]
        try:
            if metadata:
                parts.append(("metadata", encoded("application/json", metadata)))
            send(parts)
        except Exception:
            pass


def is_rich(value):
    """Whether an object has more to show than its repr()."""
    kind = type(value)
    return is_figure(value) or any(
        hasattr(kind, name) for name in ["_repr_mimebundle_"] + [method for _, method in REPRESENTATIONS]
    )


def is_figure(value):
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(value, getattr(module, "Figure", ()))


def figure_bytes(figure):
    """The figure as PNG, or None. Warnings about glyphs and layout stay the program's to meet."""
    import io
    import warnings

    file = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            figure.savefig(file, format="png", bbox_inches="tight")
    except Exception:
        return None
    return file.getvalue()


def show_figure(figure):
    """Shows a figure, unless it looks as it did when it was last shown."""
    global shown_figures
    import weakref

    if shown_figures is None:
        shown_figures = weakref.WeakKeyDictionary()
    picture = figure_bytes(figure)
    if picture is None or shown_figures.get(figure) == hash(picture):
        return
    shown_figures[figure] = hash(picture)
    try:
        send([("text/plain", str(figure).encode("utf-8", "replace")), ("image/png", picture)])
    except Exception:
        pass


def show_open_figures(owner):
    """At the end of a program: what was plotted and never shown."""
    import os
    import time

    if os.getpid() != owner or getattr(sys, "last_type", None) is not None:
        return
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    give_up = time.monotonic() + LAST_FIGURES_S
    for manager in list(helpers.Gcf.get_all_fig_managers()):
        if time.monotonic() < give_up:
            show_figure(manager.canvas.figure)


def watch_backend(module):
    """Every backend that draws to a file shows nothing; its managers have this one's `show`."""

    def show(self):
        show_figure(self.canvas.figure)

    show.__qualname__ = "FigureManagerBase.show"
    show.__module__ = module.__name__
    module.FigureManagerBase.show = show


def watch_pyplot(module):
    import atexit
    import os

    # After matplotlib's own, so it runs before that one, which closes the figures.
    atexit.register(show_open_figures, os.getpid())


def watch_pictures(module):
    class Viewer(module.Viewer):
        def show(self, image, **options):
            import io

            file = io.BytesIO()
            try:
                image.save(file, "PNG")
            except OSError:
                file = io.BytesIO()
                image.convert("RGB").save(file, "PNG")
            send([("text/plain", repr(image).encode()), ("image/png", file.getvalue())])
            return True

    module.register(Viewer, 0)


def watch_notebook(module):
    module.display = display


WATCHED = {
    "matplotlib.backend_bases": watch_backend,
    "matplotlib.pyplot": watch_pyplot,
    "PIL.ImageShow": watch_pictures,
    "IPython.core.display_functions": watch_notebook,
}


def watch(module):
    try:
        WATCHED[module.__name__](module)
    except Exception:
        pass


def watch_spec(spec):
    """Has the module watched as soon as it has been executed; its loader is as before then."""
    loader = spec.loader
    execute = loader.exec_module

    def exec_module(module):
        del loader.exec_module
        execute(module)
        watch(module)

    loader.exec_module = exec_module
