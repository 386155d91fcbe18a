"""Passes bytes between the host and one process of the program, until it has ended or a limit is met.

What was read is never waited with, what the host does not take is not read: the program
waits in its own pipe. Deadlines are kept whatever the host, the program, or its pipes
do. Part of PID 1's one namespace.
"""

import os
import select
import time
import _signal as signal

# How long to wait for killed processes to be gone, and for their pipes to end.
REAP_GRACE_S = 2.0
CPU_POLL_S = 0.1
# What is put out when the program's interpreter ends already, waits so long for the end, to leave with it.
HOLD_LAST_S = 0.01
PIPE_CAPACITY_BYTES = 262144


class Relay:
    """One process with its pipes; what became of it.

    `status` is how it ended, as of waitpid, or None; `cause` why it was ended, or None;
    `wall_ms` how long it took.
    """

    def __init__(self, host, displays, process):
        self.host = host
        self.displays = displays
        self.process = process
        self.status = self.cause = None
        self.streams = []
        self.stdin_open = False
        self.is_anything_alive = True
        self.wall_ms = 0.0

    def run(self, plan, stdin):
        """Until the program's first process has ended or a limit is met. The rest is `end_everything`."""
        self.limits = plan["limits"]
        self.kills_overflow = plan["onOverflow"] == "kill"
        self.takes_displays = plan["displays"] is not None
        started = time.monotonic()
        self.deadline = started + self.limits["wall_ms"] / 1000
        self.watches_cpu = self.limits["cpu_ms"] < self.limits["wall_ms"] * self.limits["cpus"]
        self.cpu_before_ms = cgroup_cpu_ms() if self.watches_cpu else None
        self.streams = [
            OutputStream("stdout", self.process.stdout_read, self.host, self.limits["output_bytes"]),
            OutputStream("stderr", self.process.stderr_read, self.host, self.limits["output_bytes"]),
        ]
        self.stdin = memoryview(stdin)
        self.stdin_open = True
        is_ending = False
        # Where it has ended already, the signal may have been heard already.
        is_woken = True
        while True:
            if is_woken:
                self.is_anything_alive = self.reap()
            if self.status is not None or self.cause:
                break
            now = time.monotonic()
            self.cause = self.limit_met(now)
            if self.cause:
                break
            if self.stdin_open and not self.stdin:
                self.close_stdin()
            ready = self.await_anything(now)
            if not is_ending and CHILD.notes.is_ending():
                is_ending = True
                self.host.held_until = time.monotonic() + HOLD_LAST_S
            is_woken = False
            for descriptor in ready:
                is_woken = self.serve(descriptor) or is_woken
        self.wall_ms = (time.monotonic() - started) * 1000

    def limit_met(self, now):
        if now >= self.deadline:
            return "wall_ms"
        if self.watches_cpu:
            used_ms = cgroup_cpu_ms()
            if used_ms is not None and self.cpu_before_ms is not None and used_ms - self.cpu_before_ms >= self.limits["cpu_ms"]:
                return "cpu_ms"
        return None

    def await_anything(self, now):
        """The descriptors that something can be done with; none when the time has come to look at the limits."""
        wait = self.deadline - now
        if self.watches_cpu:
            wait = min(wait, CPU_POLL_S)
        poller = select.poll()
        poller.register(WAKE_READ, select.POLLIN)
        poller.register(0, select.POLLIN)
        if self.host.is_held:
            wait = min(wait, max(0, self.host.held_until - now))
        elif self.host.outgoing:
            poller.register(1, select.POLLOUT)
        if self.stdin_open:
            poller.register(self.process.stdin_write, select.POLLOUT)
        if self.host.outgoing_bytes < OUTGOING_BYTES_MAX:
            for stream in self.streams:
                if stream.open:
                    poller.register(stream.descriptor, select.POLLIN)
            if self.takes_displays:
                poller.register(self.displays.descriptor, select.POLLIN)
        return [descriptor for descriptor, _ in poller.poll(-(-wait * 1000 // 1))]

    def serve(self, descriptor):
        """Does what can be done. Whether a process may have ended."""
        if descriptor == WAKE_READ:
            os.read(WAKE_READ, 4096)
            return True
        if descriptor == 0:
            kinds = [kind for kind, _ in self.host.receive()]
            if FRAME_TYPES["CANCEL"] in kinds or self.host.closed:
                self.cause = "cancelled"
        elif descriptor == 1:
            self.host.pump()
        elif descriptor == self.displays.descriptor:
            self.displays.serve()
        elif self.stdin_open and descriptor == self.process.stdin_write:
            self.write_stdin()
        else:
            self.read_stream(descriptor)
            # Most likely it has ended, and the signal is on its way.
            return not any(stream.open for stream in self.streams)
        return False

    def write_stdin(self):
        try:
            self.stdin = self.stdin[os.write(self.process.stdin_write, self.stdin[:PIPE_READ_BYTES]) :]
        except BlockingIOError:
            pass
        except OSError:
            self.stdin = memoryview(b"")

    def close_stdin(self):
        if self.stdin_open:
            self.stdin_open = False
            os.close(self.process.stdin_write)

    def read_stream(self, descriptor):
        for stream in self.streams:
            if stream.open and stream.descriptor == descriptor:
                stream.read()
                self.check_overflow(stream)

    def check_overflow(self, stream):
        if self.kills_overflow and stream.total > stream.keep_bytes:
            self.cause = self.cause or "output_bytes"

    def finish_streams(self):
        """Ends the streams; how much of each was left out. What was read last may be what was too much."""
        for stream in self.streams:
            self.check_overflow(stream)
        return {stream.name: stream.finish() for stream in self.streams}

    def drain(self):
        """Reads what the program's pipes hold now, and little more where somebody goes on filling them."""
        for stream in self.streams:
            for _ in range(2 * PIPE_CAPACITY_BYTES // PIPE_READ_BYTES):
                if not stream.open or not stream.read():
                    break
            self.check_overflow(stream)

    def reap(self):
        """Collects every ended process; remembers how the program's first one ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.process.pid:
                self.status = status

    def read_what_is_there(self):
        """Reads what the pipes hold, as far as the host takes it."""
        give_up = time.monotonic() + REAP_GRACE_S
        for stream in self.streams:
            while stream.open and time.monotonic() < give_up:
                if self.host.outgoing_bytes >= OUTGOING_BYTES_MAX:
                    self.host.flush(time.monotonic() + 0.1)
                elif not stream.read():
                    break

    def end_everything(self):
        """Kills what is left, waits for it, reads the pipes to their end; whether nothing is left alive."""
        give_up = time.monotonic() + REAP_GRACE_S
        alive = self.is_anything_alive
        while True:
            if alive:
                try:
                    os.kill(-1, signal.SIGKILL)
                except OSError:
                    pass
                alive = self.reap()
            for stream in self.streams:
                while stream.open and self.host.outgoing_bytes < OUTGOING_BYTES_MAX and stream.read():
                    if time.monotonic() >= give_up:
                        break
            self.host.pump()
            if time.monotonic() >= give_up:
                return not alive
            if not alive and not any(stream.open for stream in self.streams):
                return True
            select.select([WAKE_READ], [], [], 0.001 if alive else 0)

    def outcome(self):
        """How it ended, as EXIT and INPUT_EXIT tell it."""
        status = self.status
        return {
            "exitCode": os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
            "signal": os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
            "cause": self.cause,
            "wallMs": self.wall_ms,
            "totalBytes": {stream.name: stream.total for stream in self.streams},
        }

    def close(self):
        """Gives back the descriptors. The process has ended."""
        for stream in self.streams:
            stream.close()
        self.close_stdin()
