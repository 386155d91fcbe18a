"""What the interpreter had before our first line: what a program is to find again.

The first code of PID 1. It imports next to nothing: what is imported here is
taken out of sys.modules again before the program runs. The files of this folder
run in one namespace; those up to child.py run in PID 1 and in the child.
"""

import os
import sys

# From 3.13 on the interpreter imports linecache for its `-c`, from the current directory even: ours, both.
BASELINE_MODULES = list(sys.modules)
if BASELINE_MODULES[-1] == "linecache":
    BASELINE_MODULES.pop()
BASELINE_MODULES = frozenset(BASELINE_MODULES)
BASELINE_IMPORTER_PATHS = frozenset(sys.path_importer_cache) - {os.getcwd()}

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
LIBC = ctypes.CDLL(None, use_errno=True)


def set_dumpable(value):
    """Opens (1) or closes (0) this process's /proc files and memory to others of its uid (prctl(2), proc(5))."""
    if LIBC.prctl(PR_SET_DUMPABLE, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_DUMPABLE")


def socket_pair():
    """Two connected sockets, both closed by execve."""
    pair = (ctypes.c_int * 2)()
    if LIBC.socketpair(1, 1 | 0o2000000, 0, pair) != 0:
        raise OSError(ctypes.get_errno(), "socketpair")
    return pair[0], pair[1]
