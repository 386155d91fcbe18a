"""What the interpreter had before our first line: what a program is to find again.

The first code of PID 1. It imports next to nothing: what is imported here is
taken out of sys.modules again before the program runs. The files of this folder
run in one namespace; those up to child.py run in PID 1 and in the child.
"""

import os
import sys

# As it was before the command line imported anything: (names of modules, paths with importers).
BASELINE_MODULES, BASELINE_IMPORTER_PATHS = BASELINE
# From 3.13 on the interpreter imports linecache for its `-c`, from the current directory even: ours, both.
if BASELINE_MODULES[-1] == "linecache":
    BASELINE_MODULES.pop()
BASELINE_MODULES = frozenset(BASELINE_MODULES)
BASELINE_IMPORTER_PATHS = frozenset(BASELINE_IMPORTER_PATHS) - {os.getcwd()}

import marshal
import _ast
import _functools
import _signal
import ctypes
import mmap
import resource
import time

WORK = "/work"
# What CPython itself puts into __main__ before a script begins.
MAIN_NAMES = frozenset(
    ("__name__", "__doc__", "__package__", "__loader__", "__spec__", "__annotations__", "__builtins__")
)
PR_SET_DUMPABLE = 4
MADV_POPULATE_WRITE = 23
EINVAL = 22
OWN_MAPPING_BYTES_MAX = 4 << 20
LIBC = ctypes.CDLL(None, use_errno=True)


def set_dumpable(value):
    """Opens (1) or closes (0) this process's /proc files and memory to others of its uid (prctl(2), proc(5))."""
    if LIBC.prctl(PR_SET_DUMPABLE, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_DUMPABLE")


# sched_getattr(2) and ioprio_get(2), where their numbers are known.
SCHEDULING_CALLS = {"x86_64": (315, 252), "aarch64": (275, 31)}.get(os.uname().machine)
SCHEDULING_BYTES = 56


def own_scheduling():
    """How the kernel treats this process, in all that others of its uid can change and its forks inherit."""
    seen = [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0), os.sched_getscheduler(0)]
    if SCHEDULING_CALLS:
        attributes = ctypes.create_string_buffer(SCHEDULING_BYTES)
        LIBC.syscall(SCHEDULING_CALLS[0], 0, attributes, SCHEDULING_BYTES, 0)
        seen += attributes.raw, LIBC.syscall(SCHEDULING_CALLS[1], 1, 0)
    return seen


def socket_pair():
    """Two connected sockets, both closed by execve."""
    pair = (ctypes.c_int * 2)()
    if LIBC.socketpair(1, 1 | 0o2000000, 0, pair) != 0:
        raise OSError(ctypes.get_errno(), "socketpair")
    return pair[0], pair[1]


def never_wait(process):
    """PID 1's ends of the pipes of a program, made such that reading and writing never wait."""
    for descriptor in (process.stdin_write, process.stdout_read, process.stderr_read):
        os.set_blocking(descriptor, False)


def may_ask_for_pages():
    with mmap.mmap(-1, mmap.PAGESIZE) as page:
        try:
            page.madvise(MADV_POPULATE_WRITE)
        except OSError as refusal:
            return refusal.errno != EINVAL
    return True


def own_pages(only_where_it_takes_long=False):
    """Has the pages that a fork shares copied now, while nobody waits, rather than when they are first written to.

    Not those of large mappings: libraries reserve memory they may never touch. Kernels
    before 5.14 and gVisor cannot be asked; there one byte of each page is written as it is,
    which nobody else may do at the same time. It takes long there; elsewhere, each page that is copied in vain costs when
    the process ends.
    """
    if only_where_it_takes_long and may_ask_for_pages():
        return
    try:
        with open("/proc/self/maps") as file:
            lines = [line.split(None, 2)[:2] for line in file.read().splitlines()]
        is_alone = len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return
    # All of them before the first is touched: what is freed meanwhile could take a mapping with it.
    spans = [[int(address, 16) for address in span.split("-")] for span, mode in lines if mode == "rw-p"]
    for low, high in spans:
        if high - low > OWN_MAPPING_BYTES_MAX:
            continue
        is_refused = LIBC.madvise(ctypes.c_void_p(low), ctypes.c_size_t(high - low), MADV_POPULATE_WRITE) != 0
        if is_refused and ctypes.get_errno() == EINVAL and is_alone:
            for page in range(low, high, mmap.PAGESIZE):
                ctypes.memmove(page, page, 1)
