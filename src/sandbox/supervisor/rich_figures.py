"""Figures and pictures for rich_output.py, whose namespace it shares: drawn as they are, and left as they are.

Replaces the `show` of figure managers that could show nothing, adds a viewer of
pictures, and at the end of a program draws the figures that are still open.
"""

# How long the figures still open at the end may take to be drawn, all together.
LAST_FIGURES_S = 3.0
# More is drawn smaller: a figure that only its being shown would draw must not take the program's memory.
PIXELS_MAX = 12_000_000
DRAWINGS_MAX = 4
REASON_CHARACTERS = 500
# What each figure looked like when it was last shown.
shown_figures = None


def is_figure(value):
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(value, getattr(module, "Figure", ()))


def is_picture(value):
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, getattr(module, "Image", ()))


def add_picture(value, found):
    """Adds what a figure or a picture looks like; whether that is smaller than it should be."""
    picture, is_cut = None, False
    if "image/png" in found:
        return False
    if is_figure(value):
        picture, is_cut, failure = figure_bytes(value)
        is_news(value, picture)
        if failure:
            found["text/plain"] = text_of(value) + failure
    elif is_picture(value):
        picture = picture_bytes(value)
    if picture is not None:
        found["image/png"] = picture
    return is_cut


def figure_bytes(figure):
    """The figure as PNG, or None; whether it is less than it would be; what to say where it could not be drawn.

    Warnings stay the program's to meet.
    """
    import io
    import warnings

    width, height = figure.get_size_inches()
    dpi = own_dpi = figure.dpi
    if width * height * dpi * dpi > PIXELS_MAX:
        dpi = (PIXELS_MAX / (width * height)) ** 0.5
    picture = None
    for _ in range(DRAWINGS_MAX):
        file = io.BytesIO()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                figure.savefig(file, format="png", bbox_inches="tight", dpi=dpi)
        except Exception as problem:
            reason = "%s: %s" % (type(problem).__name__, str(problem)[:REASON_CHARACTERS])
            return None, True, " could not be drawn: " + reason
        if len(file.getbuffer()) < BYTES_MAX - 4096:
            picture = file.getvalue()
            break
        dpi *= min(0.7, ((BYTES_MAX - 4096) / len(file.getbuffer())) ** 0.5)
    return picture, dpi != own_dpi, ""


def picture_bytes(image):
    """The picture as PNG, in other colours where PNG does not have its own; None where that cannot be."""
    import io

    for prepare in (lambda: image, lambda: image.convert("RGB"), lambda: image.convert("L")):
        file = io.BytesIO()
        try:
            prepare().save(file, "PNG")
            return file.getvalue()
        except Exception:
            pass
    return None


def is_news(figure, picture):
    """Whether a figure looks otherwise than when it was last shown. Remembers what it looks like."""
    global shown_figures
    import weakref

    if shown_figures is None:
        shown_figures = weakref.WeakKeyDictionary()
    before = shown_figures.get(figure)
    shown_figures[figure] = hash(picture)
    return before != hash(picture)


def show_figure(figure):
    """Shows a figure, unless it looks as it did when it was last shown."""
    picture, is_cut, failure = figure_bytes(figure)
    if not is_news(figure, picture):
        return
    text = ("text/plain", (text_of(figure) + failure).encode("utf-8", "replace"))
    send([text] if picture is None else [text, ("image/png", picture)], is_cut or picture is None)


def show_open_figures(owner):
    """At the end of a program: what was plotted and never shown."""
    import time

    if os.getpid() != owner or getattr(sys, "last_type", None) is not None:
        return
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    give_up = time.monotonic() + LAST_FIGURES_S
    for manager in list(helpers.Gcf.get_all_fig_managers()):
        try:
            figure = manager.canvas.figure
            was_shown = figure in (shown_figures or ())
            # Cleared for a next time that did not come; the first child is its background.
            if was_shown and len(figure.get_children()) < 2:
                continue
            if time.monotonic() < give_up:
                show_figure(figure)
            elif not was_shown:
                send([("text/plain", text_of(figure).encode("utf-8", "replace"))], True)
        except Exception:
            pass


def watch_backend(module):
    """Every backend that draws to a file shows nothing; its managers have this one's `show`."""

    def show(self):
        try:
            show_figure(self.canvas.figure)
        except Exception:
            pass

    show.__qualname__ = "FigureManagerBase.show"
    show.__module__ = module.__name__
    module.FigureManagerBase.show = show


def watch_pyplot(module):
    import atexit

    # After matplotlib's own, so it runs before that one, which closes the figures.
    atexit.register(show_open_figures, os.getpid())


def watch_pictures(module):
    class Viewer(module.Viewer):
        def show(self, image, **options):
            picture = picture_bytes(image)
            text = ("text/plain", text_of(image).encode("utf-8", "replace"))
            send([text] if picture is None else [text, ("image/png", picture)], picture is None)
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
