/** stdin, stdout and stderr. */
import { py, type Programs } from '../../../support/differential-program.ts';

const stdin = (text: string | Buffer) => ({ stdin: Buffer.from(text as string) });

export const STREAMS: Programs = {
  'attributes of the streams': py`
    import sys
    for f in (sys.stdin, sys.stdout, sys.stderr):
        print(f.name, f.mode, f.encoding, f.errors, f.isatty(), f.fileno(), f.newlines, f.closed, f.readable(), f.writable(), f.seekable())
        b = f.buffer
        print(type(f), b.name, b.mode, type(getattr(b, "raw", b)), getattr(b, "raw", b).name, getattr(b, "raw", b).mode, getattr(b, "raw", b).closefd)
        print(sorted(vars(f)), f._CHUNK_SIZE if hasattr(f, "_CHUNK_SIZE") else "")
        print(repr(f), repr(getattr(b, "raw", b)))
    print(sys.stdin.line_buffering, sys.stderr.line_buffering, sys.stderr.write_through)
    print(sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__, sys.stdin is sys.__stdin__)
  `,
  'a second stream over the same descriptor': py`
    import os, sys
    print("one")
    with open(1, "w", closefd=False) as f: f.write("two\n")
    os.write(1, b"three\n")
    print("four")
    sys.stdout.buffer.write(b"five\n"); print("six"); sys.stdout.buffer.flush()
    with os.fdopen(os.dup(1), "w") as f: f.write("seven\n")
    print("eight", end="", flush=True)
    os.write(1, b"|nine\n")
  `,
  reconfigure: py`
    import sys
    sys.stdout.reconfigure(encoding="utf-16-le", errors="replace", newline="\r\n")
    print("a\nb")
    sys.stdout.reconfigure(encoding="ascii", errors="backslashreplace", line_buffering=False)
    print("\u20ac\n")
    sys.stdout.reconfigure(newline="")
    print("plain\n")
  `,
  'detach and wrap again': py`
    import io, sys
    binary = sys.stdout.detach()
    sys.stdout = io.TextIOWrapper(binary, encoding="latin-1", line_buffering=True)
    print("caf\xe9")
    sys.stdout = io.TextIOWrapper(open(1, "wb", buffering=0, closefd=False), write_through=True)
    print("raw")
  `,
  'sys.stdout deleted': {
    files: 'import sys\nprint("x")\ndel sys.stdout\nprint("lost?")\n',
    status: 1,
  },
  'sys.stdout and sys.stderr are None': {
    files: 'import sys\nsys.stdout = None\nprint("nowhere")\nsys.stderr = None\nraise ValueError("nowhere")\n',
    status: 1,
  },
  'sys.stdout replaced by something broken': {
    files: py`
      import sys
      class Broken:
          def write(self, s): raise OSError("cannot write")
          def flush(self): raise OSError("cannot flush")
      sys.stdout = Broken()
      try: print("x")
      except OSError as e: print(e, file=sys.stderr)
    `,
    status: 120,
  },
  'sys.stdout closed': {
    files: 'import sys\nprint("x")\nsys.stdout.close()\nprint("after")\n',
    status: 1,
  },
  'sys.stderr closed': 'import sys\nsys.stderr.close()\nprint("goes on")\n',
  'descriptor 1 closed': {
    files:
      'import os\nprint("x")\nos.close(1)\ntry: print("to a closed descriptor")\nfinally: os.open("/dev/null", os.O_WRONLY)\n',
    status: 1,
  },
  'descriptor 1 closed, nothing written': 'import os, sys\nprint("x")\nos.close(1)\n',
  'descriptor 2 closed before an error': { files: 'import os\nos.close(2)\n1 / 0\n', status: 1 },
  'descriptor 0 closed': 'import os\nos.close(0)\nprint(open("main.py").fileno())\n',
  'stdout onto stderr and back': py`
    import os, sys
    saved = os.dup(1)
    print("out")
    os.dup2(2, 1); print("into stderr"); sys.stdout.flush()
    os.dup2(saved, 1); print("out again")
    import contextlib, io
    with contextlib.redirect_stdout(io.StringIO()) as s: print("captured")
    print(repr(s.getvalue()))
  `,
  'prints of many shapes': py`
    import sys, pprint
    print(); print("a", 1, None, sep="|", end="!\n")
    print("to stderr", file=sys.stderr)
    print("é € 漢字 \U0001f600", "nul \0 tab \t", "cr\r\n", "\x1b[31mred\x1b[0m")
    sys.stdout.write("no newline"); sys.stderr.write("no newline either")
    pprint.pprint({"k": list(range(40))})
    sys.displayhook(5); sys.displayhook(None)
    print(_)
  `,
  'interleaving within each stream': py`
    import os, sys
    for i in range(50):
        print("line", i)
        sys.stdout.write("partial "); sys.stdout.flush()
        os.write(1, b"raw\n")
        sys.stderr.write("err %d " % i); os.write(2, b"raw\n")
  `,
  'many small writes without newline': 'import sys\nfor i in range(20000): sys.stdout.write(str(i % 10))\n',
  'bytes that are not UTF-8': py`
    import sys
    sys.stdout.buffer.write(bytes(range(256)) + b"\n")
    sys.stderr.buffer.write(b"\xff\xfe\x00caf\xe9\n")
  `,
  'bytes cut in the middle of a character, at the end':
    'import os\nos.write(1, "€".encode()[:2])\nos.write(2, b"\\xf0\\x9f")\n',
  'surrogates out': {
    files: 'print("escaped byte: \\udcff")\nprint("\\ud800")\n',
    status: 1,
  },
  'surrogateescape in arguments': {
    files: py`
      import os, sys
      name = os.fsdecode(b"caf\xe9")
      open(name, "w").close()
      print(ascii([n for n in os.listdir() if n != "main.py"]), ascii(os.listdir(b".")))
      sys.stderr.write(name + "\n")
      try: print(name)
      except UnicodeEncodeError as e: print(e)
    `,
  },
  'a line of 5 MB': 'print("x" * 5_000_000)\n',
  'binary output of 8 MB': 'import sys\nfor i in range(8): sys.stdout.buffer.write(bytes([i]) * (1 << 20))\n',
  '200,000 lines': 'for i in range(200_000): print("line", i)\n',
  'both streams flooded': py`
    import sys
    for i in range(5000):
        print("o" * 200, i)
        print("e" * 200, i, file=sys.stderr)
  `,
  'output from threads, a line each': py`
    import threading
    lines = threading.Lock()
    def f(n):
        for i in range(200):
            with lines: order.append(n)
    order = []
    ts = [threading.Thread(target=f, args=(n,)) for n in range(4)]
    [t.start() for t in ts]; [t.join() for t in ts]
    print(len(order), sorted(set(order)))
  `,
  'input()': {
    files: 'name = input("Name? ")\nage = int(input())\nprint(name, age)\nprint(repr(input("last: ")))\n',
    request: stdin('Ada\n36\nno newline'),
  },
  'input() at the end': { files: 'input("? ")\ninput("again? ")\n', request: stdin('one\n'), status: 1 },
  'input() without stdin': { files: 'print("x")\ninput()\n', status: 1 },
  'input() of several encodings': {
    files: 'print(ascii(input()))\nprint(ascii(input()))\n',
    request: stdin(Buffer.from('caf\xc3\xa9\r\n\xff\xfe\n', 'latin1')),
    status: 0,
  },
  'iterating stdin': {
    files: 'import sys\nfor n, line in enumerate(sys.stdin, 1): print(n, repr(line))\nprint(repr(sys.stdin.read()))\n',
    request: stdin('a\nb\r\nc\rd\n\nlast'),
  },
  'binary stdin': {
    files:
      'import sys, hashlib\nd = sys.stdin.buffer.read()\nprint(len(d), hashlib.sha256(d).hexdigest(), sys.stdin.buffer.read())\n',
    request: stdin(Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) & 0xff))),
  },
  'stdin by readline, read(n) and os.read': {
    files:
      'import os, sys\nprint(repr(sys.stdin.readline()), repr(sys.stdin.read(3)), repr(sys.stdin.readlines()), os.read(0, 10))\n',
    request: stdin('first\nsecond\nthird\n'),
  },
  'large stdin, unread': { files: 'print("not interested")\n', request: stdin('x'.repeat(3_000_000)) },
  'large stdin, partly read': {
    files: 'import sys\nprint(len(sys.stdin.readline()))\nsys.stdin.close()\nprint("closed")\n',
    request: stdin(`${'a'.repeat(100_000)}\n${'b\n'.repeat(1_000_000)}`),
  },
  'large stdin through a child': {
    files:
      'import subprocess, sys\nprint(subprocess.check_output(["wc", "-lc"], text=True).split())\nprint(repr(sys.stdin.read()))\n',
    request: stdin('line\n'.repeat(500_000)),
  },
  'stdin read by a child, then by us': {
    files:
      'import subprocess, sys\nsubprocess.run(["sh", "-c", "read x; echo child read $x"])\nprint(repr(sys.stdin.read()))\n',
    request: stdin('one\ntwo\nthree\n'),
  },
  'stdin is a pipe': {
    files:
      'import os, select, stat, sys\nprint(stat.S_ISFIFO(os.fstat(0).st_mode), select.select([0], [], [], 5)[0], os.get_blocking(0))\ntry: sys.stdin.seek(0)\nexcept OSError as e: print(e)\n',
    request: stdin('x'),
  },
  'stdin in another encoding': {
    files: 'import sys\nsys.stdin.reconfigure(encoding="latin-1")\nprint(ascii(sys.stdin.read()))\n',
    request: stdin(Buffer.from('caf\xe9', 'latin1')),
  },
  'stdin that is not UTF-8': {
    files: 'import sys\nprint(ascii(sys.stdin.read()), sys.stdin.errors)\n',
    request: stdin(Buffer.from('caf\xe9', 'latin1')),
  },
  'fileinput and a filter': {
    files: {
      'main.py':
        'import fileinput\nfor line in fileinput.input(encoding="utf-8"): print(fileinput.filename(), fileinput.lineno(), line.upper(), end="")\n',
      'data.txt': 'x\ny\n',
    },
    request: { ...stdin('from stdin\n'), args: ['data.txt', '-'] },
  },
  'getpass and curses without a terminal': {
    files:
      'import getpass, shutil, os\nprint(repr(getpass.getpass("Password: ")))\nprint(shutil.get_terminal_size())\ntry: os.get_terminal_size()\nexcept OSError as e: print(e)\n',
    request: stdin('secret\n'),
  },
  'unwritten output of a buffered file': py`
    f = open("out", "w"); f.write("kept by finalisation")
    g = open("out2", "w"); g.write("kept too")
    import atexit
    atexit.register(lambda: print(open("out").read(), "|"))
  `,
};
