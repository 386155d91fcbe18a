"""What the processes of one input leave: taken away before the next one begins.

Files, sockets that outlive their process, System V objects. To be called when every
process of the program has ended. Part of PID 1's one namespace.
"""

import ctypes
import errno
import os
import time

# What a file takes of the memory beside its content.
INODE_BYTES = 1024
# Of System V objects between two inputs.
NUMBERS_MAX = 1 << 20
SOCKET_GRACE_S = 5.0
SWEPT = ("/work", "/tmp", "/dev/shm")


class Damaged(Exception):
    """The next input could not find what the first one found."""


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
        give_up = time.monotonic() + SOCKET_GRACE_S
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
