/** How a project is run: packages, modules, archives, imports, and code that looks at its own source. */
import { execFileSync } from 'node:child_process';
import { py, type Programs } from '../../../support/differential-program.ts';

/** A zip archive of one stored __main__.py, as zipapp makes it, with a shebang line before it. */
function zipapp(main: string): Buffer {
  const script =
    'import io,sys,zipfile\nb=io.BytesIO()\nb.write(b"#!/usr/bin/env python3\\n")\n' +
    'z=zipfile.ZipFile(b,"w")\nz.writestr("__main__.py",sys.argv[1])\nz.writestr("inside.py","where=__file__")\nz.close()\n' +
    'sys.stdout.buffer.write(b.getvalue())';
  return execFileSync('python3', ['-c', script, main]);
}

const SHOW = py`
  import sys
  print(__name__, __file__, __package__, __spec__ and __spec__.name, sys.argv, sys.path[0], sys.orig_argv)
  print(sorted(n for n in globals() if n.startswith("__")), type(__loader__))
`;

const script = (path: string) => ({ entryPoint: { kind: 'script', path } }) as const;
const module = (name: string) => ({ entryPoint: { kind: 'module', name } }) as const;

export const PROJECTS: Programs = {
  'entry in a directory': {
    files: { 'src/app/run.py': `${SHOW}import sibling\nprint(sibling.__file__)\n`, 'src/app/sibling.py': '' },
    request: { ...script('src/app/run.py'), args: ['x'] },
  },
  'entry in a directory that fails': {
    files: { 'src/run.py': 'def f():\n    raise ValueError("x")\nf()\n' },
    request: script('src/run.py'),
    status: 1,
  },
  'entry with spaces and other letters': {
    files: { 'dir é/my prog ü.py': `${SHOW}1 / 0\n` },
    request: script('dir é/my prog ü.py'),
    status: 1,
  },
  'directory with __main__.py': {
    files: { 'app/__main__.py': `${SHOW}import other\nprint(other.__file__)\n`, 'app/other.py': '' },
    request: { ...script('app'), args: ['y'] },
  },
  'the project itself as a directory': { files: { '__main__.py': SHOW }, request: script('.') },
  '__main__.py named as the entry': {
    files: { '__main__.py': `${SHOW}import other\n`, 'other.py': 'print("other", __name__)\n' },
    request: script('__main__.py'),
  },
  'zip archive': {
    files: { 'app.pyz': zipapp(`${SHOW}import inside\nprint(inside.where)\n`) },
    request: script('app.pyz'),
  },
  'zip archive that fails': {
    files: { 'app.pyz': zipapp('def f(): 1 / 0\nf()\n') },
    request: script('app.pyz'),
    status: 1,
  },
  'zip archive named .py': { files: { 'app.py': zipapp(SHOW) }, request: script('app.py') },
  'entry without .py': { files: { tool: `${SHOW}print(globals().get("__cached__"))\n` }, request: script('tool') },
  'compiled entry': {
    files: {
      'main.py': py`
        import py_compile, subprocess, sys
        open("prog.py", "w").write("print(__name__, __file__, __cached__)\n")
        py_compile.compile("prog.py", cfile="prog.pyc")
        print(subprocess.run([sys.executable, "prog.pyc"], capture_output=True, text=True))
      `,
    },
  },
  '-m module': {
    files: {
      'pkg/__init__.py': 'print("init")\n',
      'pkg/mod.py': `${SHOW}from . import other\n`,
      'pkg/other.py': 'print(__name__)\n',
    },
    request: { ...module('pkg.mod'), args: ['z'] },
  },
  '-m package with __main__': {
    files: {
      'pkg/__init__.py': '',
      'pkg/__main__.py': `${SHOW}from .core import value\nprint(value)\n`,
      'pkg/core.py': 'value = 5\n',
    },
    request: module('pkg'),
  },
  '-m package without __main__': { files: { 'pkg/__init__.py': '' }, request: module('pkg'), status: 1 },
  '-m missing module': { files: { 'main.py': '' }, request: module('nothing.here'), status: 1 },
  '-m module that fails': {
    files: { 'pkg/__init__.py': '', 'pkg/mod.py': 'def f(): raise KeyError("k")\nf()\n' },
    request: module('pkg.mod'),
    status: 1,
  },
  '-m frames, modules and settings': {
    files: {
      'prog.py': py`
        import sys, traceback, os
        print(sorted(sys.modules), sys.flags, sys.path, sys.getfilesystemencoding(), sys.warnoptions, sys._xoptions)
        frame, seen = sys._getframe(), []
        while frame: seen.append((frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno, frame.f_globals["__name__"])); frame = frame.f_back
        print(seen)
        traceback.print_stack()
        deepest = 0
        def f(n):
            global deepest
            deepest = n
            f(n + 1)
        try: f(1)
        except RecursionError: print(deepest)
        print(os.listdir("/proc/self/fd"), open("/proc/self/cmdline", "rb").read(), sys.stdin.read())
        print(getattr(sys, "__interactivehook__", None).__qualname__, "PYTHONINSPECT" in os.environ)
      `,
    },
    request: { ...module('prog'), args: ['x', 'é'], stdin: Buffer.from('in\n') },
  },
  '-m and sys.exit': {
    files: { 'prog.py': 'import atexit, sys\natexit.register(print, "bye")\nsys.exit("a text")\n' },
    request: module('prog'),
    status: 1,
  },
  '-m and a number': { files: { 'prog.py': 'import sys\nsys.exit(300)\n' }, request: module('prog'), status: 44 },
  '-m and KeyboardInterrupt': {
    files: { 'prog.py': 'print("so far")\nraise KeyboardInterrupt\n' },
    request: module('prog'),
    status: -2,
  },
  '-m and an excepthook, threads and what is left at the end': {
    files: {
      'prog.py': py`
        import sys, threading, time, atexit
        class Left:
            def __del__(self): print("left", sys.is_finalizing())
        left = Left()
        atexit.register(lambda: print("atexit", sys.last_type.__name__))
        threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
        sys.excepthook = lambda kind, value, trace: print(kind.__name__, value, trace.tb_frame.f_code.co_name, sys._getframe().f_back)
        raise ValueError("x")
      `,
    },
    request: module('prog'),
    status: 1,
  },
  '-m and a fork': {
    files: {
      'prog.py':
        'import os, sys\npid = os.fork()\nif pid == 0:\n    print("child"); sys.exit(3)\nprint(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n',
    },
    request: module('prog'),
  },
  '-m of a package that fails to begin': {
    files: { 'pkg/__init__.py': 'import nothing_of_the_kind\n', 'pkg/__main__.py': '' },
    request: module('pkg'),
    status: 1,
  },
  '-m of what is broken': { files: { 'prog.py': 'x = (\n' }, request: module('prog'), status: 1 },
  'folder without __main__.py': {
    files: { 'app/x.py': '', 'main.py': '' },
    request: { ...script('app'), toleratesMissingEntryPoint: true },
    status: 1,
  },
  'file that is not there': {
    files: { 'main.py': '' },
    request: { ...script('other.py'), toleratesMissingEntryPoint: true },
    status: 2,
  },
  '-m of the standard library': {
    files: { 'data.json': '{"b": 1, "a": [1, 2]}' },
    request: { ...module('json.tool'), args: ['--sort-keys', 'data.json'] },
  },
  '-m unittest': {
    files: { 'test_x.py': 'import unittest\nclass T(unittest.TestCase):\n    def test(self): pass\n' },
    request: { ...module('unittest'), args: ['--help'] },
  },
  'relative import in a script': {
    files: { 'pkg/__init__.py': '', 'pkg/run.py': 'from . import other\n', 'pkg/other.py': '' },
    request: script('pkg/run.py'),
    status: 1,
  },
  'packages and sub-packages': {
    files: {
      'main.py':
        'from pkg.sub import deep\nimport pkg, sys\nprint(deep.value, pkg.__path__, pkg.sub.__package__)\nprint([m for m in sys.modules if m.startswith("pkg")])\n',
      'pkg/__init__.py': 'from . import base\n__all__ = ["base"]\n',
      'pkg/base.py': 'value = 40\n',
      'pkg/sub/__init__.py': '',
      'pkg/sub/deep.py': 'from ..base import value as v\nvalue = v + 2\n',
    },
  },
  'relative import beyond the top': {
    files: { 'main.py': 'import pkg.mod\n', 'pkg/__init__.py': '', 'pkg/mod.py': 'from ... import x\n' },
    status: 1,
  },
  'namespace package and __pycache__': {
    files: {
      'main.py':
        'import space.mod, os\nprint(space.__path__, space.__file__, space.mod.__cached__)\nprint(sorted(os.listdir("space")), os.path.exists("__pycache__"), os.listdir("space/__pycache__"))\n',
      'space/mod.py': '',
    },
  },
  'circular import': {
    files: { 'main.py': 'import a\n', 'a.py': 'from b import y\nx = 1\n', 'b.py': 'from a import x\ny = 2\n' },
    status: 1,
  },
  'main imported again by its name': {
    files: {
      'main.py':
        'print("run as", __name__)\nimport main\nimport __main__\nprint(__main__ is main, __main__.__name__, main.__spec__.origin)\n',
    },
  },
  'a module that shadows the standard library': {
    files: {
      'main.py': 'import json\nprint(json.__file__, json.dumps(1))\n',
      'json.py': 'def dumps(x): return "mine"\nprint("my json")\n',
    },
  },
  'modules that shadow what is imported at the start, or by us': {
    files: {
      'main.py':
        'import ctypes, marshal, struct, select, resource, fcntl, errno, os, supervisor, _functools\nprint([getattr(m, "__file__", "built in") for m in (ctypes, struct, select, resource, fcntl, errno, os, marshal, supervisor)])\n',
      ...Object.fromEntries(
        ['ctypes', 'struct', 'select', 'resource', 'fcntl', 'errno', 'os', 'marshal', 'supervisor', 'time'].map(
          (name) => [`${name}.py`, `print("mine:", __name__)\n`],
        ),
      ),
    },
  },
  'importlib.reload, invalidate_caches, a module written at run time': py`
    import importlib, sys
    open("made.py", "w").write("value = 1\n")
    importlib.invalidate_caches()
    import made
    print(made.value)
    open("made.py", "w").write("value = 2  # longer\n")
    print(importlib.reload(made).value, made.__spec__.origin)
    try: importlib.reload(sys.modules["__main__"])
    except ImportError as e: print(e)
  `,
  'module written at run time without invalidate_caches': py`
    import os
    os.mkdir("late"); open("late/__init__.py", "w").write("x = 1\n")
    import late
    print(late.x)
  `,
  runpy: {
    files: {
      'main.py':
        'import runpy, sys\nprint(sorted(runpy.run_path("other.py", run_name="__main__")))\nprint(runpy.run_module("other", run_name="named")["__name__"], sys.argv)\n',
      'other.py': 'import sys\nprint(__name__, __file__, sys.argv[0], sys.modules["__main__"].__dict__ is globals())\n',
    },
  },
  'inspect on the program itself': py`
    import inspect, sys, linecache
    class C:
        """Doc."""
        def method(self, a, *, b: int = 2) -> str:
            return "x"
    @staticmethod
    def f(): pass
    print(inspect.getsource(C), inspect.getsource(C.method), inspect.getsourcelines(C.method)[1])
    print(inspect.getfile(C), inspect.getsourcefile(C), inspect.getmodule(C), inspect.getmodulename(__file__))
    print(inspect.signature(C.method), C.__module__, C.method.__code__.co_filename, C.method.__code__.co_firstlineno)
    print(inspect.getsource(sys.modules["__main__"]) == open(__file__).read(), linecache.getline(__file__, 1))
    print(__loader__.get_source("__main__")[:20], __loader__.get_filename("__main__"))
  `,
  'pickle of classes and functions in __main__': py`
    import pickle, copy
    class P:
        def __init__(self, x): self.x = x
        def __eq__(self, o): return self.x == o.x
    def f(): return 7
    data = pickle.dumps((P(1), P, f), protocol=2)
    print(data)
    print(pickle.loads(data)[0] == P(1), pickle.loads(data)[2](), copy.deepcopy(P(2)).x)
    try: pickle.dumps(lambda: 0)
    except Exception as e: print(type(e).__name__)
  `,
  'dataclasses, typing, enum, abc in __main__': py`
    from __future__ import annotations
    import dataclasses, typing, enum, abc
    @dataclasses.dataclass(order=True, frozen=True)
    class Point:
        x: int
        y: typing.Optional[Point] = None
        tags: list[str] = dataclasses.field(default_factory=list, compare=False)
    print(Point(1, Point(2)), typing.get_type_hints(Point), Point(1) < Point(2), dataclasses.asdict(Point(1)))
    class Colour(enum.Enum):
        RED = enum.auto()
    class Named(typing.NamedTuple):
        a: int = 1
    print(Colour.RED, repr(Colour.RED), Named(), Colour.__module__, Named.__module__, typing.get_type_hints(Named))
    import collections
    print(collections.namedtuple("T", "a b").__module__)
    class A(abc.ABC):
        @abc.abstractmethod
        def m(self): ...
    try: A()
    except TypeError as e: print(e)
    def decorated(fn): return fn
    @decorated
    def g(a: "Point") -> Colour: ...
    print(typing.get_type_hints(g), g.__qualname__, g.__module__, g.__globals__ is globals())
  `,
  'settrace and setprofile': py`
    import sys
    events = []
    def trace(frame, event, arg):
        if frame.f_code.co_filename == __file__: events.append((event, frame.f_lineno, frame.f_code.co_name))
        return trace
    def f(a):
        b = a + 1
        return b
    sys.settrace(trace); f(1); sys.settrace(None)
    print(events)
    events.clear()
    sys.setprofile(lambda fr, ev, arg: events.append((ev, fr.f_code.co_name)))
    f(2); len([])
    sys.setprofile(None)
    print(events)
  `,
  'profile left on at the end': py`
    import cProfile, pstats, io
    p = cProfile.Profile()
    p.enable()
    def f(): return sum(range(10))
    f(); f()
    p.disable()
    s = io.StringIO()
    print(sorted((k[2], v[0]) for k, v in pstats.Stats(p, stream=s).stats.items() if k[0] == __file__))
  `,
  'breakpoint without a terminal': {
    files: 'x = 5\nbreakpoint()\nprint("after", x)\n',
    request: { stdin: Buffer.from('p x\nc\n') },
  },
  'code.interact': {
    files: 'import code\ncode.interact(banner="hello", exitmsg="bye")\n',
    request: { stdin: Buffer.from('1 + 1\nundefined\n') },
  },
  'preimported modules are whole': py`
    import ctypes, json, struct, select, resource, fcntl, errno, marshal, time, signal
    print(ctypes.sizeof(ctypes.c_long), json.loads("[1]"), struct.pack(">I", 1), errno.ENOENT, marshal.loads(marshal.dumps(3)), signal.SIGTERM)
    print(ctypes.__spec__.origin, ctypes.CDLL, ctypes.pythonapi.Py_IsInitialized())
  `,
};
