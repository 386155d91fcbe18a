"""A process for each of many inputs, forked from the waiting child where a program would begin.

A fork from there has no frame of ours below it. The process it comes from never learns of an input:
what it is to run comes to each new one over a socket of its own. Part of PID 1's one namespace, and
of the child's; inputs.py is the other end.
"""

# prctl(2): where the kernel keeps the number of this thread for the C library.
PR_GET_TID_ADDRESS = 40
# clone(2), where it is known: its number, and whether the address of the thread's number comes before the other or after it.
CLONE = {"x86_64": (56, 1), "aarch64": (220, -1)}.get(os.uname().machine)
# As fork(3): CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID and SIGCHLD; and CLONE_PARENT.
CLONE_FLAGS = 0x01000000 | 0x00200000 | 17 | 0x00008000


class InputForks:
    def __init__(self, preimports):
        self.preimports = preimports
        self.taken = ()

    def serve(self):
        """Gives PID 1 a process for each input; returns in each of them, never in this one, with the descriptors of its
        stdin, stdout, stderr and of what it is told.

        The next process is forked as soon as
        everything of the input before has ended, while PID 1 restores the files, and waits for its pipes.
        """
        import _socket

        set_dumpable(0)
        scheduling = own_scheduling()
        control = _socket.socket(fileno=GO_DESCRIPTOR)
        # Descriptors come with what is said next, which must not be read with what was said before.
        control.send(b"s")
        spare = self.fork_spare(_socket)
        while spare is not None:
            asked, passed, _, _ = control.recvmsg(1, 64)
            if not asked:
                os._exit(0)
            if asked in b"KE":
                is_alone = self.end_all_others()
                control.send(b"k" if is_alone else b"?")
                spare = self.fork_spare(_socket) if is_alone and asked == b"K" else ()
                continue
            descriptors = self.descriptors_of(passed)
            spare = spare or self.fork_spare(_socket)
            if spare is None:
                break
            to_it, pid, middle = spare
            if middle:
                # Until it has ended it is the program's parent.
                os.waitpid(middle, 0)
            if own_scheduling() != scheduling:
                control.send(bytes(4))
            else:
                to_it.sendmsg([b"F"], passed)
                control.send(pid.to_bytes(4, "big"))
            to_it.close()
            for descriptor in descriptors:
                os.close(descriptor)
        control.detach()
        return self.taken

    def fork_spare(self, _socket):
        """A process that waits for the pipes of an input: (socket to it, its pid, the pid of one between the two or 0).

        In that process, once it has its pipes: None. It is PID 1's own child, because the kernel was asked for that
        or because the one in the middle ends at once.
        """
        ours, theirs = (_socket.socket(fileno=descriptor) for descriptor in socket_pair())
        pid, middle = self.fork_sibling(), 0
        if pid is None:
            middle = os.fork()
            if middle:
                pid = int.from_bytes(ours.recv(4), "big")
            else:
                pid = os.fork()
                if pid:
                    theirs.send(pid.to_bytes(4, "big"))
                    os._exit(0)
        if pid:
            theirs.close()
            return ours, pid, middle
        ours.close()
        self.begin_input()
        asked, passed, _, _ = theirs.recvmsg(1, 64)
        if not asked:
            os._exit(0)
        theirs.detach()
        self.taken = self.descriptors_of(passed)
        return None

    def fork_sibling(self):
        """os.fork(), but the new process is PID 1's child; None where that cannot be had.

        The kernel is called past the C library, whose fork does more only for libraries that wish to be told of
        forks and for other threads: there are none unless something was imported beforehand.
        """
        thread = ctypes.c_void_p()
        if self.preimports.names or not CLONE or LIBC.prctl(PR_GET_TID_ADDRESS, ctypes.byref(thread), 0, 0, 0) != 0:
            return None
        api = ctypes.pythonapi
        number, order = CLONE
        addresses = [thread, None]
        api.PyOS_BeforeFork()
        pid = api.syscall(ctypes.c_long(number), ctypes.c_ulong(CLONE_FLAGS), None, None, *addresses[::order])
        if pid:
            api.PyOS_AfterFork_Parent()
        else:
            api.PyOS_AfterFork_Child()
        return None if pid < 0 else pid

    @staticmethod
    def descriptors_of(passed):
        rights = passed[0][2]
        return [int.from_bytes(rights[at : at + 4], sys.byteorder) for at in (0, 4, 8, 12)]

    @staticmethod
    def end_all_others():
        """Ends all processes but PID 1 and this one; whether there are none left, zombies included."""
        for _ in range(4000):
            try:
                os.kill(-1, _signal.SIGKILL)
            except ProcessLookupError:
                return True
            except OSError:
                pass
            time.sleep(0.0005)
        return False

    def begin_input(self):
        """In the process of the next input, while nothing else runs."""
        os.setsid()
        set_dumpable(1)
        try:
            descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
            os.write(descriptor, b"1000")
            os.close(descriptor)
        except OSError:
            pass
        numbers = sys.modules.get("numpy.random")
        if numbers is not None:
            numbers.seed()
