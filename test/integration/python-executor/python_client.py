"""The requests python-executor's Python client sends, with the standard library only.

Run as `python_client.py http://127.0.0.1:PORT`; prints one JSON object of what it saw.
"""

import datetime
import http.client
import io
import json
import sys
import tarfile
import time
import urllib.parse
import uuid

server = urllib.parse.urlsplit(sys.argv[1])
session = http.client.HTTPConnection(server.hostname, server.port, timeout=60)
COMMON = {"User-Agent": "python-requests/2.32.0", "Accept-Encoding": "gzip, deflate", "Accept": "*/*", "Connection": "keep-alive"}


def call(method, path, body=None, content_type=None):
    headers = dict(COMMON)
    if content_type:
        headers["Content-Type"] = content_type
    session.request(method, path, body, headers)
    response = session.getresponse()
    data = response.read()
    if not 200 <= response.status < 300:
        raise SystemExit("%s %s: %d %r" % (method, path, response.status, data))
    return json.loads(data)


def tar_of(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def submit(mode, files, metadata):
    boundary = uuid.uuid4().hex
    body = b"".join(
        (
            b"--%s\r\n" % boundary.encode(),
            b'Content-Disposition: form-data; name="tar"; filename="code.tar"\r\n',
            b"Content-Type: application/octet-stream\r\n\r\n",
            tar_of(files),
            b"\r\n--%s\r\n" % boundary.encode(),
            b'Content-Disposition: form-data; name="metadata"\r\n',
            b"Content-Type: application/json\r\n\r\n",
            json.dumps(metadata).encode(),
            b"\r\n--%s--\r\n" % boundary.encode(),
        )
    )
    return call("POST", "/api/v1/exec/" + mode, body, "multipart/form-data; boundary=" + boundary)


def parse_time(text):
    return datetime.datetime.fromisoformat(text[:-1] if text.endswith("Z") else text)


seen = {}
result = submit("sync", {"main.py": "import sys\nprint(sys.stdin.read(), sys.argv[1:])"}, {"entrypoint": "main.py", "stdin": "in", "script_args": ["a"]})
seen["sync"] = result["stdout"]
seen["duration_is_sane"] = parse_time(result["finished_at"]) >= parse_time(result["started_at"])

config = {"timeout_seconds": 300, "network_disabled": True, "memory_mb": 1024, "disk_mb": 2048, "cpu_shares": 1024}
seen["config"] = submit("sync", {"main.py": "print(1)"}, {"entrypoint": "main.py", "config": config})["stdout"]

identifier = submit("async", {"main.py": "import time\ntime.sleep(0.5)\nprint('later')"}, {"entrypoint": "main.py"})["execution_id"]
states = []
while True:
    result = call("GET", "/api/v1/executions/" + identifier)
    if result["status"] not in states:
        states.append(result["status"])
    if result["status"] in ("completed", "failed", "killed"):
        break
    time.sleep(0.05)
seen["async"] = result["stdout"]
seen["last_state"] = states[-1]

identifier = submit("async", {"main.py": "import time\ntime.sleep(60)"}, {"entrypoint": "main.py"})["execution_id"]
call("DELETE", "/api/v1/executions/" + identifier)
seen["killed"] = call("GET", "/api/v1/executions/" + identifier)["status"]

result = call("POST", "/api/v1/eval", json.dumps({"code": "print('x')\n6*7", "eval_last_expr": True}).encode(), "application/json")
seen["eval"] = [result["stdout"], result["result"], result["exit_code"]]
print(json.dumps(seen))
