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
import os
import _signal as signal
import select
import sys
import time

PROTOCOL = 3
# How long STARTED and the first output wait for the end, to leave with it.
HOLD_FIRST_S = 0.002
# How long this process stays after its last frame. Its end wakes the engine, while the host answers.
LEAVE_AFTER_S = 0.02
# What is on its way when this process ends, the engine passes on for two seconds and no longer, however slow its reader is.
# After more than that takes no time, this process stays until the host, which has heard everything, closes the link.
SURELY_PASSED_BYTES = 1 << 15
LEAVE_AT_LAST_S = 60.0
# How long the last frames may take to leave.
LAST_WORDS_S = 30

F_SETPIPE_SZ = 1031


class Run:
    """One plan, from its first frame to the exit frame."""

    def __init__(self, host, displays):
        self.host = host
        self.displays = displays
        self.plan = None
        self.unpacker = Unpacker()
        self.stdin = bytearray()
        # The process that runs, or is to; of many inputs, the current one.
        self.relay = Relay(host, displays, CHILD)
        # What the process of a single run is told; of many inputs, each has its own.
        self.start = None
        # With many inputs: each as (args, stdin, files), and the project to restore.
        self.inputs = []
        self.archive = bytearray()
        self.damage = None
        self.total_bytes = self.omitted_bytes = None
        self.wall_ms = 0.0
        self.cpu = CpuMeter()

    def receive_project(self, poller):
        """Collects plan, project and stdin until the host says RELEASE."""
        released = False
        poller.register(WAKE_READ, select.POLLIN)
        while not released:
            if any(descriptor == WAKE_READ for descriptor, _ in poller.poll()):
                os.read(WAKE_READ, 4096)
                self.relay.reap()
                if self.relay.status is not None:
                    # The waiting process ended: where memory runs out, the kernel takes it first. Nothing can be run here.
                    os._exit(0)
            for kind, payload in self.host.receive():
                if kind == FRAME_TYPES["RUN"]:
                    self.plan = json.loads(payload)
                    self.unpacker.remembers = self.plan["artifacts"] is not None
                    if not self.plan["inputs"]:
                        self.displays.begin(self.relay, self.plan["displays"])
                        self.start = Start(CHILD, self.plan, self.unpacker)
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
                elif kind == FRAME_TYPES["PING"] and self.plan is None:
                    self.host.send("PONG")
                else:
                    raise Refused("sandbox_failed", "unexpected frame %d before the release" % kind)
            if self.unpacker.done and self.start:
                # While the host records that the run begins, the child does all that comes before the first line.
                self.start.tell_of_files()
            if self.host.closed and not released:
                os._exit(0)
        self.unpacker.finish()

    def run_once(self):
        """The program, whatever of it is left, and what it leaves."""
        self.host.held_until = time.monotonic() + HOLD_FIRST_S
        self.host.send("STARTED")
        self.relay.run(self.plan, bytes(self.stdin))
        is_over = self.relay.end_everything()
        self.omitted_bytes = self.relay.finish_streams()
        if is_over:
            self.collect_artifacts()

    def run_each(self):
        """The program once per input. How the inputs ended was told; the whole ends because it is at its end."""
        self.host.send("STARTED")
        self.omitted_bytes = {"stdout": 0, "stderr": 0}
        run_inputs(self)
        self.relay.status = 0
        self.relay.wall_ms = self.wall_ms
        if self.relay.cause != "cancelled":
            self.relay.cause = None

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
        self.host.held_until = 0.0
        self.host.send_json(
            "INPUT_EXIT",
            {
                "token": self.plan["token"],
                "index": index,
                **self.relay.outcome(),
                "cpuMs": cpu_ms,
                "oomKills": kills,
                "omittedBytes": omitted,
                **said,
            },
        )

    def collect_artifacts(self):
        """Sends what the program left, unless nobody asked, or waits any more."""
        if self.plan["artifacts"] is not None and self.relay.cause != "cancelled" and not self.host.closed:
            wish, known = self.plan["artifacts"], self.unpacker.known
            ArtifactCollector(self.host, wish, known, self.plan["token"]).collect()

    def report(self):
        outcome = self.relay.outcome()
        if self.total_bytes:
            outcome["totalBytes"] = self.total_bytes
        self.host.send_json(
            "EXIT",
            {
                "token": self.plan["token"],
                **outcome,
                "cpuMs": self.cpu.ms(),
                "memoryPeakBytes": memory_peak_bytes(),
                "oomKills": oom_kills(),
                "unseenDisplays": not self.inputs and CHILD.notes.shows_unseen(self.displays.taken),
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


def is_prepared(run, poller):
    """Takes the run; whether it can begin. Otherwise the host was told why not."""
    try:
        run.receive_project(poller)
        if run.start:
            run.start.go()
        return True
    except Refused as refusal:
        code, detail = refusal.code, str(refusal)
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            code, detail = "project_too_large", "the project does not fit into the sandbox"
        else:
            code, detail = "sandbox_failed", "%s: %s" % (type(problem).__name__, problem.strerror)
    run.host.send_json("REFUSED", {"code": code, "detail": detail})
    run.host.flush(time.monotonic() + REAP_GRACE_S)
    return False


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
    if not is_prepared(run, poller):
        return
    # The byte code that another container is made of has long passed.
    host.sent_bytes = 0
    if run.start:
        run.run_once()
    else:
        run.run_each()
    run.report()
    host.flush(time.monotonic() + LAST_WORDS_S)
    leave(host)


WAKE_READ, WAKE_WRITE = os.pipe()
os.set_blocking(WAKE_READ, False)
os.set_blocking(WAKE_WRITE, False)
supervise()
os._exit(0)
