"""PID 1 of an analyzer: takes sources as tars, has bandit read them, sends one report.

Standard library and bandit only. Nothing that is sent is imported or run, and none of
it configures bandit: a source has no name and no folder while it is read, and `# nosec`
counts for nothing. What harms the parser harms one process: it is told of that file, and
the next process goes on behind it.

Frames are those of the supervisor (a type byte, a big-endian length, the payload); the
types are in frame-types.json. What is sent in SOURCES says which members are sources.
"""

import collections
import ctypes
import importlib.metadata
import json
import logging
import os
import resource
import select
import signal
import struct
import sys
import tarfile
import time
import warnings

SOURCE = "/work/source.py"
PR_SET_DUMPABLE = 4
SKIPPED_MAX = 20
MESSAGE_CHARACTERS_MAX = 500
# Of one process that reads sources: less than the container has, so that it fails before the kernel chooses whom to kill.
READER_MEMORY_BYTES = 320 << 20
SEVERITIES = ("high", "medium", "low")
WORDS = {"syntax error while parsing AST from file": "syntax_error"}


def send(kind, value):
    payload = json.dumps(value).encode()
    data = memoryview(struct.pack(">BI", FRAME_TYPES[kind], len(payload)) + payload)
    while data:
        data = data[os.write(1, data) :]


class Frames:
    """What the host sends, as frames and as the files of tars in them."""

    def __init__(self):
        self.buffer = bytearray()
        self.tar = b""
        self.is_tar_over = False

    def exactly(self, count):
        while len(self.buffer) < count:
            data = os.read(0, 1 << 20)
            if not data:
                os._exit(0)
            self.buffer += data
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def next(self):
        kind, length = struct.unpack(">BI", self.exactly(5))
        return kind, self.exactly(length)

    def read(self, count):
        """For tarfile: bytes of the tar that is being sent."""
        while len(self.tar) < count and not self.is_tar_over:
            kind, payload = self.next()
            self.is_tar_over = kind == FRAME_TYPES["TAR_END"]
            self.tar += payload
        data, self.tar = self.tar[:count], self.tar[count:]
        return data

    def members(self, wanted):
        """The wanted files of the next tar, each to be read before the next. It is a canonical one, written by the host."""
        self.tar, self.is_tar_over = b"", False
        with tarfile.open(fileobj=self, mode="r|") as tar:
            for member in tar:
                tar.members = []
                if member.isfile() and member.name in wanted:
                    yield member, tar.extractfile(member)
        while not self.is_tar_over:
            self.read(1 << 20)


class Report:
    """What was found: all of it counted, the worst of it kept."""

    def __init__(self, findings_max):
        self.findings_max = findings_max
        self.kept = {severity: [] for severity in SEVERITIES}
        self.counts = dict.fromkeys(SEVERITIES, 0)
        self.analyzed = 0
        self.skipped = []
        self.skipped_count = 0

    def take(self, source, outcome):
        if "reason" in outcome:
            self.skip(source, outcome["reason"])
            return
        self.analyzed += 1
        for severity in SEVERITIES:
            self.counts[severity] += outcome["counts"][severity]
        for finding in outcome["findings"]:
            kept = self.kept[finding["severity"]]
            if len(kept) < self.findings_max:
                kept.append({**source, **finding})

    def skip(self, source, reason):
        self.skipped_count += 1
        if len(self.skipped) < SKIPPED_MAX:
            self.skipped.append({**source, "reason": reason})

    def value(self):
        findings = [finding for severity in SEVERITIES for finding in self.kept[severity]][: self.findings_max]
        return {
            "tool": "bandit " + importlib.metadata.version("bandit"),
            "analyzed": self.analyzed,
            "skipped": self.skipped,
            "skipped_count": self.skipped_count,
            "counts": self.counts,
            "findings": findings,
        }


class Reader:
    """The process that has bandit read one source after the other; forked, so that what it loses is its own."""

    def __init__(self, contents, findings_max):
        self.pipe, writer = os.pipe()
        self.lines = b""
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.pipe)
                self.work(writer, contents, findings_max)
            finally:
                os._exit(1)
        os.close(writer)

    @staticmethod
    def work(writer, contents, findings_max):
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        resource.setrlimit(resource.RLIMIT_AS, (READER_MEMORY_BYTES, READER_MEMORY_BYTES))
        for content in contents:
            data = memoryview(json.dumps(read_source(content, findings_max)).encode() + b"\n")
            while data:
                data = data[os.write(writer, data) :]
        os._exit(0)

    def next(self, deadline):
        """What came of the next source; None when the process is gone, False when it took too long."""
        while b"\n" not in self.lines:
            if not select.select([self.pipe], [], [], max(0, deadline - time.monotonic()))[0]:
                return False
            data = os.read(self.pipe, 1 << 16)
            if not data:
                return None
            self.lines += data
        line, _, self.lines = self.lines.partition(b"\n")
        return json.loads(line)

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pipe)


def read_source(content, findings_max):
    """What bandit finds in one source, or why it cannot say."""
    from bandit.core import config, manager

    with open(SOURCE, "wb") as file:
        file.write(content)
    try:
        # With debug a check that fails fails the source, instead of being left out.
        bandit = manager.BanditManager(config.BanditConfig(), "file", debug=True, ignore_nosec=True)
        logging.disable(logging.CRITICAL)
        bandit.files_list = [SOURCE]
        bandit.run_tests()
        if bandit.skipped:
            return {"reason": WORDS.get(bandit.skipped[0][1], "not_readable")}
        return outcome_of([finding_of(issue) for issue in bandit.results], findings_max)
    except Exception:
        return {"reason": "not_readable"}


def outcome_of(findings, findings_max):
    of = {severity: [one for one in findings if one["severity"] == severity] for severity in SEVERITIES}
    return {
        "counts": {severity: len(of[severity]) for severity in SEVERITIES},
        "findings": [finding for severity in SEVERITIES for finding in of[severity][:findings_max]],
    }


def finding_of(issue):
    cwe = getattr(getattr(issue, "cwe", None), "id", 0)
    word = lambda value: value.lower() if value.lower() in SEVERITIES else "low"  # noqa: E731
    return {
        "id": issue.test_id,
        "name": issue.test,
        "severity": word(issue.severity),
        "confidence": word(issue.confidence),
        "line": issue.lineno,
        "message": issue.text[:MESSAGE_CHARACTERS_MAX].encode("utf-8", "replace").decode(),
        **({"cwe": cwe} if cwe else {}),
    }


def analyze(report, sources, contents, job):
    ends_at = time.monotonic() + job["time_ms"] / 1000
    waiting = collections.deque(zip(sources, contents))
    while waiting:
        reader = Reader([content for _, content in waiting], job["findings_max"])
        try:
            while waiting:
                deadline = min(ends_at, time.monotonic() + job["file_time_ms"] / 1000)
                outcome = reader.next(deadline)
                source = waiting.popleft()[0]
                if outcome:
                    report.take(source, outcome)
                    continue
                report.skip(source, "crashed" if outcome is None else "timed_out")
                break
        finally:
            reader.end()
        if time.monotonic() >= ends_at:
            for source, _ in waiting:
                report.skip(source, "timed_out")
            break


def main():
    warnings.simplefilter("ignore")
    send("READY", {})
    frames = Frames()
    _, payload = frames.next()
    job = json.loads(payload)
    report = Report(job["findings_max"])
    sources, contents = [], []
    for part in job["parts"]:
        for member, file in frames.members(frozenset(part["sources"])):
            source = {"file": member.name, **({} if part["input"] is None else {"input": part["input"]})}
            if member.size > job["file_bytes_max"]:
                report.skip(source, "too_large")
                continue
            sources.append(source)
            contents.append(file.read())
    # Imported once, for every process that reads.
    import bandit.core.manager  # noqa: F401

    analyze(report, sources, contents, job)
    send("REPORT", report.value())


# Readers run as the same user: without this they could write frames through /proc/1/fd.
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
    raise OSError(ctypes.get_errno(), "PR_SET_DUMPABLE")
try:
    main()
except BaseException as problem:
    send("FAILED", {"text": repr(problem)[:1000]})
