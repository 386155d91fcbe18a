"""What is kept of the program's stdout and stderr. Part of PID 1's one namespace."""

import os

PIPE_READ_BYTES = 65536
# What is kept of the end of a stream once its head is full.
TAIL_BYTES_MAX = 65536


class OutputStream:
    """One of the program's two streams: head passed on at once, middle counted, tail kept for the end."""

    def __init__(self, name, descriptor, host, keep_bytes):
        self.name = name
        self.frame = name.upper()
        self.descriptor = descriptor
        self.host = host
        self.total = 0
        self.keep_bytes = keep_bytes
        self.tail_bytes = min(keep_bytes // 4, TAIL_BYTES_MAX)
        self.head_left = keep_bytes - self.tail_bytes
        self.tail = bytearray()
        self.open = True

    def read(self):
        """Reads what is there; False when nothing was."""
        try:
            data = os.read(self.descriptor, PIPE_READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self.total += len(data)
        if self.head_left:
            head = data[: self.head_left]
            self.head_left -= len(head)
            self.host.send(self.frame, head)
            data = data[len(head) :]
        if data:
            self.tail += data
            if len(self.tail) > 2 * TAIL_BYTES_MAX:
                del self.tail[: len(self.tail) - self.tail_bytes]
        return True

    def close(self):
        if self.open:
            self.open = False
            os.close(self.descriptor)

    def finish(self):
        """Sends what was kept of the end. Returns how many bytes in between were left out."""
        if len(self.tail) > self.tail_bytes:
            del self.tail[: len(self.tail) - self.tail_bytes]
        omitted = self.total - (self.keep_bytes - self.tail_bytes - self.head_left) - len(self.tail)
        if omitted:
            self.host.send_json("OMITTED", {"stream": self.name, "bytes": omitted})
        if self.tail:
            self.host.send(self.frame, bytes(self.tail))
        return omitted
