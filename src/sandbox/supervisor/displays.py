"""Takes what the program shows: figures, tables, pictures. Part of PID 1's one namespace.

The program's side is rich_output.py, or anything that can connect to a socket: every
process of the run may, and nothing it sends is believed. A message is bounded before
it is read, checked in form, passed on as it is, and counted. The socket has an
abstract address, so there is no file and no descriptor for the program to find.
"""

import _socket
import os
import select

CLIENTS_MAX = 16
# Of messages that are not complete, of all clients together.
INCOMPLETE_BYTES_MAX = 32 << 20
DISPLAY_READ_BYTES = 1 << 18
PARTS_MAX = 16
# The first byte of a message: whether something was left out of it.
CUT = 1
NAME_CHARACTERS = b"abcdefghijklmnopqrstuvwxyz0123456789+-./"


def parts_of(message):
    """The parts of a message as (name, start, end), or None where it is none (docs/SUPERVISOR.md)."""
    parts = []
    if len(message) < 2 or message[0] > CUT or not 0 < message[1] <= PARTS_MAX:
        return None
    at = 2
    for _ in range(message[1]):
        if at >= len(message):
            return None
        name_end = at + 1 + message[at]
        body = name_end + 4
        end = body + int.from_bytes(message[name_end:body], "big")
        name = message[at + 1 : name_end]
        if body > len(message) or end > len(message) or not name or name.translate(None, NAME_CHARACTERS):
            return None
        parts.append((name, body, end))
        at = end
    return parts if at == len(message) else None


class Displays:
    """The socket, those connected to it, and what is left of the run's allowance. None of it ever waits."""

    def __init__(self):
        self.listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self.listener.bind(DISPLAY_ADDRESS)
        self.listener.listen(CLIENTS_MAX)
        self.listener.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)
        self.descriptor = self.epoll.fileno()
        # What each has sent of a message that is not complete. Those without one that were heard are idle, oldest first.
        self.clients = {}
        self.idle = {}
        self.is_listening = True
        self.omitted = 0
        self.taken = 0

    def begin(self, relay, wish):
        self.relay = relay
        self.count_left = wish["count"] if wish else 0
        self.bytes_left = wish["bytes"] if wish else 0
        if not wish:
            self.epoll.close()
            self.listener.close()
            # The number will be another descriptor's.
            self.descriptor = -1

    def serve(self):
        """Takes what there is. To be called when the descriptor is readable."""
        for descriptor, _ in self.epoll.poll(0, 2 * CLIENTS_MAX):
            if descriptor in self.clients:
                self.read(descriptor)
            else:
                self.accept()

    def accept(self):
        if len(self.clients) >= CLIENTS_MAX:
            if not self.idle:
                # Who is connected has not been heard yet; the next one waits.
                self.epoll.unregister(self.listener.fileno())
                self.is_listening = False
                return
            # It connects anew when it has something to show.
            self.drop(next(iter(self.idle)))
        try:
            descriptor, _ = self.listener._accept()
        except OSError:
            return
        os.set_blocking(descriptor, False)
        self.clients[descriptor] = bytearray()
        self.epoll.register(descriptor, select.EPOLLIN)

    def listen_again(self):
        if not self.is_listening:
            self.is_listening = True
            self.epoll.register(self.listener.fileno(), select.EPOLLIN)

    def drop(self, descriptor):
        self.listen_again()
        del self.clients[descriptor]
        self.idle.pop(descriptor, None)
        self.epoll.unregister(descriptor)
        os.close(descriptor)

    def read(self, descriptor):
        received = self.clients[descriptor]
        try:
            data = os.read(descriptor, DISPLAY_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop(descriptor)
            return
        self.idle.pop(descriptor, None)
        received += data
        if sum(map(len, self.clients.values())) > INCOMPLETE_BYTES_MAX:
            self.omitted += 1
            self.drop(descriptor)
            return
        while len(received) >= 4:
            length = int.from_bytes(received[:4], "big")
            if length > DISPLAY_BYTES_MAX:
                self.omitted += 1
                self.drop(descriptor)
                return
            if len(received) < 4 + length:
                return
            message = bytes(memoryview(received)[4 : 4 + length])
            del received[: 4 + length]
            self.take(message)
            try:
                os.write(descriptor, b"\1")
            except OSError:
                self.drop(descriptor)
                return
        if not received:
            self.idle[descriptor] = True
            self.listen_again()

    def take(self, message):
        parts = parts_of(message)
        if parts is not None and len(message) > self.bytes_left:
            message = self.text_of(message, parts)
        if parts is None or not message or not self.count_left:
            self.omitted += 1
            return
        self.taken += 1
        self.count_left -= 1
        self.bytes_left -= len(message)
        # What was printed before it comes before it.
        self.relay.drain()
        self.relay.host.send("DISPLAY", message)

    def text_of(self, message, parts):
        """The message with nothing but its plain text, where that still fits."""
        for name, start, end in parts:
            if name == b"text/plain" and end - start + 32 <= self.bytes_left:
                return bytes((CUT, 1, len(name))) + name + message[start - 4 : end]
        return b""
