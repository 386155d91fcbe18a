/** The standard library where it reaches below Python. */
import { py, type Programs } from '../../../support/differential-program.ts';

export const LIBRARIES: Programs = {
  'ctypes: calls, callbacks, structures': py`
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    values = (ctypes.c_int * 5)(5, 1, 4, 2, 3)
    libc.qsort(values, 5, ctypes.sizeof(ctypes.c_int), compare(lambda a, b: a[0] - b[0]))
    print(list(values))
    class P(ctypes.Structure): _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]
    print(P(1, 2.5).y, ctypes.sizeof(P), libc.abs(-3))
    libc.open(b"/none", 0); print(ctypes.get_errno())
    def fail(a, b): raise ValueError("in callback")
    import sys
    sys.unraisablehook = lambda u: print("unraisable", u.exc_type.__name__)
    libc.qsort(values, 2, 4, compare(fail))
  `,
  'ctypes: pythonapi': py`
    import ctypes
    api = ctypes.pythonapi
    api.PyLong_FromLong.restype = ctypes.py_object
    print(api.PyLong_FromLong(42), api.Py_IsInitialized(), api.PyGILState_Check())
    api.Py_GetVersion.restype = ctypes.c_char_p
    import sys
    print(api.Py_GetVersion().decode() == sys.version)
    try:
        api.PyErr_SetString(ctypes.py_object(ValueError), b"from C")
    except ValueError as e: print(e)
    print(ctypes.c_int.in_dll(api, "Py_InspectFlag").value, ctypes.c_int.in_dll(api, "Py_InteractiveFlag").value)
  `,
  'ctypes: Py_Exit, Py_AtExit and what main would do': {
    files: py`
      import ctypes, atexit
      atexit.register(print, "atexit")
      print("x")
      ctypes.pythonapi.Py_Exit(9)
    `,
    status: 9,
  },
  'ctypes: exit() of C': {
    files: py`
      import atexit, ctypes
      atexit.register(print, "not run")
      print("x")
      ctypes.CDLL(None).exit(6)
    `,
    status: 6,
  },
  'ctypes: argtypes and restypes are the defaults': py`
    import ctypes
    for lib in (ctypes.pythonapi, ctypes.CDLL(None), ctypes.PyDLL(None)):
        for name in ("fopen", "kill", "Py_Exit", "PyRun_AnyFileExFlags", "prctl"):
            f = getattr(lib, name, None)
            print(name, f and (f.argtypes, f.restype, f.errcheck))
    print(ctypes._c_functype_cache if hasattr(ctypes, "_c_functype_cache") else "")
  `,
  'ctypes: pickling and pointer types': py`
    import ctypes, pickle
    class P(ctypes.Structure): _fields_ = [("x", ctypes.c_int)]
    print(pickle.loads(pickle.dumps(P(5))).x, pickle.loads(pickle.dumps(ctypes.c_long(7))))
    print(ctypes.POINTER(ctypes.c_int) is ctypes.POINTER(ctypes.c_int), ctypes.cast(0, ctypes.c_void_p), ctypes.POINTER(None))
    print(isinstance(ctypes.py_object(1), ctypes._SimpleCData), ctypes.c_char_p(b"x").value, ctypes.wstring_at("w"))
    try: ctypes.c_int("x")
    except TypeError as e: print(e)
    try: ctypes.CDLL(None).abs(P)
    except ctypes.ArgumentError as e: print(e)
  `,
  sqlite3: py`
    import sqlite3
    c = sqlite3.connect("data.db")
    c.execute("create table t (a integer primary key, b text)")
    with c: c.executemany("insert into t (b) values (?)", [("x",), ("é",), (None,)])
    print(c.execute("select * from t order by a").fetchall(), sqlite3.connect("data.db").execute("select count(*) from t").fetchone())
    try: c.execute("select nothing")
    except sqlite3.OperationalError as e: print(e)
    c.close()
  `,
  'tempfile and shutil': py`
    import os, shutil, tempfile
    print(tempfile.gettempdir(), os.path.dirname(tempfile.mkdtemp()), tempfile.tempdir)
    with tempfile.TemporaryDirectory() as d:
        open(os.path.join(d, "f"), "w").close(); print(os.listdir(d))
        shutil.make_archive("archive", "zip", d)
    print(os.path.exists(d), os.path.exists("archive.zip"))
    with tempfile.NamedTemporaryFile("w+") as f: f.write("x"); f.seek(0); print(f.read(), oct(os.stat(f.name).st_mode))
    with tempfile.TemporaryFile() as f: print(f.write(b"abc"))
  `,
  'TemporaryDirectory left open': py`
    import tempfile
    d = tempfile.TemporaryDirectory(prefix="left")
    import warnings; warnings.simplefilter("ignore")
    print("end")
  `,
  'files, links, locks, mmap': py`
    import fcntl, mmap, os, pathlib
    p = pathlib.Path("d/e"); p.mkdir(parents=True); (p / "f").write_text("text")
    os.symlink("f", p / "link"); print((p / "link").read_text(), os.readlink(p / "link"), sorted(x.name for x in p.iterdir()))
    os.link(p / "f", p / "hard"); print(os.stat(p / "f").st_nlink)
    with open(p / "f", "r+b") as f:
        fcntl.flock(f, fcntl.LOCK_EX); m = mmap.mmap(f.fileno(), 0); m[0:1] = b"T"; m.close()
    print((p / "f").read_text(), pathlib.Path().resolve(), pathlib.Path.home(), os.path.realpath("main.py"))
    os.chmod(p / "f", 0o000); print(os.access(p / "f", os.R_OK))
    try: open("/etc/x", "w")
    except OSError as e: print(e)
  `,
  'sockets without a network': py`
    import socket
    try: socket.create_connection(("192.0.2.1", 80), timeout=1)
    except OSError as e: print(e)
    try: socket.getaddrinfo("example.org", 80)
    except socket.gaierror as e: print(e)
    s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
    c = socket.create_connection(s.getsockname()); a, _ = s.accept(); a.send(b"loop"); print(c.recv(10))
    c.close(); a.close(); s.close()
    import urllib.request, urllib.error
    try: urllib.request.urlopen("http://192.0.2.1/", timeout=1)
    except urllib.error.URLError as e: print(e)
  `,
  'zoneinfo and datetime': py`
    import datetime, zoneinfo
    try:
        z = zoneinfo.ZoneInfo("America/New_York")
        print(datetime.datetime(2024, 7, 1, 12, tzinfo=z).isoformat(), z)
    except zoneinfo.ZoneInfoNotFoundError as e: print(e)
    print(datetime.datetime.fromtimestamp(0, datetime.UTC))
  `,
  'json, csv, re, decimal, statistics, textwrap': py`
    import csv, decimal, fractions, io, json, re, statistics, sys, textwrap
    json.dump({"a": [1, None, True, 1.5, "é"]}, sys.stdout, indent=1); print()
    csv.writer(sys.stdout).writerows([["a,b", 'q"'], [1, 2.0]])
    print(re.sub(r"(\w+)", lambda m: m[1].upper(), "ab cd"), decimal.Decimal(1) / 3, fractions.Fraction(3, 6))
    print(statistics.stdev([1, 2, 4]), textwrap.fill("word " * 30, 40))
  `,
  'gc and weak references': py`
    import gc, weakref
    class Node: pass
    a, b = Node(), Node(); a.b, b.a = b, a
    r = weakref.ref(a, lambda _: print("collected"))
    del a, b
    print(r() is not None); gc.collect(); print(r())
    gc.disable(); print(gc.isenabled())
  `,
  'time of the process': py`
    import time, resource
    print(time.process_time() < 5, time.perf_counter() > 0, time.monotonic() > 0, time.thread_time() < 5)
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >= 0)
    t = time.time(); time.sleep(0.05); print(time.time() - t > 0.04)
  `,
  'web server and client in threads': py`
    import http.server, threading, urllib.request
    class H(http.server.BaseHTTPRequestHandler):
        def do_GET(self): self.send_response(200); self.end_headers(); self.wfile.write(b"served " + self.path.encode())
        def log_message(self, *a): print("log", a[1])
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    print(urllib.request.urlopen("http://127.0.0.1:%d/x" % s.server_port).read())
    s.shutdown(); s.server_close()
  `,
  'code, ast, dis, timeit, compileall': py`
    import ast, compileall, dis, io, os, timeit
    print(ast.dump(ast.parse(open(__file__).read()).body[0]))
    out = io.StringIO(); dis.dis(lambda: 1 + x, file=out); print("LOAD_GLOBAL" in out.getvalue())
    print(timeit.timeit("pass", number=10) < 1, compileall.compile_dir(".", quiet=2), sorted(os.listdir("__pycache__")))
  `,
  'input hooks and readline': {
    files: 'import readline\nprint(readline.get_line_buffer() == "", input("> "))\n',
    request: { stdin: Buffer.from('typed\n') },
  },
};
