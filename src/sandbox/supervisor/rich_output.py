"""Shows figures, tables and pictures of the program to the host. Runs in the program.

Compiled, with rich_figures.py in the same namespace, only once the program has
imported something that can be shown, or calls `display`. It changes nothing the
program can see of its own objects. Whatever goes wrong here is not told to the
program: what cannot be shown is not shown. It trusts nobody and is trusted by nobody
(displays.py). ADDRESS and BYTES_MAX come with its namespace.
"""

import os
import sys

# How long PID 1 may take over one display.
ANSWER_S = 10
# What is kept of a text that is too long for a display.
CUT_TEXT_BYTES = 1 << 16
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+-./")
PARTS_MAX = 15
REPRESENTATIONS = (
    ("text/html", "_repr_html_"),
    ("text/markdown", "_repr_markdown_"),
    ("text/latex", "_repr_latex_"),
    ("image/svg+xml", "_repr_svg_"),
    ("image/png", "_repr_png_"),
    ("image/jpeg", "_repr_jpeg_"),
    ("application/json", "_repr_json_"),
)
RICH_METHODS = ["_repr_mimebundle_", "_ipython_display_"] + [method for _, method in REPRESENTATIONS]
connection = None
# What is being shown, as (thread, id): a thing that shows itself while it is asked for its forms is shown as text.
being_shown = set()


class Connection:
    """One socket to PID 1. It belongs to one process, and is used by one thread at a time."""

    def __init__(self):
        import _socket
        import _thread

        self.pid = os.getpid()
        self.lock = _thread.allocate_lock()
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self.socket.settimeout(ANSWER_S)
        self.connect()
        self.identity = self.identity_now()

    def connect(self):
        import time

        give_up = time.monotonic() + ANSWER_S
        while True:
            try:
                return self.socket.connect(ADDRESS)
            except BlockingIOError:
                # As many wait as may: others show something, too.
                if time.monotonic() >= give_up:
                    raise
                time.sleep(0.005)

    def identity_now(self):
        found = os.fstat(self.socket.fileno())
        return found.st_dev, found.st_ino

    def is_usable(self):
        """Whether it is this process's and open. A program may close every descriptor, and open others in their place."""
        try:
            return self.pid == os.getpid() and self.identity_now() == self.identity
        except OSError:
            return False

    def exchange(self, message):
        """Whether PID 1 has the message, or may have it: False is worth another try with another connection."""
        with self.lock:
            try:
                self.socket.sendall(message)
                if self.socket.recv(1):
                    return True
            except TimeoutError:
                # An answer that comes now would be taken for that of the next one.
                self.identity = None
                return True
            except OSError:
                pass
            except BaseException:
                self.identity = None
                raise
            self.identity = None
            return False

    def give_up(self):
        try:
            is_open = self.identity_now() == self.identity
        except OSError:
            is_open = False
        if not is_open and self.identity is not None:
            # The number may be another file's by now.
            self.socket.detach()


def send(parts, is_cut=False):
    """Sends (name, bytes) pairs as one display, and waits until PID 1 has it."""
    global connection

    parts = [(name.encode(), body) for name, body in parts] or [(b"text/plain", b"")]
    while sum(len(name) + len(body) + 5 for name, body in parts) + 2 > BYTES_MAX:
        longest = max(parts, key=lambda part: len(part[1]))
        parts.remove(longest)
        is_cut = True
        if longest[0] == b"text/plain":
            parts.insert(0, (longest[0], longest[1][:CUT_TEXT_BYTES].decode("utf-8", "ignore").encode()))
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    message = bytes((is_cut, len(parts)))
    for name, body in parts:
        message += bytes((len(name),)) + name + len(body).to_bytes(4, "big") + body
    message = len(message).to_bytes(4, "big") + message
    for _ in range(2):
        used = connection
        try:
            if used is None or not used.is_usable():
                if used is not None:
                    used.give_up()
                used = connection = Connection()
            if used.exchange(message):
                return
        except OSError:
            return


def encoded(name, value):
    """The bytes of one representation, or None where it is none."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if name == "application/json" or name.endswith("+json"):
        return json_of(value)
    if isinstance(value, str):
        if name.startswith("image/") and name != "image/svg+xml":
            import binascii

            return binascii.a2b_base64(value)
        return value.encode("utf-8", "replace")
    return None


def json_of(value):
    """As JSON: numbers it does not have as null, numbers and arrays of numpy as such, what else it cannot hold as text."""
    import json

    if isinstance(value, str):
        try:
            json.loads(value)
            return value.encode("utf-8", "replace")
        except ValueError:
            pass
    try:
        return json.dumps(value, allow_nan=False, default=simpler).encode()
    except ValueError:
        text = json.dumps(value, default=simpler)
        return json.dumps(json.loads(text, parse_constant=lambda _: None)).encode()


def simpler(value):
    for method in ("tolist", "isoformat"):
        if hasattr(type(value), method):
            return getattr(value, method)()
    return list(value) if isinstance(value, (set, frozenset)) else str(value)


def bundle_of(value):
    """Every form the object has, by media type; what it says about them; whether one is less than it should be."""
    found, about = {}, {}
    kind = type(value)

    def ask(method, take, **options):
        if hasattr(kind, method):
            try:
                given = getattr(value, method)(**options)
                given, more = given if isinstance(given, tuple) and len(given) == 2 else (given, {})
                if given is not None:
                    take(given, more or {})
            except Exception:
                pass

    def take_bundle(given, more):
        found.update(given)
        about.update(more)

    ask("_repr_mimebundle_", take_bundle, include=None, exclude=None)
    is_cut = add_picture(value, found)
    for name, method in REPRESENTATIONS:
        # A picture once: the one that loses nothing.
        if name in found or name == "image/jpeg" and "image/png" in found:
            continue

        def take(given, more, name=name):
            found[name] = given
            if more:
                about[name] = more

        ask(method, take)
    if "text/plain" not in found:
        found["text/plain"] = text_of(value)
    return found, about, is_cut


def text_of(value):
    try:
        return repr(value)
    except Exception as problem:
        return "<%s object; its repr() raised %s>" % (type(value).__name__, type(problem).__name__)


def is_media_type(name):
    kind, slash, form = name.partition("/")
    return bool(kind and slash and form) and len(name) < 100 and NAME_CHARACTERS.issuperset(name)


def parts_of_bundle(found):
    parts = []
    for name in sorted(map(str, found), key=lambda name: name != "text/plain"):
        try:
            body = encoded(name, found[name])
        except Exception:
            body = None
        if body is not None and is_media_type(name) and len(parts) < PARTS_MAX:
            parts.append((name, body))
    return parts


class DisplayHandle:
    """What display() gives back where it was given a display_id. As in a notebook, but that nothing is replaced:
    a display with the same id and `update` follows."""

    def __init__(self, display_id):
        self.display_id = display_id

    def display(self, value, **options):
        display(value, display_id=self.display_id, **options)

    def update(self, value, **options):
        metadata = dict(options.pop("metadata", None) or {}, update=True)
        display(value, display_id=self.display_id, metadata=metadata, **options)


def display(*objects, include=None, exclude=None, metadata=None, raw=False, display_id=None, **ignored):
    """Shows objects in the richest form they have. What IPython calls the same."""
    handle = None
    if display_id:
        handle = DisplayHandle(os.urandom(16).hex() if display_id is True else str(display_id))
    for value in objects:
        show(value, raw, include, exclude, dict(metadata or {}, **({"display_id": handle.display_id} if handle else {})))
    return handle


def show(value, raw, include, exclude, metadata):
    import _thread

    key = (_thread.get_ident(), id(value))
    if key in being_shown:
        send([("text/plain", object.__repr__(value).encode("utf-8", "replace"))])
        return
    being_shown.add(key)
    try:
        if hasattr(type(value), "_ipython_display_"):
            try:
                value._ipython_display_()
                return
            except Exception:
                pass
        found, about, is_cut = (value, {}, False) if raw and isinstance(value, dict) else bundle_of(value)
        parts = parts_of_bundle(found)
        parts = [part for part in parts if (not include or part[0] in include) and part[0] not in (exclude or ())]
        about.update(metadata)
        if about:
            parts.append(("metadata", json_of(about)))
        send(parts, is_cut)
    except Exception:
        # Of a type that cannot even be asked.
        try:
            send([("text/plain", text_of(value).encode("utf-8", "replace"))], True)
        except Exception:
            pass
    finally:
        being_shown.discard(key)


def is_rich(value):
    """Whether an object has more to show than its repr()."""
    kind = type(value)
    return is_figure(value) or any(hasattr(kind, name) for name in RICH_METHODS)
