"""Tries to leave its sandbox in a few harmless ways and prints what happened, as JSON.

Run like any program, so what it finds is what every program finds. Each entry is
[name, held, observed]; `held` says that the guard did its work.
"""

import ctypes
import errno
import json
import os
import socket

checks = []


def check(name, held, observed):
    checks.append([name, bool(held), str(observed)])


def attempt(action):
    """The name of the errno an action fails with; "succeeded" when it does not."""
    try:
        action()
    except OSError as problem:
        return errno.errorcode.get(problem.errno, str(problem))
    return "succeeded"


def call(function, *arguments):
    """The same for a function of the C library."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) >= 0:
        return "succeeded"
    return errno.errorcode.get(ctypes.get_errno(), "failed")


status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
capabilities = {name: int(status[name], 16) for name in status if name.startswith("Cap")}
check("user is not root", os.getuid() >= 10000 and os.getgid() >= 10000, "uid %d" % os.getuid())
if capabilities:
    check("no capability", not any(capabilities.values()), "all zero" if not any(capabilities.values()) else capabilities)
if "NoNewPrivs" in status:
    check("no new privileges", status["NoNewPrivs"].strip() == "1", status["NoNewPrivs"].strip())
if "Seccomp" in status:
    check("seccomp filter", status["Seccomp"].strip() == "2", "mode " + status["Seccomp"].strip())
for path in ("/", "/etc", "/usr/lib", "/root"):
    result = attempt(lambda: os.close(os.open(path + "/.probe", os.O_CREAT | os.O_WRONLY)))
    check("cannot write to " + path, result in ("EROFS", "EACCES", "ENOENT", "EPERM"), result)
for path in ("/work", "/tmp"):
    result = attempt(lambda: os.close(os.open(path + "/.probe", os.O_CREAT | os.O_WRONLY)))
    check("can write to " + path, result == "succeeded", result)


def connect(address):
    with socket.socket() as probe:
        probe.settimeout(1)
        probe.connect(address)


result = attempt(lambda: connect(("192.0.2.1", 80)))
check("network is off", result in ("ENETUNREACH", "EPERM", "EACCES", "EHOSTUNREACH"), result)
interfaces = sorted(line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line)
check("no interface but loopback", set(interfaces) <= {"lo"}, interfaces)
for name, arguments in (
    ("unshare", (0x10000000,)),
    ("mount", (b"none", b"/tmp", b"tmpfs", 0, None)),
    ("ptrace", (16, 1, None, None)),
    ("setuid", (0,)),
):
    result = call(name, *arguments)
    check("%s is refused" % name, result not in ("succeeded",), result)
result = attempt(lambda: socket.socket(16, socket.SOCK_RAW, 0).close())
check("netlink is refused", result != "succeeded", result)
result = attempt(lambda: os.listdir("/proc/1/fd"))
check("the supervisor is out of reach", result in ("EACCES", "EPERM"), result)
descriptors = sorted(int(name) for name in os.listdir("/proc/self/fd"))
check("three descriptors", len(descriptors) <= 4 and descriptors[:3] == [0, 1, 2], descriptors)
sockets = [path for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd") if os.path.exists(path)]
check("no socket of the engine", not sockets, sockets or "none")
swap = [line for line in os.environ if line.startswith(("DOCKER", "PYEXEC", "NODE"))]
check("no variable of the service", not swap, swap or "none")
print(json.dumps(checks))
