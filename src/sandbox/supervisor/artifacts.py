"""What the program left below /work, sent to the host when its last process is dead.

Nobody changes anything any more, so what was looked at is what is read. Still no
link is followed and no path is walked twice: every directory is opened below the
descriptor of its parent with O_NOFOLLOW, and only what fstat() calls a regular file
is read. What is not sent is named with the reason. Part of PID 1's one namespace.
"""

import os
import stat
import time

# Of the collection as a whole, the host's reading of it included.
ARTIFACT_DEADLINE_S = 3.0
# The depth of the archive gate (src/archive/archive-limits.ts): what comes out can go in again.
ARTIFACT_DEPTH_MAX = 64
ARTIFACT_PATH_BYTES_MAX = 4000
# Names that are looked at, whatever becomes of them (more are counted as they are listed); and those that are told of what was skipped.
ENTRIES_SEEN_MAX = 100_000
SKIPPED_NAMED_MAX = 100
ARTIFACT_READ_BYTES = 1 << 18
# Caches that programs write beside their work: /work is HOME. Collected only when a pattern names them.
CACHE_DIRECTORY = b"__pycache__"
HOME_CACHES = (b".cache", b".config", b".local")
REGULAR_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
DIRECTORY_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


def matches(parts, pattern):
    """Whether the components of a path fit those of a pattern; `**` is any number of them, a whole pattern a folder too."""
    at = there = 0
    star, star_at = -1, 0
    while at < len(parts):
        if there < len(pattern) and pattern[there] == "**":
            star, star_at = there, at
            there += 1
        elif there < len(pattern) and matches_name(parts[at], pattern[there]):
            at += 1
            there += 1
        elif there == len(pattern) and pattern[-1] != "**":
            return True
        elif star != -1:
            star_at += 1
            at, there = star_at, star + 1
        else:
            return False
    return all(rest == "**" for rest in pattern[there:])


def matches_name(name, pattern):
    """One component: `*` is any characters, `?` is one. Never worse than their product in steps."""
    at = there = 0
    star, star_at = -1, 0
    while at < len(name):
        if there < len(pattern) and pattern[there] == "*":
            star, star_at = there, at
            there += 1
        elif there < len(pattern) and pattern[there] in ("?", name[at]):
            at += 1
            there += 1
        elif star != -1:
            star_at += 1
            at, there = star_at, star + 1
        else:
            return False
    return pattern[there:].strip("*") == ""


class ArtifactCollector:
    """One walk over /work. `known` are the files the unpacker wrote, as they were then."""

    def __init__(self, host, wish, known, token):
        self.host = host
        self.token = token
        self.known = known
        self.patterns = [pattern.strip("/").split("/") for pattern in wish["patterns"]]
        self.files_left = wish["files"]
        self.bytes_left = wish["bytes"]
        self.skipped = []
        self.skipped_count = 0
        self.seen = 0
        self.deadline = time.monotonic() + ARTIFACT_DEADLINE_S

    def collect(self):
        """Sends what is below the current directory, which is PID 1's own and the root of a mount."""
        self.directory(None, ())
        if self.skipped_count:
            self.host.send_json(
                "ARTIFACTS_SKIPPED", {"token": self.token, "skipped": self.skipped, "count": self.skipped_count}
            )

    def is_late(self):
        return time.monotonic() >= self.deadline

    def skip(self, parts, reason):
        self.skipped_count += 1
        if len(self.skipped) < SKIPPED_NAMED_MAX:
            path = b"/".join(parts).decode("utf-8", "backslashreplace")
            self.skipped.append({"path": path[:ARTIFACT_PATH_BYTES_MAX], "reason": reason})

    def is_cache(self, parts):
        return parts[-1] == CACHE_DIRECTORY or (len(parts) == 1 and parts[0] in HOME_CACHES)

    def is_wanted(self, text):
        return not self.patterns or any(matches(text.split("/"), pattern) for pattern in self.patterns)

    def directory(self, descriptor, parents):
        """Sends what is below (None: below the current directory). Python's own stack holds the depth."""
        names = []
        try:
            with os.scandir("." if descriptor is None else descriptor) as listing:
                for entry in listing:
                    name = os.fsencode(entry.name)
                    if self.is_late():
                        self.skip(parents + (name,), "deadline")
                        break
                    self.seen += 1
                    if self.seen > ENTRIES_SEEN_MAX:
                        # How many is told, not what they are: files of the project may be among them.
                        self.skip(parents + (name,), "too_many")
                    else:
                        names.append(name)
        except OSError:
            self.skip(parents or (b".",), "unreadable")
            return
        for name in sorted(names):
            if self.host.closed:
                return
            parts = parents + (name,)
            if self.is_late():
                self.skip(parts, "deadline")
                return
            try:
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except OSError:
                self.skip(parts, "unreadable")
                continue
            if stat.S_ISDIR(found.st_mode):
                self.subdirectory(descriptor, parts)
            elif b"/".join(parts) not in self.known or signature(found) != self.known[b"/".join(parts)]:
                self.file(descriptor, parts, found)

    def subdirectory(self, descriptor, parts):
        if not self.patterns and self.is_cache(parts):
            return
        if len(parts) >= ARTIFACT_DEPTH_MAX:
            self.skip(parts, "too_deep")
            return
        try:
            below = os.open(parts[-1], DIRECTORY_FLAGS, dir_fd=descriptor)
        except OSError:
            self.skip(parts, "unreadable")
            return
        try:
            if os.fstat(below).st_dev == os.stat(".").st_dev:
                self.directory(below, parts)
        finally:
            os.close(below)

    def file(self, descriptor, parts, found):
        path = b"/".join(parts)
        try:
            text = path.decode("utf-8")
        except UnicodeDecodeError:
            text = None
        if not self.is_wanted(text if text is not None else path.decode("utf-8", "replace")):
            return
        if not stat.S_ISREG(found.st_mode):
            # A link of the project that is as it was is nothing the run left.
            if not (stat.S_ISLNK(found.st_mode) and path in self.known):
                self.skip(parts, "not_a_regular_file")
        elif text is None or len(path) > ARTIFACT_PATH_BYTES_MAX:
            self.skip(parts, "name")
        elif not self.files_left:
            self.skip(parts, "too_many")
        elif found.st_size > self.bytes_left:
            self.skip(parts, "too_large")
        else:
            self.send(descriptor, parts, text)

    def send(self, descriptor, parts, text):
        """Sends one file whole: its size is read from the open file, and so many bytes follow."""
        try:
            opened = os.open(parts[-1], REGULAR_FLAGS, dir_fd=descriptor)
        except OSError:
            self.skip(parts, "unreadable")
            return
        try:
            found = os.fstat(opened)
            if not stat.S_ISREG(found.st_mode) or found.st_size > self.bytes_left:
                self.skip(parts, "not_a_regular_file")
                return
            self.files_left -= 1
            self.bytes_left -= found.st_size
            executable = bool(found.st_mode & 0o111)
            header = {"token": self.token, "path": text, "size": found.st_size, "executable": executable}
            self.host.send_json("ARTIFACT", header)
            left = found.st_size
            while left:
                if self.host.outgoing_bytes >= OUTGOING_BYTES_MAX:
                    self.host.flush(self.deadline, ARTIFACT_READ_BYTES)
                if self.host.closed or time.monotonic() >= self.deadline:
                    self.skip(parts, "deadline")
                    return
                data = os.read(opened, min(left, ARTIFACT_READ_BYTES))
                if not data:
                    self.skip(parts, "unreadable")
                    return
                left -= len(data)
                self.host.send("ARTIFACT_DATA", data)
        except OSError:
            self.skip(parts, "unreadable")
        finally:
            os.close(opened)


def signature(found):
    """What differs when a file was written, replaced or touched."""
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
