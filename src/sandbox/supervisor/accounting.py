"""What the kernel knows of the run's use of CPU and memory, read in its own cgroup.

Every figure may be missing: cgroup v1, v2 and gVisor differ. Part of PID 1's one
namespace.
"""

import os
import resource


def read_number(path, key=None):
    """A number from a cgroup file (or from its `key value` line); None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(descriptor, 1 << 16).decode("ascii", "replace")
    except OSError:
        return None
    finally:
        os.close(descriptor)
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


# Of each figure the places it may be in, and its key there.
OOM_KILLS = (("/sys/fs/cgroup/memory.events", "oom_kill"), ("/sys/fs/cgroup/memory/memory.oom_control", "oom_kill"))
MEMORY_PEAK = (("/sys/fs/cgroup/memory.peak", None), ("/sys/fs/cgroup/memory/memory.max_usage_in_bytes", None))
CPU_MICROSECONDS = (("/sys/fs/cgroup/cpu.stat", "usage_usec"),)
CPU_NANOSECONDS = (("/sys/fs/cgroup/cpuacct/cpuacct.usage", None),)
# Asked once, before anybody waits: what is not there will not come.
THERE = frozenset(
    path for path, _ in OOM_KILLS + MEMORY_PEAK + CPU_MICROSECONDS + CPU_NANOSECONDS if os.path.exists(path)
)


def first_number(candidates):
    for path, key in candidates:
        value = read_number(path, key) if path in THERE else None
        if value is not None:
            return value
    return None


def oom_kills():
    return first_number(OOM_KILLS)


def memory_peak_bytes():
    return first_number(MEMORY_PEAK)


def cgroup_cpu_ms():
    microseconds = first_number(CPU_MICROSECONDS)
    if microseconds is not None:
        return microseconds / 1000
    nanoseconds = first_number(CPU_NANOSECONDS)
    return None if nanoseconds is None else nanoseconds / 1e6


def used_cpu_ms(whose):
    used = resource.getrusage(whose)
    return (used.ru_utime + used.ru_stime) * 1000


def others_cpu_ms():
    """Of everything in the cgroup but this process; None where it is not counted."""
    used_ms = cgroup_cpu_ms()
    return None if used_ms is None else used_ms - used_cpu_ms(resource.RUSAGE_SELF)


class CpuMeter:
    """CPU time of the program since the meter was made.

    Processes that nobody has to wait for (SIGCHLD is ignored) are in no parent's figures, but in the
    cgroup's. Where that has none, what was waited for is all there is.
    """

    def __init__(self):
        self.reaped_ms = used_cpu_ms(resource.RUSAGE_CHILDREN)
        self.others_ms = others_cpu_ms()

    def ms(self):
        reaped_ms = used_cpu_ms(resource.RUSAGE_CHILDREN) - self.reaped_ms
        others_ms = None if self.others_ms is None else others_cpu_ms()
        return reaped_ms if others_ms is None else max(reaped_ms, others_ms - self.others_ms)
