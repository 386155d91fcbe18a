"""One program, many inputs: every input in a process of its own, everything else as new in between.

The processes are forked by the waiting child, which ran no foreign code and never
learns of an input: PID 1's memory, with the token and all inputs in it, is never
copied into a program. Part of PID 1's one namespace.
"""

import ctypes
import errno
import os
import select
import time

TEMPLATE_GRACE_S = 5.0
# What a file takes of the memory beside its content.
INODE_BYTES = 1024
# Where files take more than this part of the memory, they are removed before the next process is forked.
FILES_PART = 8
# Of System V objects between two inputs.
NUMBERS_MAX = 1 << 20
SWEPT = ("/work", "/tmp", "/dev/shm")


class Damaged(Exception):
    """The next input could not find what the first one found."""


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


class Sockets:
    """Unix sockets of the sandbox. One that is only in a message it was sent to itself outlives its process, and its
    name with it, until the kernel looks for such (unix(7), SCM_RIGHTS)."""

    def __init__(self):
        """While the template waits: nothing else has begun."""
        self.most = None
        try:
            self.descriptor = os.open("/proc/net/unix", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        lines = self.lines()
        # With a network that is not the sandbox's own, others' are among them.
        if not self.is_named(lines):
            # The two that the next process hears by come and go.
            self.most = lines.count(b"\n") + 2

    def lines(self):
        return os.pread(self.descriptor, 1 << 16, 0)

    @staticmethod
    def is_named(lines):
        return b"@" in lines or b"/" in lines

    def await_end(self):
        """@raises Damaged when one of a program does not go."""
        if self.most is None:
            return
        give_up = time.monotonic() + TEMPLATE_GRACE_S
        while time.monotonic() < give_up:
            lines = self.lines()
            if lines.count(b"\n") <= self.most and not self.is_named(lines):
                return
            # Closing one has the kernel look.
            for descriptor in socket_pair():
                os.close(descriptor)
            time.sleep(0.001)
        raise Damaged("a socket of an input could not be ended")


def file_bytes():
    """About what files take of the memory."""
    taken = 0
    for place in SWEPT:
        try:
            disk = os.statvfs(place)
        except OSError:
            continue
        taken += (disk.f_blocks - disk.f_bfree) * disk.f_frsize + (disk.f_files - disk.f_ffree) * INODE_BYTES
    return taken


class SystemV:
    """System V objects, which outlive whoever made them."""

    KINDS = (
        ("shm", lambda: LIBC.shmget(0, ctypes.c_size_t(1), 0o1600), lambda number: LIBC.shmctl(number, 0, None)),
        ("msg", lambda: LIBC.msgget(0, 0o1600), lambda number: LIBC.msgctl(number, 0, None)),
        ("sem", lambda: LIBC.semget(0, 1, 0o1600), lambda number: LIBC.semctl(number, 0, 0, None)),
    )

    def __init__(self):
        # The number an object of ours had. Those that can be made at all: a filter that refuses it does so to the end.
        self.numbers = {}
        for kind, make, remove in self.KINDS:
            number = make()
            if number >= 0:
                remove(number)
            if number >= 0 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
                self.numbers[kind] = number

    def sweep(self):
        """Removes them all. @raises OSError."""
        for kind, make, remove in self.KINDS:
            if kind not in self.numbers:
                continue
            try:
                descriptor = os.open("/proc/sysvipc/" + kind, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                # gVisor lists none, and gives numbers one after the other.
                before, number = self.numbers[kind], make()
                if not 0 <= number - before <= NUMBERS_MAX:
                    raise OSError(errno.ENOSPC, "there may be System V objects")
                for made in range(max(0, before), number + 1):
                    remove(made)
                self.numbers[kind] = number
                continue
            with open(descriptor, "rb", buffering=0) as file:
                for line in file.readall().splitlines()[1:]:
                    remove(int(line.split()[1]))


def sweep(system_v):
    """Empties what a program can write to; every process of it has ended. @raises OSError."""
    for place in SWEPT:
        if os.path.isdir(place):
            empty(place)
    system_v.sweep()


def empty(place):
    """Removes everything in a directory, whatever its modes and however deep: folders are lifted up, never descended."""
    try:
        os.chmod(place, 0o755 if place == WORK else 0o1777)
        for name in os.listxattr(place):
            os.removexattr(place, name)
        os.utime(place)
    except OSError:
        # /dev/shm is root's.
        pass
    lifted = 0
    prefix = os.path.join(place, os.urandom(8).hex())
    while True:
        lifted_before = lifted
        # One after the other: a list of all the names there can be would need memory, and there may be none left.
        with os.scandir(place) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                    continue
                try:
                    os.rmdir(entry.path)
                    continue
                except OSError:
                    os.chmod(entry.path, 0o700)
                with os.scandir(entry.path) as inside:
                    for inner in inside:
                        if not inner.is_dir(follow_symlinks=False):
                            os.unlink(inner.path)
                            continue
                        # A directory that may not be written cannot be moved: its `..` changes.
                        os.chmod(inner.path, 0o700)
                        lifted += 1
                        os.rename(inner.path, "%s-%d" % (prefix, lifted))
                os.rmdir(entry.path)
        # Nobody else is alive: what was not lifted up is gone.
        if lifted == lifted_before:
            return


def unpack(tar, lies_over=False):
    unpacker = Unpacker(lies_over)
    unpacker.feed(tar)
    unpacker.finish()


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
        run.displays.begin(run, None)
        sockets = Sockets()
        template = Template()
        system_v = SystemV()
        kills = oom_kills() or 0
        for index, given in enumerate(run.inputs):
            left_ms = (give_up - time.monotonic()) * 1000
            if left_ms <= 0 or output_left <= 0 or run.cause == "cancelled":
                break
            if index:
                sweep(system_v)
                sockets.await_end()
                CHILD.notes.clear()
                unpack(run.archive)
            if given[2]:
                unpack(given[2], lies_over=True)
            cpu_before = children_cpu_ms()
            run.begin(InputProcess(template), given, min(wall_limit, left_ms), output_left)
            run.go()
            run.relay()
            run.read_what_is_there()
            try:
                template.end_all(run.reap, file_bytes() < plan["limits"]["memory_bytes"] // FILES_PART)
            except Damaged as problem:
                damage = str(problem)
                run.end_everything()
            run.read_what_is_there()
            omitted = run.finish_streams()
            for stream in run.streams:
                stream.close()
                run.total_bytes[stream.name] += stream.total
                output_left -= stream.total - omitted[stream.name]
            run.close_process()
            kills_before, kills = kills, oom_kills() or 0
            said = run.said()
            output_left -= len(said["value"] or "") + len((said["details"] or ("",))[0])
            run.report_input(index, children_cpu_ms() - cpu_before, kills - kills_before, omitted, said)
            failed = run.cause is not None or run.status != 0
            if damage or failed and bounds["stopOnFailure"]:
                break
    except Damaged as problem:
        damage = damage or str(problem)
    except OSError as problem:
        damage = "the sandbox could not be restored: %s" % problem.strerror
    run.wall_ms = (time.monotonic() - started) * 1000
    run.damage = damage
