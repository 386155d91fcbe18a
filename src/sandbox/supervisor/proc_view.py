"""What /proc tells about the program: its own command and environment, not PID 1's.

Prepared while the child waits, done once it knows what it is to run. Where the kernel does not
allow it (gVisor), nothing changes. Part of PID 1's one namespace, and of the child's.
"""

# prctl(2), and the fields of /proc/self/stat its memory map begins with: code, data, heap; then the stack.
PR_SET_MM, PR_SET_MM_MAP = 35, 14
LAYOUT_FIELDS = (26, 27, 45, 46, 47)
STACK_FIELD = 28


class ProcView:
    def __init__(self, api):
        self.allocate, self.end_of_heap, self.prctl = api.malloc, api.sbrk, api.prctl
        self.allocate.restype = self.end_of_heap.restype = ctypes.c_void_p
        self.layout = None

    def read_layout(self):
        """Remembers where the kernel says that code, data, heap and stack begin."""
        self.layout = None
        try:
            with open("/proc/self/stat") as file:
                fields = [None] * 3 + file.read().rpartition(")")[2].split()
            self.layout = [int(fields[field]) for field in LAYOUT_FIELDS], int(fields[STACK_FIELD])
        except (OSError, ValueError, LookupError):
            pass

    def show(self, program):
        """Makes /proc/self/cmdline and environ the program's own, not PID 1's. gVisor does not allow it."""
        if self.layout is None:
            return
        code_and_data, stack = self.layout
        try:
            command = b"".join(part + b"\0" for part in program["command"][1:])
            environment = b"".join(os.fsencode("%s=%s\0" % pair) for pair in program["environment"].items())
            start = self.allocate(len(command) + len(environment))
            ctypes.memmove(start, command + environment, len(command) + len(environment))
            layout = code_and_data + [self.end_of_heap(0), stack]
            middle, end = start + len(command), start + len(command) + len(environment)
            # No auxiliary vector, and -1 for no other executable.
            layout += [start, middle, middle, end, 0, 0xFFFFFFFF << 32]
            memory_map = (ctypes.c_uint64 * len(layout))(*layout)
            if self.prctl(PR_SET_MM, PR_SET_MM_MAP, memory_map, ctypes.c_ulong(ctypes.sizeof(memory_map)), 0) != 0:
                self.layout = None
        except OSError:
            pass
