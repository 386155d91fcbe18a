"""The canonical tar of the archive gate, written below /work while it arrives.

Part of PID 1's one namespace.
"""

import os
import time


class Refused(Exception):
    """The run cannot begin; the host hears why."""

    def __init__(self, code, detail):
        super().__init__(detail)
        self.code = code


class Unpacker:
    """Writes the canonical tar of the archive gate below /work, as its bytes come.

    It reads exactly what the gate writes (docs/SUPERVISOR.md) and fails on anything
    else; it is not a tar reader for other people's archives. Nothing is ever
    overwritten or written through a link: every file is created with O_EXCL and
    O_NOFOLLOW, and the gate has refused entries below a link.
    """

    def __init__(self, lies_over=False):
        # Whether what is there already gives way: a file to a file; a directory stays.
        self.lies_over = lies_over
        self.buffered = bytearray()
        self.file = -1
        self.file_left = 0
        self.padding = 0
        self.records = {}
        self.record_left = 0
        self.record = bytearray()
        self.done = False
        # What was written, by path, as it was then, where artifacts.py will ask for it.
        self.remembers = False
        self.known = {}
        self.has_links = False

    def feed(self, data):
        view = memoryview(data)
        while view:
            if self.file_left:
                view = view[self.write(view[: self.file_left]) :]
                continue
            if self.record_left:
                taken = min(self.record_left, len(view))
                self.record += view[:taken]
                self.record_left -= taken
                view = view[taken:]
                if not self.record_left:
                    self.read_records()
                continue
            if self.padding:
                skipped = min(self.padding, len(view))
                self.padding -= skipped
                view = view[skipped:]
                continue
            taken = min(512 - len(self.buffered), len(view))
            self.buffered += view[:taken]
            view = view[taken:]
            if len(self.buffered) == 512:
                block = bytes(self.buffered)
                self.buffered.clear()
                self.header(block)

    def write(self, view):
        written = os.write(self.file, view)
        self.file_left -= written
        if not self.file_left:
            self.close(self.file)
            self.file = -1
        return written

    def close(self, descriptor):
        if self.remembers:
            # A second ago: a change within the same tick of the clock shows.
            before_ns = (int(time.time()) - 1) * 1_000_000_000
            os.utime(descriptor, ns=(before_ns, before_ns))
            self.known[self.path] = signature(os.fstat(descriptor))
        os.close(descriptor)

    def read_records(self):
        record = bytes(self.record)
        self.record = bytearray()
        while record:
            length, _, rest = record.partition(b" ")
            line = record[: int(length)]
            record = record[int(length) :]
            key, _, value = line[len(length) + 1 : -1].partition(b"=")
            self.records[key] = value

    def header(self, block):
        if block == bytes(512):
            self.done = True
            return
        if self.done:
            raise Refused("sandbox_failed", "data follows the end of the archive")
        size = int(block[124:135], 8)
        kind = block[156:157]
        self.padding = -size % 512
        if kind == b"x":
            self.record_left = size
            return
        name = block[:100].rstrip(b"\0")
        prefix = block[345:500].rstrip(b"\0")
        path = self.records.get(b"path", prefix + b"/" + name if prefix else name).rstrip(b"/")
        target = self.records.get(b"linkpath", block[157:257].rstrip(b"\0"))
        self.records = {}
        self.path = path
        if kind == b"5":
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                # The gate has compared the kinds: it is a directory of the project.
                if not self.lies_over:
                    raise
        elif kind == b"2":
            os.symlink(target, path)
            self.known[path] = None
            self.has_links = True
        elif kind == b"0":
            mode = 0o755 if int(block[100:107], 8) & 0o111 else 0o644
            if self.lies_over:
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            if size:
                self.file = descriptor
                self.file_left = size
            else:
                self.close(descriptor)
        else:
            raise Refused("sandbox_failed", "unexpected entry type in the canonical archive")

    def finish(self):
        if not self.done or self.file_left or self.padding or self.buffered or self.records:
            raise Refused("sandbox_failed", "the canonical archive ended too early")
