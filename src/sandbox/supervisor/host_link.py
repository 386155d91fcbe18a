"""PID 1's two streams to the host, cut into frames (docs/SUPERVISOR.md).

Both descriptors are non-blocking: a host that does not read or write never stops
the supervisor from keeping its deadlines. Part of PID 1's one namespace.
"""

import fcntl
import json
import os
import select
import struct
import time

# Frames waiting for the host beyond this stop the reading of the program's pipes.
OUTGOING_BYTES_MAX = 1 << 20
# So much never waits for more.
HELD_BYTES_MAX = 1 << 14
# What a pipe holds.
STREAM_READ_BYTES = 1 << 16


class Host:
    """The two framed streams to the host. Writing never blocks; `pump` sends what is waiting."""

    def __init__(self):
        self.incoming = bytearray()
        self.outgoing = []
        self.outgoing_bytes = 0
        self.sent_bytes = 0
        # Until when what is sent waits for more to go with it: each write wakes three processes on its way.
        self.held_until = 0.0
        self.closed = False
        os.set_blocking(1, False)
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_NONBLOCK)

    @property
    def is_held(self):
        return 0 < self.outgoing_bytes < HELD_BYTES_MAX and time.monotonic() < self.held_until

    def send(self, kind, payload=b""):
        header = struct.pack(">BI", FRAME_TYPES[kind], len(payload))
        self.outgoing.append(header)
        if payload:
            self.outgoing.append(payload)
        self.outgoing_bytes += len(header) + len(payload)
        self.pump()

    def send_json(self, kind, value):
        self.send(kind, json.dumps(value).encode())

    def pump(self):
        if self.is_held:
            return
        while self.outgoing and not self.closed:
            try:
                written = os.writev(1, self.outgoing[:64])
            except BlockingIOError:
                return
            except OSError:
                self.closed = True
                return
            self.outgoing_bytes -= written
            self.sent_bytes += written
            while written:
                first = self.outgoing[0]
                if written >= len(first):
                    written -= len(first)
                    self.outgoing.pop(0)
                else:
                    self.outgoing[0] = memoryview(first)[written:]
                    written = 0

    def flush(self, deadline, leave_bytes=0):
        """Waits until all but `leave_bytes` is sent, the host is gone or the deadline has passed."""
        self.held_until = 0.0
        self.pump()
        poller = select.poll()
        poller.register(1, select.POLLOUT)
        while self.outgoing_bytes > leave_bytes and not self.closed and time.monotonic() < deadline:
            poller.poll(100)
            self.pump()

    def receive(self):
        """Yields the complete frames that can be had without waiting. Ends with the host."""
        while not self.closed:
            try:
                part = os.read(0, STREAM_READ_BYTES)
            except BlockingIOError:
                part = None
            except OSError:
                part = b""
            if part == b"":
                self.closed = True
            elif part:
                self.incoming += part
            offset = 0
            while len(self.incoming) - offset >= 5:
                kind, length = struct.unpack_from(">BI", self.incoming, offset)
                if len(self.incoming) - offset < 5 + length:
                    break
                yield kind, bytes(memoryview(self.incoming)[offset + 5 : offset + 5 + length])
                offset += 5 + length
            del self.incoming[:offset]
            # A shorter part was all there is.
            if not part or len(part) < STREAM_READ_BYTES:
                return

    def await_close(self, seconds):
        """Waits until the host closes the link, at most so long. What it says is not heard any more."""
        deadline = time.monotonic() + seconds
        while not self.closed and time.monotonic() < deadline:
            ready, _, _ = select.select([0], [], [], max(0, deadline - time.monotonic()))
            if ready:
                for _ in self.receive():
                    pass
