"""What the waiting child is told: which program it is to become, with which limits, and when to begin.

It is told in three messages, each as early as what it says is known, so that the child does
its part while PID 1 and the host do theirs. Part of PID 1's one namespace.
"""

import marshal
import os
import resource
import struct
import sys


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


def rlimits_of(limits):
    """The limits of every process of the program; the child sets them before it begins."""
    cpu_seconds = -(-limits["cpu_ms"] // 1000)
    return [
        (resource.RLIMIT_CPU, (cpu_seconds + 1, cpu_seconds + 2)),
        (resource.RLIMIT_NOFILE, (limits["open_files"], limits["open_files"])),
        (resource.RLIMIT_FSIZE, (limits["disk_bytes"], limits["disk_bytes"])),
        (resource.RLIMIT_CORE, (0, 0)),
    ]


def environment_of(plan):
    environment = dict(os.environ)
    environment.pop("HOSTNAME", None)
    environment.update(plan["environment"])
    return environment


class Start:
    """The three messages to one process: the program, its files, the word to begin."""

    def __init__(self, process, plan, unpacker):
        self.process = process
        self.plan = plan
        self.unpacker = unpacker
        self.is_told_of_files = False
        self.say(b"P", dict(program_of(plan, environment_of(plan)), rlimits=rlimits_of(plan["limits"])))

    def tell_of_files(self):
        """Once they are there; any time before `go`, or not at all."""
        if not self.is_told_of_files:
            self.is_told_of_files = True
            self.say(b"", files_of(self.plan, self.unpacker))

    def go(self):
        """Has the program begin."""
        self.tell_of_files()
        os.write(self.process.go, b"G")
        os.close(self.process.go)

    def say(self, what, value):
        value = marshal.dumps(value)
        view = memoryview(what + struct.pack(">I", len(value)) + value)
        while view:
            view = view[os.write(self.process.go, view) :]
