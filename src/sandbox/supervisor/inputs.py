"""One program, many inputs: every input in a process of its own, everything else as new in between.

The processes are forked by the waiting child, which ran no foreign code and never
learns of an input: PID 1's memory, with the token and all inputs in it, is never
copied into a program. Part of PID 1's one namespace.
"""

import os
import select
import time

TEMPLATE_GRACE_S = 5.0
# Where files take more than this part of the memory, they are removed before the next process is forked.
FILES_PART = 8


class InputProcess:
    """The process of one input and PID 1's ends of its pipes; what CHILD is for a single run."""

    def __init__(self, template):
        stdin_read, self.stdin_write = os.pipe()
        self.stdout_read, stdout_write = os.pipe()
        self.stderr_read, stderr_write = os.pipe()
        go_read, self.go = socket_pair()
        theirs = (stdin_read, stdout_write, stderr_write, go_read)
        try:
            self.pid = template.fork(theirs)
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        never_wait(self)


class Template:
    """The waiting child, made to fork one process after the other instead of running a program itself."""

    def __init__(self):
        import _socket

        self.scheduling = own_scheduling()
        self.rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
        try:
            with open("/proc/self/oom_score_adj") as mine, open("/proc/%d/oom_score_adj" % CHILD.pid, "w") as file:
                file.write(mine.read())
        except OSError:
            pass
        self.socket = _socket.socket(fileno=CHILD.go)
        self.socket.send(b"S")
        self.answer(1)

    def fork(self, descriptors):
        """The pid of a new process, PID 1's own child. @raises Damaged."""
        if own_scheduling() != self.scheduling:
            raise Damaged("an input changed the priority of the sandbox")
        rights = b"".join(descriptor.to_bytes(4, sys.byteorder) for descriptor in descriptors)
        try:
            self.socket.sendmsg([b"F"], [self.rights + (rights,)])
        except OSError:
            raise Damaged("an input ended the process its successors come from")
        pid = int.from_bytes(self.answer(4), "big")
        if not pid:
            raise Damaged("an input changed the priority of the sandbox")
        return pid

    def end_all(self, reap, forks_next):
        """Ends every process but this one and the template. @raises Damaged when that cannot be had.

        @param forks_next whether there is memory for the next process now; otherwise it is forked when it is asked for.
        """
        try:
            # It may have been stopped.
            os.kill(CHILD.pid, 18)
            self.socket.send(b"K" if forks_next else b"E")
        except OSError:
            raise Damaged("an input ended the process its successors come from")
        if self.answer(1, reap) != b"k":
            raise Damaged("the processes of an input could not be ended")

    def answer(self, size, reap=lambda: None):
        data = b""
        give_up = time.monotonic() + TEMPLATE_GRACE_S
        poller = select.poll()
        poller.register(self.socket.fileno(), select.POLLIN)
        poller.register(WAKE_READ, select.POLLIN)
        while len(data) < size and time.monotonic() < give_up:
            reap()
            for descriptor, _ in poller.poll(50):
                if descriptor == WAKE_READ:
                    os.read(WAKE_READ, 4096)
                    continue
                try:
                    part = self.socket.recv(size - len(data))
                except OSError:
                    part = b""
                if not part:
                    raise Damaged("an input ended the process its successors come from")
                data += part
        if len(data) < size:
            raise Damaged("the process the inputs come from does not answer")
        return data


def unpack(tar, lies_over=False):
    unpacker = Unpacker(lies_over)
    unpacker.feed(tar)
    unpacker.finish()


def plan_of_input(plan, args, wall_ms, output_bytes):
    """The plan for one input: its arguments, and what is left of what all of them may use."""
    limits = dict(plan["limits"], wall_ms=wall_ms)
    limits["output_bytes"] = min(limits["output_bytes"], max(1, output_bytes))
    return dict(plan, args=args, limits=limits)


def run_inputs(run):
    """Runs every input in its turn, and tells how each ended. What was not run is the host's to see."""
    plan = run.plan
    bounds = plan["inputs"]
    give_up = time.monotonic() + bounds["wallMs"] / 1000
    output_left = bounds["outputBytes"]
    wall_limit = plan["limits"]["wall_ms"]
    started = time.monotonic()
    damage = None
    run.total_bytes = {"stdout": 0, "stderr": 0}
    try:
        # Nobody shows anything; its socket has a name.
        run.displays.begin(run.relay, None)
        sockets = Sockets()
        template = Template()
        system_v = SystemV()
        kills = oom_kills() or 0
        for index, given in enumerate(run.inputs):
            left_ms = (give_up - time.monotonic()) * 1000
            if left_ms <= 0 or output_left <= 0 or run.relay.cause == "cancelled":
                break
            if index:
                sweep(system_v)
                sockets.await_end()
                CHILD.notes.clear()
                unpack(run.archive)
            if given[2]:
                unpack(given[2], lies_over=True)
            cpu = CpuMeter()
            relay = run.relay = Relay(run.host, run.displays, InputProcess(template))
            args, stdin, _ = given
            its_plan = plan_of_input(plan, args, min(wall_limit, left_ms), output_left)
            Start(relay.process, its_plan, run.unpacker).go()
            relay.run(its_plan, stdin)
            relay.read_what_is_there()
            try:
                template.end_all(relay.reap, file_bytes() < plan["limits"]["memory_bytes"] // FILES_PART)
            except Damaged as problem:
                damage = str(problem)
                relay.end_everything()
            relay.read_what_is_there()
            omitted = relay.finish_streams()
            relay.close()
            for stream in relay.streams:
                run.total_bytes[stream.name] += stream.total
                output_left -= stream.total - omitted[stream.name]
            kills_before, kills = kills, oom_kills() or 0
            said = run.said()
            output_left -= len(said["value"] or "") + len((said["details"] or ("",))[0])
            run.report_input(index, cpu.ms(), kills - kills_before, omitted, said)
            failed = relay.cause is not None or relay.status != 0
            if damage or failed and bounds["stopOnFailure"]:
                break
    except Damaged as problem:
        damage = damage or str(problem)
    except OSError as problem:
        damage = "the sandbox could not be restored: %s" % problem.strerror
    run.wall_ms = (time.monotonic() - started) * 1000
    run.damage = damage
