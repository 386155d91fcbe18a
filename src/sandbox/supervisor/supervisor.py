"""PID 1 of every sandbox: takes one project, runs it once, tells how it ended.

Standard library only. It speaks to the host in the frames of docs/SUPERVISOR.md
over stdin and stdout; its source reaches the container as an argument, so nothing
is mounted and any image with Python 3.9 or newer will do. It runs after child.py,
in the same namespace: CHILD is the forked, waiting child the program will run in.

This process is trusted, the child is not. Both have the same uid, so this one is
made non-dumpable before anything untrusted exists: /proc/1/fd and ptrace are then
closed to the child. It decides nothing about isolation, which is the container's.
"""

import ctypes
import errno
import fcntl
import json
import marshal
import os
import _signal as signal
import resource
import select
import struct
import sys
import time

PROTOCOL = 1
WORK = "/work"
PIPE_READ_BYTES = 65536
# What is kept of the end of a stream once its head is full.
TAIL_BYTES_MAX = 65536
# Frames waiting for the host beyond this stop the reading of the program's pipes.
OUTGOING_BYTES_MAX = 1 << 20
# How long to wait for killed processes to be gone, and for their pipes to end.
REAP_GRACE_S = 2.0
CPU_POLL_S = 0.1

PR_SET_DUMPABLE = 4
F_SETPIPE_SZ = 1031
PIPE_CAPACITY_BYTES = 262144


# ---------------------------------------------------------------- frames


class Host:
    """The two framed streams to the host. Writing never blocks; `pump` sends what is waiting."""

    def __init__(self):
        self.incoming = bytearray()
        self.outgoing = []
        self.outgoing_bytes = 0
        self.closed = False
        os.set_blocking(1, False)
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_NONBLOCK)

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
        while self.outgoing and not self.closed:
            try:
                written = os.writev(1, self.outgoing[:64])
            except BlockingIOError:
                return
            except OSError:
                self.closed = True
                return
            self.outgoing_bytes -= written
            while written:
                first = self.outgoing[0]
                if written >= len(first):
                    written -= len(first)
                    self.outgoing.pop(0)
                else:
                    self.outgoing[0] = memoryview(first)[written:]
                    written = 0

    def flush(self, deadline):
        """Waits until everything is sent, the host is gone or the deadline has passed."""
        poller = select.poll()
        poller.register(1, select.POLLOUT)
        while self.outgoing and not self.closed and time.monotonic() < deadline:
            poller.poll(100)
            self.pump()

    def receive(self):
        """Yields the complete frames that can be had without waiting. Ends with the host."""
        while not self.closed:
            try:
                part = os.read(0, 1 << 20)
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
            if not part:
                return


# ---------------------------------------------------------------- the project


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

    def __init__(self):
        self.buffered = bytearray()
        self.file = -1
        self.file_left = 0
        self.padding = 0
        self.records = {}
        self.record_left = 0
        self.record = bytearray()
        self.done = False

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
            os.close(self.file)
            self.file = -1
        return written

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
        if kind == b"5":
            os.mkdir(path, 0o755)
        elif kind == b"2":
            os.symlink(target, path)
        elif kind == b"0":
            mode = 0o755 if int(block[100:107], 8) & 0o111 else 0o644
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            if size:
                self.file = descriptor
                self.file_left = size
            else:
                os.close(descriptor)
        else:
            raise Refused("sandbox_failed", "unexpected entry type in the canonical archive")

    def finish(self):
        if not self.done or self.file_left or self.padding or self.buffered or self.records:
            raise Refused("sandbox_failed", "the canonical archive ended too early")


# ---------------------------------------------------------------- output


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
        os.set_blocking(descriptor, False)

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


# ---------------------------------------------------------------- what the kernel knows


def read_number(path, key=None):
    """A number from a cgroup file (or from its `key value` line); None where there is none."""
    try:
        with open(path) as file:
            text = file.read()
    except OSError:
        return None
    try:
        if key is None:
            return int(text)
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
    except ValueError:
        pass
    return None


def first_number(*candidates):
    for path, key in candidates:
        value = read_number(path, key)
        if value is not None:
            return value
    return None


def oom_kills():
    return first_number(
        ("/sys/fs/cgroup/memory.events", "oom_kill"), ("/sys/fs/cgroup/memory/memory.oom_control", "oom_kill")
    )


def memory_peak_bytes():
    return first_number(
        ("/sys/fs/cgroup/memory.peak", None), ("/sys/fs/cgroup/memory/memory.max_usage_in_bytes", None)
    )


def cgroup_cpu_ms():
    microseconds = read_number("/sys/fs/cgroup/cpu.stat", "usage_usec")
    if microseconds is not None:
        return microseconds / 1000
    nanoseconds = read_number("/sys/fs/cgroup/cpuacct/cpuacct.usage")
    return None if nanoseconds is None else nanoseconds / 1e6


def children_cpu_ms():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


# ---------------------------------------------------------------- the run


def program_of(plan, environment):
    """What the child is told. Only a plain script can run in the fork; all else is a new interpreter."""
    entry = plan["entry"]
    args = plan["args"]
    if entry["kind"] == "module":
        command = [b"-m", entry["name"].encode()]
    else:
        command = [os.fsencode(entry["path"])]
    fresh = (
        plan["preCommands"]
        or entry["kind"] == "module"
        or any(name.startswith(("PYTHON", "LC_", "LANG", "MALLOC_", "GLIBC_")) for name in plan["environment"])
        or not entry["path"].endswith(".py")
        or not os.path.isfile(os.path.join(WORK, entry["path"]))
    )
    arguments = [os.fsencode(argument) for argument in args]
    command = [os.fsencode(sys.executable), b"python3"] + command + arguments
    if plan["preCommands"]:
        script = " && ".join("{ %s\n}" % command for command in plan["preCommands"])
        script += ' && exec "$@"'
        command = [b"/bin/sh", b"sh", b"-c", os.fsencode(script), b"sh", command[0]] + command[2:]
    return {
        "directory": WORK,
        # A new interpreter instead of the fork; the child finds one more reason by itself, an archive.
        "fresh": bool(fresh),
        "command": command,
        "entry": entry.get("path", ""),
        "args": args,
        "environment": environment,
        "last_value": plan["wantsLastValue"],
    }


class Run:
    """One plan, from its first frame to the exit frame."""

    def __init__(self, host):
        self.host = host
        self.plan = None
        self.unpacker = Unpacker()
        self.stdin = bytearray()
        self.cause = None
        self.status = None

    def receive_project(self, poller):
        """Collects plan, project and stdin until the host says RELEASE."""
        released = False
        while not released:
            poller.poll()
            for kind, payload in self.host.receive():
                if kind == FRAME_TYPES["RUN"]:
                    self.plan = json.loads(payload)
                elif kind == FRAME_TYPES["ARCHIVE"]:
                    self.unpacker.feed(payload)
                elif kind == FRAME_TYPES["STDIN"]:
                    self.stdin += payload
                elif kind == FRAME_TYPES["RELEASE"]:
                    released = True
                elif kind == FRAME_TYPES["CANCEL"]:
                    os._exit(0)
                else:
                    raise Refused("sandbox_failed", "unexpected frame %d before the release" % kind)
            if self.host.closed and not released:
                os._exit(0)
        self.unpacker.finish()

    def apply_limits(self):
        limits = self.plan["limits"]
        cpu_seconds = -(-limits["cpu_ms"] // 1000)
        for which, soft, hard in (
            (resource.RLIMIT_CPU, cpu_seconds + 1, cpu_seconds + 2),
            (resource.RLIMIT_NOFILE, limits["open_files"], limits["open_files"]),
            (resource.RLIMIT_FSIZE, limits["disk_bytes"], limits["disk_bytes"]),
            (resource.RLIMIT_CORE, 0, 0),
        ):
            resource.prlimit(CHILD.pid, which, (soft, hard))
        try:
            with open("/proc/%d/oom_score_adj" % CHILD.pid, "w") as file:
                file.write("1000")
        except OSError:
            pass

    def environment(self):
        environment = dict(os.environ)
        environment.pop("HOSTNAME", None)
        environment.update(self.plan["environment"])
        return environment

    def go(self):
        self.apply_limits()
        program = marshal.dumps(program_of(self.plan, self.environment()))
        view = memoryview(program)
        while view:
            view = view[os.write(CHILD.go_write, view) :]
        os.close(CHILD.go_write)

    def relay(self):
        """Passes bytes both ways until the program's first process has ended or a limit is met."""
        limits = self.plan["limits"]
        host = self.host
        started = time.monotonic()
        deadline = started + limits["wall_ms"] / 1000
        watches_cpu = limits["cpu_ms"] < limits["wall_ms"] * limits["cpus"]
        cpu_before = cgroup_cpu_ms() if watches_cpu else None
        self.streams = [
            OutputStream("stdout", CHILD.stdout_read, host, limits["output_bytes"]),
            OutputStream("stderr", CHILD.stderr_read, host, limits["output_bytes"]),
        ]
        os.set_blocking(CHILD.stdin_write, False)
        stdin = memoryview(bytes(self.stdin))
        self.stdin = bytearray()
        stdin_open = True
        while True:
            self.reap()
            if self.status is not None or self.cause:
                break
            now = time.monotonic()
            if now >= deadline:
                self.cause = "wall_ms"
                break
            wait = deadline - now
            if watches_cpu:
                wait = min(wait, CPU_POLL_S)
                used = cgroup_cpu_ms()
                if used is not None and cpu_before is not None and used - cpu_before >= limits["cpu_ms"]:
                    self.cause = "cpu_ms"
                    break
            if stdin_open and not stdin:
                os.close(CHILD.stdin_write)
                stdin_open = False
            poller = select.poll()
            poller.register(WAKE_READ, select.POLLIN)
            poller.register(0, select.POLLIN)
            if host.outgoing:
                poller.register(1, select.POLLOUT)
            if stdin_open:
                poller.register(CHILD.stdin_write, select.POLLOUT)
            if host.outgoing_bytes < OUTGOING_BYTES_MAX:
                for stream in self.streams:
                    if stream.open:
                        poller.register(stream.descriptor, select.POLLIN)
            for descriptor, _ in poller.poll(wait * 1000 + 1):
                if descriptor == WAKE_READ:
                    os.read(WAKE_READ, 4096)
                elif descriptor == 0:
                    for kind, _ in host.receive():
                        if kind == FRAME_TYPES["CANCEL"]:
                            self.cause = "cancelled"
                    if host.closed:
                        self.cause = "cancelled"
                elif descriptor == 1:
                    host.pump()
                elif stdin_open and descriptor == CHILD.stdin_write:
                    try:
                        stdin = stdin[os.write(CHILD.stdin_write, stdin[:PIPE_READ_BYTES]) :]
                    except BlockingIOError:
                        pass
                    except OSError:
                        stdin = memoryview(b"")
                else:
                    self.read_stream(descriptor)
        self.wall_ms = (time.monotonic() - started) * 1000

    def read_stream(self, descriptor):
        for stream in self.streams:
            if stream.open and stream.descriptor == descriptor:
                stream.read()
                if self.plan["onOverflow"] == "kill" and stream.total > stream.keep_bytes:
                    self.cause = "output_bytes"

    def reap(self):
        """Collects every ended process; remembers how the program's first one ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == CHILD.pid:
                self.status = status

    def end_everything(self):
        """Kills what is left, waits for it, reads the pipes to their end."""
        give_up = time.monotonic() + REAP_GRACE_S
        while True:
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
                return
            if not alive and not any(stream.open for stream in self.streams):
                return
            select.select([WAKE_READ], [], [], 0.001 if alive else 0)

    def report(self):
        status = self.status
        kills = oom_kills()
        value = CHILD.read_note(VALUE_NOTE)
        exception = CHILD.read_note(EXCEPTION_NOTE)
        self.host.send_json(
            "EXIT",
            {
                "exitCode": os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
                "signal": os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
                "cause": self.cause,
                "wallMs": self.wall_ms,
                "cpuMs": children_cpu_ms(),
                "memoryPeakBytes": memory_peak_bytes(),
                "oomKills": kills,
                "value": value and value[0],
                "exception": exception and {"type": exception[0][:200], "line": exception[1] or None},
                "totalBytes": {stream.name: stream.total for stream in self.streams},
                "omittedBytes": {stream.name: stream.finish() for stream in self.streams},
            },
        )


def close_to_the_child():
    """Makes this process non-dumpable: its /proc files become root's (prctl(2), proc(5))."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_DUMPABLE")


def supervise():
    host = Host()
    # The kernel drops signals to PID 1 that have no handler, whoever of its namespace sends them.
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGINT else signal.SIG_IGN)
    signal.set_wakeup_fd(WAKE_WRITE, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    close_to_the_child()
    for descriptor in (CHILD.stdout_read, CHILD.stderr_read):
        try:
            fcntl.fcntl(descriptor, F_SETPIPE_SZ, PIPE_CAPACITY_BYTES)
        except OSError:
            pass
    os.chdir(WORK)
    host.send_json("HELLO", {"protocol": PROTOCOL, "python": "%d.%d.%d" % sys.version_info[:3]})
    run = Run(host)
    poller = select.poll()
    poller.register(0, select.POLLIN)
    try:
        run.receive_project(poller)
        run.go()
    except Refused as refusal:
        host.send_json("REFUSED", {"code": refusal.code, "detail": str(refusal)})
        host.flush(time.monotonic() + REAP_GRACE_S)
        return
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            host.send_json("REFUSED", {"code": "project_too_large", "detail": "the project does not fit into the sandbox"})
        else:
            host.send_json("REFUSED", {"code": "sandbox_failed", "detail": "%s: %s" % (type(problem).__name__, problem.strerror)})
        host.flush(time.monotonic() + REAP_GRACE_S)
        return
    host.send("STARTED")
    run.relay()
    run.end_everything()
    run.report()
    host.flush(time.monotonic() + 30)


WAKE_READ, WAKE_WRITE = os.pipe()
os.set_blocking(WAKE_READ, False)
os.set_blocking(WAKE_WRITE, False)
supervise()
os._exit(0)
