"""PID 1 of every sandbox: takes one project, runs it once, tells how it ended.

Standard library only. It speaks to the host in the frames of docs/SUPERVISOR.md
over stdin and stdout; its source reaches the container as an argument, so nothing
is mounted and any image with Python 3.9 or newer will do. It runs last of the files
of this folder, in one namespace with them: CHILD is the forked, waiting child the
program will run in.

This process is trusted, the child is not. Both have the same uid, so this one is
made non-dumpable before anything untrusted exists: /proc/1/fd and ptrace are then
closed to the child. It decides nothing about isolation, which is the container's.
"""

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

PROTOCOL = 3
# How long to wait for killed processes to be gone, and for their pipes to end.
REAP_GRACE_S = 2.0
CPU_POLL_S = 0.1
# How long STARTED and the first output wait for the end, to leave with it.
HOLD_FIRST_S = 0.002
# And what is put out when the program's interpreter ends already.
HOLD_LAST_S = 0.01
# How long this process stays after its last frame. Its end wakes the engine, while the host answers.
LEAVE_AFTER_S = 0.02
# What is on its way when this process ends, the engine passes on for two seconds and no longer, however slow its reader is.
# After more than that takes no time, this process stays until the host, which has heard everything, closes the link.
SURELY_PASSED_BYTES = 1 << 15
LEAVE_AT_LAST_S = 60.0

F_SETPIPE_SZ = 1031
PIPE_CAPACITY_BYTES = 262144


def program_of(plan, environment):
    """What the child is told before its files are there."""
    entry = plan["entry"]
    args = plan["args"]
    if entry["kind"] == "module":
        command = [b"-m", entry["name"].encode()]
    else:
        command = [os.fsencode(entry["path"])]
    fresh = (
        plan["commandChain"]
        # Read by libraries when they are imported, which has happened.
        or CHILD.preimports.were_other(plan["environment"])
        or any(name.startswith(("PYTHON", "LC_", "LANG", "MALLOC_", "GLIBC_")) for name in plan["environment"])
    )
    arguments = [os.fsencode(argument) for argument in args]
    command = [os.fsencode(sys.executable), b"python3"] + command + arguments
    if plan["commandChain"]:
        script = " && ".join("{ %s\n}" % step for step in plan["commandChain"])
        command = [b"/bin/sh", b"sh", b"-c", os.fsencode(script)]
    return {
        # A new interpreter instead of the fork; the child may have reasons of its own.
        "fresh": bool(fresh),
        "command": command,
        "entry": entry.get("path", ""),
        "module": entry.get("name", ""),
        "args": args,
        "environment": environment,
        "last_value": plan["wantsLastValue"],
        "displays": plan["displays"] is not None,
    }


def files_of(plan, unpacker):
    """What it is told once they are."""
    path = plan["entry"].get("path", "")
    return {
        # Not a module, a folder, or nothing at all. It may still be an archive.
        "is_script": path.endswith(".py")
        and bool(unpacker.known.get(os.fsencode(path)) or os.path.isfile(os.path.join(WORK, path))),
        "has_links": unpacker.has_links,
    }


class Run:
    """One plan, from its first frame to the exit frame."""

    def __init__(self, host, displays):
        self.host = host
        self.displays = displays
        self.plan = None
        self.unpacker = Unpacker()
        self.stdin = bytearray()
        self.cause = None
        self.status = None
        self.process = CHILD
        # With many inputs: each as (args, stdin, files), the project to restore, and what the current one may use.
        self.inputs = []
        self.archive = bytearray()
        self.damage = None
        self.is_told = self.is_told_of_files = False
        self.stdin_open = False
        self.total_bytes = None
        self.is_anything_alive = True

    def receive_project(self, poller):
        """Collects plan, project and stdin until the host says RELEASE."""
        released = False
        poller.register(WAKE_READ, select.POLLIN)
        while not released:
            if any(descriptor == WAKE_READ for descriptor, _ in poller.poll()):
                os.read(WAKE_READ, 4096)
                self.reap()
                if self.status is not None:
                    # The waiting process ended: where memory runs out, the kernel takes it first. Nothing can be run here.
                    os._exit(0)
            for kind, payload in self.host.receive():
                if kind == FRAME_TYPES["RUN"]:
                    self.plan = json.loads(payload)
                    self.unpacker.remembers = self.plan["artifacts"] is not None
                    if not self.plan["inputs"]:
                        self.tell()
                elif kind == FRAME_TYPES["ARCHIVE"]:
                    self.unpacker.feed(payload)
                    if self.plan["inputs"]:
                        self.archive += payload
                elif kind == FRAME_TYPES["INPUT"]:
                    begin = 4 + int.from_bytes(payload[:4], "big")
                    head = json.loads(payload[4:begin])
                    end = begin + head["stdinBytes"]
                    self.inputs.append((head["args"], payload[begin:end], payload[end:]))
                elif kind == FRAME_TYPES["STDIN"]:
                    self.stdin += payload
                elif kind == FRAME_TYPES["RELEASE"]:
                    released = True
                elif kind == FRAME_TYPES["CANCEL"]:
                    os._exit(0)
                elif kind == FRAME_TYPES["COMPILE"] and self.plan is None:
                    self.host.send("CODE", byte_code())
                    self.host.flush(time.monotonic() + REAP_GRACE_S)
                else:
                    raise Refused("sandbox_failed", "unexpected frame %d before the release" % kind)
            if self.unpacker.done and self.is_told and not self.is_told_of_files:
                # While the host records that the run begins, the child does all that comes before the first line.
                self.tell_of_files()
            if self.host.closed and not released:
                os._exit(0)
        self.unpacker.finish()

    def rlimits(self):
        """The limits of every process of the program; the child sets them before it begins."""
        limits = self.plan["limits"]
        cpu_seconds = -(-limits["cpu_ms"] // 1000)
        return [
            (resource.RLIMIT_CPU, (cpu_seconds + 1, cpu_seconds + 2)),
            (resource.RLIMIT_NOFILE, (limits["open_files"], limits["open_files"])),
            (resource.RLIMIT_FSIZE, (limits["disk_bytes"], limits["disk_bytes"])),
            (resource.RLIMIT_CORE, (0, 0)),
        ]

    def environment(self):
        environment = dict(os.environ)
        environment.pop("HOSTNAME", None)
        environment.update(self.plan["environment"])
        return environment

    def tell(self):
        """Tells the waiting process what to run. It makes itself ready, and begins at `go`."""
        self.is_told = True
        self.displays.begin(self, self.plan["displays"])
        self.say(b"P", dict(program_of(self.plan, self.environment()), rlimits=self.rlimits()))

    def tell_of_files(self):
        """Tells it what the files are, which are there."""
        self.is_told_of_files = True
        self.say(b"", files_of(self.plan, self.unpacker))

    def say(self, what, value):
        value = marshal.dumps(value)
        view = memoryview(what + struct.pack(">I", len(value)) + value)
        while view:
            view = view[os.write(self.process.go, view) :]

    def go(self):
        """Has the program begin."""
        if not self.is_told:
            self.tell()
        if not self.is_told_of_files:
            self.tell_of_files()
        os.write(self.process.go, b"G")
        os.close(self.process.go)

    def begin(self, process, given, wall_ms, output_bytes):
        """Makes the next input's process the one that is run."""
        args, stdin, _ = given
        limits = dict(self.plan["limits"], wall_ms=wall_ms)
        limits["output_bytes"] = min(limits["output_bytes"], max(1, output_bytes))
        self.plan = dict(self.plan, args=args, limits=limits)
        self.process, self.status, self.stdin = process, None, stdin
        self.is_told = self.is_told_of_files = False
        self.cause = None

    def read_what_is_there(self):
        """Reads what the pipes hold, as far as the host takes it."""
        give_up = time.monotonic() + REAP_GRACE_S
        for stream in self.streams:
            while stream.open and time.monotonic() < give_up:
                if self.host.outgoing_bytes >= OUTGOING_BYTES_MAX:
                    self.host.flush(time.monotonic() + 0.1)
                elif not stream.read():
                    break

    def close_process(self):
        if self.stdin_open:
            os.close(self.process.stdin_write)

    def said(self):
        """What the program said of its own end and of its last value; of many inputs, the last one's."""
        value = CHILD.notes.read(VALUE_NOTE) if self.plan["wantsLastValue"] else None
        exception = CHILD.notes.read(EXCEPTION_NOTE)
        return {
            "value": value and value[0],
            "valueOmittedBytes": value[1] if value else 0,
            "exception": exception and {"type": exception[0][:200], "line": exception[1] or None},
            "details": CHILD.notes.read(DETAIL_NOTE),
        }

    def report_input(self, index, cpu_ms, kills, omitted, said):
        status = self.status
        self.host.held_until = 0.0
        self.host.send_json(
            "INPUT_EXIT",
            {
                "token": self.plan["token"],
                "index": index,
                "exitCode": os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
                "signal": os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
                "cause": self.cause,
                "wallMs": self.wall_ms,
                "cpuMs": cpu_ms,
                "oomKills": kills,
                "totalBytes": {stream.name: stream.total for stream in self.streams},
                "omittedBytes": omitted,
                **said,
            },
        )

    def relay(self):
        """Passes bytes both ways until the program's first process has ended or a limit is met."""
        limits = self.plan["limits"]
        host = self.host
        started = time.monotonic()
        deadline = started + limits["wall_ms"] / 1000
        watches_cpu = limits["cpu_ms"] < limits["wall_ms"] * limits["cpus"]
        cpu_before = cgroup_cpu_ms() if watches_cpu else None
        self.streams = [
            OutputStream("stdout", self.process.stdout_read, host, limits["output_bytes"]),
            OutputStream("stderr", self.process.stderr_read, host, limits["output_bytes"]),
        ]
        stdin = memoryview(bytes(self.stdin))
        self.stdin = bytearray()
        self.stdin_open = True
        is_ending = False
        # Where it has ended already, the signal may have been heard already.
        is_woken = True
        while True:
            if is_woken:
                self.is_anything_alive = self.reap()
                is_woken = False
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
            if self.stdin_open and not stdin:
                os.close(self.process.stdin_write)
                self.stdin_open = False
            poller = select.poll()
            poller.register(WAKE_READ, select.POLLIN)
            poller.register(0, select.POLLIN)
            if host.is_held:
                wait = min(wait, max(0, host.held_until - now))
            elif host.outgoing:
                poller.register(1, select.POLLOUT)
            if self.stdin_open:
                poller.register(self.process.stdin_write, select.POLLOUT)
            if host.outgoing_bytes < OUTGOING_BYTES_MAX:
                for stream in self.streams:
                    if stream.open:
                        poller.register(stream.descriptor, select.POLLIN)
                if self.plan["displays"]:
                    poller.register(self.displays.descriptor, select.POLLIN)
            ready = poller.poll(-(-wait * 1000 // 1))
            if not is_ending and CHILD.notes.is_ending():
                is_ending = True
                host.held_until = time.monotonic() + HOLD_LAST_S
            for descriptor, _ in ready:
                if descriptor == WAKE_READ:
                    os.read(WAKE_READ, 4096)
                    is_woken = True
                elif descriptor == 0:
                    for kind, _ in host.receive():
                        if kind == FRAME_TYPES["CANCEL"]:
                            self.cause = "cancelled"
                    if host.closed:
                        self.cause = "cancelled"
                elif descriptor == 1:
                    host.pump()
                elif descriptor == self.displays.descriptor:
                    self.displays.serve()
                elif self.stdin_open and descriptor == self.process.stdin_write:
                    try:
                        stdin = stdin[os.write(self.process.stdin_write, stdin[:PIPE_READ_BYTES]) :]
                    except BlockingIOError:
                        pass
                    except OSError:
                        stdin = memoryview(b"")
                else:
                    self.read_stream(descriptor)
                    # Most likely it has ended, and the signal is on its way.
                    is_woken = is_woken or not any(stream.open for stream in self.streams)
        self.wall_ms = (time.monotonic() - started) * 1000

    def read_stream(self, descriptor):
        for stream in self.streams:
            if stream.open and stream.descriptor == descriptor:
                stream.read()
                self.check_overflow(stream)

    def check_overflow(self, stream):
        if self.plan["onOverflow"] == "kill" and stream.total > stream.keep_bytes:
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

    def collect_artifacts(self):
        """Sends what the program left, unless nobody asked, or waits any more."""
        if self.plan["artifacts"] is not None and self.cause != "cancelled" and not self.host.closed:
            wish, known = self.plan["artifacts"], self.unpacker.known
            ArtifactCollector(self.host, wish, known, self.plan["token"]).collect()

    def report(self):
        status = self.status
        kills = oom_kills()
        self.host.send_json(
            "EXIT",
            {
                "token": self.plan["token"],
                "exitCode": os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
                "signal": os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
                "cause": self.cause,
                "wallMs": self.wall_ms,
                "cpuMs": children_cpu_ms(),
                "memoryPeakBytes": memory_peak_bytes(),
                "oomKills": kills,
                "unseenDisplays": self.process is CHILD and CHILD.notes.shows_unseen(self.displays.taken),
                "totalBytes": self.total_bytes or {stream.name: stream.total for stream in self.streams},
                "omittedBytes": self.omitted_bytes,
                "omittedDisplays": self.displays.omitted,
                "damage": self.damage,
                **({} if self.inputs else self.said()),
            },
        )


def prefer_the_program():
    """Makes the kernel choose the program, not this process, when memory runs out."""
    try:
        with open("/proc/%d/oom_score_adj" % CHILD.pid, "w") as file:
            file.write("1000")
    except OSError:
        pass


def leave(host):
    host.await_close(LEAVE_AFTER_S if host.sent_bytes < SURELY_PASSED_BYTES else LEAVE_AT_LAST_S)


def supervise():
    host = Host()
    # The kernel drops signals to PID 1 that have no handler, whoever of its namespace sends them.
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGINT else signal.SIG_IGN)
    signal.set_wakeup_fd(WAKE_WRITE, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    set_dumpable(0)
    prefer_the_program()
    for descriptor in (CHILD.stdout_read, CHILD.stderr_read):
        try:
            fcntl.fcntl(descriptor, F_SETPIPE_SZ, PIPE_CAPACITY_BYTES)
        except OSError:
            pass
    os.chdir(WORK)
    displays = Displays()
    problem = CHILD.await_ready()
    own_pages()
    host.send_json("HELLO", {"protocol": PROTOCOL, "python": "%d.%d.%d" % sys.version_info[:3], "problem": problem})
    run = Run(host, displays)
    poller = select.poll()
    poller.register(0, select.POLLIN)
    try:
        run.receive_project(poller)
        if not run.plan["inputs"]:
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
    # The byte code that another container is made of has long passed.
    host.sent_bytes = 0
    if run.plan["inputs"]:
        host.send("STARTED")
        run.omitted_bytes = {"stdout": 0, "stderr": 0}
        run_inputs(run)
        # How the inputs ended was told; the whole ended because it was at its end.
        run.status = 0
        if run.cause != "cancelled":
            run.cause = None
        run.report()
        host.flush(time.monotonic() + 30)
        leave(host)
        return
    host.held_until = time.monotonic() + HOLD_FIRST_S
    host.send("STARTED")
    run.relay()
    is_over = run.end_everything()
    run.omitted_bytes = run.finish_streams()
    if is_over:
        run.collect_artifacts()
    run.report()
    host.flush(time.monotonic() + 30)
    leave(host)


WAKE_READ, WAKE_WRITE = os.pipe()
os.set_blocking(WAKE_READ, False)
os.set_blocking(WAKE_WRITE, False)
supervise()
os._exit(0)
