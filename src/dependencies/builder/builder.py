"""PID 1 of a builder: resolves requirements, installs wheels, sends the result out as a tar.

Standard library and pip only. The container has no network: what pip says to the
proxy on 127.0.0.1 goes through this process to the host, in frames over stdin and
stdout, and the host decides where it may go. Nothing of a caller's but the checked
requirements comes in, and nothing that is installed is ever imported or run here:
only wheels are taken, byte code is compiled, not executed.

Frames are those of the supervisor (a type byte, a big-endian length, the payload);
the types are in frame-types.json. UP, DOWN, their ends, OPEN and CREDIT begin with
the number of a connection.
"""

import collections
import ctypes
import importlib.util
import json
import os
import re
import selectors
import shutil
import signal
import site
import socket
import struct
import subprocess
import sys
import tarfile
import threading

WORK = "/work"
SITE = WORK + "/site"
TEMPORARY = WORK + "/tmp"
# What pip is to take for installed: the packages of the image, by name and version; and pip alone, without its neighbours.
PRESENT, PIP_ALONE = WORK + "/present", WORK + "/pip"
RESOLVER = "import sys; sys.path += %r; from pip._internal.cli.main import main; sys.exit(main())" % [PIP_ALONE, PRESENT]
VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9]+([._-][a-z0-9]+)*)?")
LACKS_EXTRA = re.compile(r"WARNING: (\S+) \S+ does not provide the extra '")
PART_BYTES = 1 << 18
# How much is read of the end of what pip said, and how much of that is told where it failed.
SAID_BYTES_MAX, REASON_BYTES_MAX = 1 << 20, 8192
PR_SET_DUMPABLE = 4
# Names the interpreter imports, or runs lines of, by itself at every start: PID 1 of a run would.
NEVER_INSTALLED = frozenset(["sitecustomize", "usercustomize"]) | frozenset(
    getattr(sys, "stdlib_module_names", sys.builtin_module_names)
)

output_lock = threading.Lock()


def send(kind, payload=b""):
    data = memoryview(struct.pack(">BI", FRAME_TYPES[kind], len(payload)) + payload)
    with output_lock:
        while data:
            data = data[os.write(1, data) :]


def send_json(kind, value):
    send(kind, json.dumps(value).encode())


class Failure(Exception):
    """Why there is no layer: a word the host knows, and a text it will not trust."""

    def __init__(self, reason, text=""):
        super().__init__(reason)
        self.reason = reason
        self.text = text


class Relay:
    """Connections to the port on loopback, each a pair of byte streams to the host."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.listener.setblocking(False)
        self.connections = {}
        self.outgoing = {}
        self.ending = set()
        self.next = 1
        self.selector.register(self.listener, selectors.EVENT_READ, None)

    def accept(self):
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        number, self.next = self.next, self.next + 1
        self.connections[number] = connection
        self.outgoing[number] = collections.deque()
        self.selector.register(connection, selectors.EVENT_READ, number)
        send("OPEN", struct.pack(">I", number))

    def read(self, number):
        try:
            data = self.connections[number].recv(PART_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            send("UP", struct.pack(">I", number) + data)
        else:
            self.drop(number)
            send("UP_END", struct.pack(">I", number))

    def down(self, number, data, ends):
        """Bytes from the host for a connection, or its end."""
        if number not in self.connections:
            return
        if data:
            self.outgoing[number].append(memoryview(data))
        if ends:
            self.ending.add(number)
        self.write(number)

    def write(self, number):
        connection, waiting = self.connections[number], self.outgoing[number]
        written = 0
        try:
            while waiting:
                count = connection.send(waiting[0])
                written += count
                if count == len(waiting[0]):
                    waiting.popleft()
                else:
                    waiting[0] = waiting[0][count:]
        except BlockingIOError:
            pass
        except OSError:
            self.drop(number)
            send("UP_END", struct.pack(">I", number))
            return
        if written:
            send("CREDIT", struct.pack(">II", number, written))
        if not waiting and number in self.ending:
            self.drop(number)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0)
        self.selector.modify(connection, events, number)

    def drop(self, number):
        connection = self.connections.pop(number, None)
        if connection is None:
            return
        self.outgoing.pop(number)
        self.ending.discard(number)
        self.selector.unregister(connection)
        connection.close()


class Builder:
    """One layer, from the requirements to the last byte of its tar."""

    def __init__(self, job, port):
        self.job = job
        self.proxy = "http://127.0.0.1:%d" % port
        self.agreed = threading.Event()
        self.lock = []

    def build(self):
        os.makedirs(TEMPORARY)
        send_json("RESOLVED", {"packages": self.resolve(), "site": site.getsitepackages()[0]})
        self.agreed.wait()
        self.install()
        self.remove_start_up_hooks()
        self.compile()
        self.emit()

    def pip(self, *arguments, start=("-m", "pip")):
        """Runs pip as if nobody had ever configured it, and returns what it said."""
        index = ["--index-url", self.job["index"]]
        for host in self.job["hosts"]:
            index += ["--trusted-host", host]
        command = [sys.executable, "-I", *start, "--isolated", "--no-input", "--disable-pip-version-check"]
        command += ["--no-cache-dir", "--no-color", "--retries", "1", "--timeout", "15", "--proxy", self.proxy]
        command += ["install", "--only-binary=:all:", "--progress-bar", "off"]
        environment = {
            "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
            "HOME": WORK,
            "TMPDIR": TEMPORARY,
            "LANG": "C.UTF-8",
            "PIP_CONFIG_FILE": "/dev/null",
        }
        with open(WORK + "/said", "w+b") as said:
            done = subprocess.run(
                command + index + list(arguments), stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, cwd=WORK
            )
            size = said.seek(0, os.SEEK_END)
            said.seek(max(0, size - SAID_BYTES_MAX))
            text = said.read(SAID_BYTES_MAX).decode("utf-8", "replace")
        if done.returncode == 0:
            return text
        text = text[-REASON_BYTES_MAX:]
        if done.returncode == -signal.SIGKILL or "No space left on device" in text or "MemoryError" in text:
            raise Failure("too_large", text)
        raise Failure("pip", text)

    def resolve(self):
        self.write("requirements.txt", self.job["requirements"])
        self.write("constraints.txt", self.job["constraints"])
        report = WORK + "/report.json"
        present = {name: version for name, version in self.job["present"].items() if VERSION.fullmatch(version)}
        os.mkdir(PIP_ALONE)
        os.symlink(importlib.util.find_spec("pip").submodule_search_locations[0], PIP_ALONE + "/pip")
        while True:
            self.pretend(present)
            said = self.pip("--dry-run", "--report", report, "-r", WORK + "/requirements.txt",
                            "-c", WORK + "/constraints.txt", start=("-S", "-c", RESOLVER))  # fmt: skip
            # What the extras of a package of the image are is not known here: it comes from the index then.
            lacking = {re.sub(r"[-_.]+", "-", name).lower() for name in LACKS_EXTRA.findall(said)}
            if not lacking.intersection(present):
                break
            present = {name: version for name, version in present.items() if name not in lacking}
        with open(report, "rb") as file:
            installs = json.load(file)["install"]
        return [
            {
                "name": item["metadata"]["name"],
                "version": item["metadata"]["version"],
                "sha256": item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256", ""),
                "direct": bool(item["is_direct"]),
            }
            for item in installs
        ]

    @staticmethod
    def pretend(present):
        """What the image has is not installed a second time, and not in another version beneath what was built on it."""
        shutil.rmtree(PRESENT, ignore_errors=True)
        for name, version in present.items():
            folder = "%s/%s-%s.dist-info" % (PRESENT, name.replace("-", "_"), version)
            os.makedirs(folder)
            with open(folder + "/METADATA", "w") as file:
                file.write("Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version))

    def install(self):
        self.write("lock.txt", self.lock)
        self.pip("--ignore-installed", "--no-deps", "--require-hashes", "--no-compile", "--no-warn-script-location",
                 "--target", SITE, "-r", WORK + "/lock.txt")  # fmt: skip
        os.makedirs(SITE, exist_ok=True)
        shutil.rmtree(TEMPORARY, ignore_errors=True)

    @staticmethod
    def write(name, lines):
        with open(os.path.join(WORK, name), "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))

    @staticmethod
    def remove_start_up_hooks():
        """What site would import or execute in every interpreter, before anything of ours: PID 1 of a run is one."""
        for name in os.listdir(SITE):
            if name.endswith((".pth", ".egg-link")) or name.partition(".")[0] in NEVER_INSTALLED:
                path = os.path.join(SITE, name)
                if os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path)
                else:
                    os.unlink(path)

    @staticmethod
    def compile():
        """Byte code that is used without a look at its source: the layer is read-only when it is used."""
        command = [sys.executable, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
        command += ["-s", SITE, "-p", site.getsitepackages()[0], SITE]
        # Packages ship files for other versions of Python; those stay as they are.
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)

    def emit(self):
        files = content = 0
        for folder, _, names in os.walk(SITE):
            for name in names:
                files += 1
                content += os.lstat(os.path.join(folder, name)).st_size
        if files > self.job["files_max"] or content > self.job["bytes_max"]:
            raise Failure("too_large", "%d files, %d bytes" % (files, content))
        with tarfile.open(fileobj=LayerFile(), mode="w|", bufsize=PART_BYTES, format=tarfile.PAX_FORMAT) as tar:
            for folder, folders, names in os.walk(SITE):
                folders.sort()
                if folder != SITE:
                    tar.addfile(self.member(tar, folder))
                for name in sorted(names):
                    path = os.path.join(folder, name)
                    if os.path.isfile(path) and not os.path.islink(path):
                        with open(path, "rb") as file:
                            tar.addfile(self.member(tar, path), file)
        send_json("DONE", {"files": files, "bytes": content})

    @staticmethod
    def member(tar, path):
        member = tar.gettarinfo(path, "layer/" + os.path.relpath(path, SITE))
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = 0
        # One inode under two names is two files.
        if member.islnk():
            member.type, member.size = tarfile.REGTYPE, os.lstat(path).st_size
        return member


class LayerFile:
    def write(self, data):
        send("LAYER", data)
        return len(data)


class Main:
    def __init__(self):
        self.relay = None
        self.builder = None
        self.buffer = bytearray()

    def run(self):
        self.relay = Relay()
        self.relay.selector.register(0, selectors.EVENT_READ, None)
        send("READY")
        while True:
            for key, events in self.relay.selector.select():
                if key.fileobj == 0:
                    self.receive()
                elif key.data is None:
                    self.relay.accept()
                elif key.data in self.relay.connections:
                    if events & selectors.EVENT_WRITE:
                        self.relay.write(key.data)
                    if events & selectors.EVENT_READ and key.data in self.relay.connections:
                        self.relay.read(key.data)

    def receive(self):
        data = os.read(0, 1 << 20)
        if not data:
            os._exit(0)
        self.buffer += data
        while len(self.buffer) >= 5:
            kind, length = struct.unpack(">BI", self.buffer[:5])
            if len(self.buffer) < 5 + length:
                return
            payload = bytes(self.buffer[5 : 5 + length])
            del self.buffer[: 5 + length]
            self.take(kind, payload)

    def take(self, kind, payload):
        if kind == FRAME_TYPES["BUILD"]:
            self.builder = Builder(json.loads(payload), self.relay.port)
            threading.Thread(target=self.work, daemon=True).start()
        elif kind == FRAME_TYPES["INSTALL"]:
            self.builder.lock = json.loads(payload)["lock"]
            self.builder.agreed.set()
        elif kind in (FRAME_TYPES["DOWN"], FRAME_TYPES["DOWN_END"]):
            self.relay.down(struct.unpack(">I", payload[:4])[0], payload[4:], kind == FRAME_TYPES["DOWN_END"])

    def work(self):
        try:
            self.builder.build()
        except Failure as failure:
            send_json("FAILED", {"reason": failure.reason, "text": failure.text})
        except OSError as problem:
            reason = "too_large" if problem.errno == 28 else "broken"
            send_json("FAILED", {"reason": reason, "text": repr(problem)[:1000]})
        except BaseException as problem:
            send_json("FAILED", {"reason": "broken", "text": repr(problem)[:1000]})


# pip runs as the same user: without this it could write frames through /proc/1/fd.
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
    raise OSError(ctypes.get_errno(), "PR_SET_DUMPABLE")
Main().run()
