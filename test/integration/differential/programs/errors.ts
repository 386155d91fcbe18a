/** What an uncaught exception, a syntax error or a warning prints. */
import { py, type Programs } from '../../../support/differential-program.ts';

const failing = (files: string | Record<string, string | Uint8Array>) => ({ files, status: 1 });
const bytes = (text: string) => Buffer.from(text, 'latin1');

export const TRACEBACKS: Programs = {
  'one frame': failing('1 / 0\n'),
  'several frames and a library': failing(py`
    import json
    def inner(text):
        return json.loads(text)
    def outer():
        return [inner(t) for t in ["{}", "{broken"]]
    outer()
  `),
  cause: failing(py`
    try:
        {}["k"]
    except KeyError as e:
        raise ValueError("second") from e
  `),
  context: failing(py`
    def handler():
        try:
            int("x")
        except ValueError:
            undefined
    handler()
  `),
  'suppressed context': failing(py`
    try:
        1 / 0
    except ZeroDivisionError:
        raise RuntimeError("alone") from None
  `),
  'cause chain of three, and a cycle': failing(py`
    a, b, c = ValueError("a"), ValueError("b"), ValueError("c")
    a.__cause__, b.__cause__, c.__cause__ = b, c, a
    raise a
  `),
  'exception group': failing(py`
    def f(n):
        raise ValueError(n)
    errors = []
    for n in range(3):
        try: f(n)
        except ValueError as e: errors.append(e)
    raise ExceptionGroup("several", [*errors, ExceptionGroup("nested", [TypeError("t")])])
  `),
  notes: failing(py`
    e = ValueError("with notes")
    e.add_note("first\nof two lines")
    e.add_note("second")
    e.__notes__.append(3)
    raise e
  `),
  'notes that are no list': failing(py`
    e = ValueError("x")
    e.__notes__ = 5
    raise e
  `),
  'deep recursion': failing(py`
    def f(n): return f(n + 1) + 1
    f(0)
  `),
  'mutual recursion': failing(py`
    def a(n): return b(n)
    def b(n): return a(n)
    a(0)
  `),
  'message that cannot be made': failing(py`
    class E(Exception):
        def __str__(self): raise ValueError("no")
    raise E(1)
  `),
  'message in other alphabets, newlines, surrogates': failing(
    'raise ValueError("é € 漢字 \\U0001f600\\nsecond line \\udc9f \\x00 \\x1b[0m")\n',
  ),
  'excepthook replaced': failing(py`
    import sys, traceback
    def hook(kind, value, tb):
        print("hook:", kind.__name__, value, len(traceback.extract_tb(tb)))
        traceback.print_tb(tb)
    sys.excepthook = hook
    def f(): raise ValueError("v")
    f()
  `),
  'excepthook that raises': failing(py`
    import sys
    def hook(*a): raise RuntimeError("in hook")
    sys.excepthook = hook
    raise ValueError("original")
  `),
  'excepthook that exits': {
    files: py`
      import sys
      sys.excepthook = lambda *a: sys.exit(33)
      raise ValueError("original")
    `,
    status: 33,
  },
  'excepthook deleted': failing('import sys\ndel sys.excepthook\nraise ValueError("x")\n'),
  'sys.last_* after an exception': failing(py`
    import sys, atexit
    @atexit.register
    def look():
        print(sys.last_type, sys.last_value, sys.last_traceback.tb_lineno, sys.last_traceback.tb_frame.f_back)
        print(getattr(sys, "last_exc", sys.last_value) is sys.last_value)
    raise ValueError("kept")
  `),
  'unraisable in __del__ and its hook': py`
    import sys
    class A:
        def __del__(self): raise ValueError("in del")
        def __repr__(self): return "<A>"
    a = A()
    del a
    sys.unraisablehook = lambda u: print("hook", u.exc_type.__name__, u.err_msg, type(u.object).__name__)
    a = A()
    del a
  `,
  'traceback through exec, eval and a fake file': failing(py`
    code = compile("def g():\n    return 1 / 0\n", "made-up.py", "exec")
    exec(code)
    def h(): return eval("g()")
    h()
  `),
  'traceback with a tracebacklimit': failing(py`
    import sys
    sys.tracebacklimit = 1
    def f(n):
        if n == 0: raise ValueError("deep")
        f(n - 1)
    f(5)
  `),
  'carets over wide characters and several lines': failing(
    'def f(**k): return None\nx = (f(名="漢字", é=1)\n     .\n     attribute)\n',
  ),
  'NameError and AttributeError suggestions': failing(py`
    class Thing:
        colour = 1
    try:
        Thing().color
    except AttributeError:
        thing = 1
        thin
  `),
  'ImportError and a stdlib module name': failing(py`
    try:
        import definitely_missing
    except ImportError as e:
        print(e, e.name, e.path)
    from json import lods
  `),
  'exception from an imported module': failing({
    'main.py': 'import pkg.mod\n',
    'pkg/__init__.py': '',
    'pkg/mod.py': 'def f():\n    raise LookupError("in package")\n\nf()\n',
  }),
  'exception in a class body, a lambda, a generator, a comprehension': failing(py`
    def gen():
        yield from (1 / n for n in (1, 0))
    class C:
        value = (lambda: list(gen()))()
  `),
  'traceback.print_stack, print_exc, format_stack': py`
    import traceback, sys
    def f():
        traceback.print_stack()
        traceback.print_stack(file=sys.stdout)
        try: 1 / 0
        except ZeroDivisionError: traceback.print_exc(file=sys.stdout)
    f()
    print(traceback.format_stack())
  `,
  'frames below the program': py`
    import inspect, sys
    def depth():
        frame, n = sys._getframe(), 0
        while frame: frame, n = frame.f_back, n + 1
        return n
    print(depth(), [(f.filename, f.lineno, f.function, f.code_context) for f in inspect.stack()])
    print(sys._getframe().f_back, sys._getframe().f_code.co_name, sys._getframe().f_globals is globals())
    try: sys._getframe(1)
    except ValueError as e: print(e)
    print({n: f.f_code.co_filename for n, f in enumerate(sys._current_frames().values())})
  `,
  'depth of recursion reached': py`
    import sys
    print(sys.getrecursionlimit())
    deepest = 0
    def f(n):
        global deepest
        deepest = n
        f(n + 1)
    try: f(1)
    except RecursionError as e: print(deepest, e)
    sys.setrecursionlimit(5000)
    try: f(1)
    except RecursionError: print(deepest)
    try: sys.setrecursionlimit(1)
    except RecursionError as e: print(e)
  `,
  'depth of recursion in C': py`
    import json, copy
    x = []
    for _ in range(50_000): x = [x]
    for f in (repr, json.dumps, copy.deepcopy):
        try: f(x)
        except RecursionError as e: print(f.__name__, e)
  `,
  'depth of recursion in C reached': py`
    def fits(n):
        x = []
        for _ in range(n): x = [x]
        try: repr(x)
        except RecursionError: return False
        return True
    low, high = 0, 1 << 17
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    print(low)
  `,
  'MemoryError and OverflowError': failing(py`
    try: bytearray(1 << 60)
    except MemoryError as e: print(repr(e))
    [0] * (1 << 62)
  `),
  'assertion, stop iteration and unbound local': failing(py`
    def f():
        try:
            assert 1 == 2, ("tuple", "message")
        except AssertionError as e:
            print(e.args)
        def g():
            yield 1
            raise StopIteration("inside generator")
        try: list(g())
        except RuntimeError as e: print(e, repr(e.__cause__))
        x += 1
    f()
  `),
  'int too long to print': failing('print(len(str(10**4000)))\nprint(10**5000)\n'),
  'source gone or changed before the traceback': failing(py`
    import os
    def f():
        raise ValueError("source is gone")
    os.unlink(__file__)
    f()
  `),
};

export const SYNTAX: Programs = {
  SyntaxError: failing('print("not reached")\nx = = 1\n'),
  'unclosed bracket': failing('a = 1\nb = [1, 2\nc = 3\n'),
  'unterminated string': failing('s = "abc\n'),
  'unterminated triple-quoted string': failing('s = """abc\nand on\n'),
  'print statement': failing('print "hello"\n'),
  'return outside of a function': failing('return 5\n'),
  'await outside of a function': failing('import asyncio\nawait asyncio.sleep(0)\n'),
  'f-string error': failing('x = f"{1 +}"\n'),
  'non-ASCII before the caret': failing('é = "漢字" 漢\n'),
  'invalid character': failing('x = 1 \u201c2\u201d\n'),
  'non-printable character': failing('x = 1\u00a0+ 2\n'),
  IndentationError: failing('if True:\nprint(1)\n'),
  'unexpected indent': failing('x = 1\n    y = 2\n'),
  'unindent mismatch': failing('if 1:\n        a = 1\n    b = 2\n'),
  TabError: failing('if 1:\n        a = 1\n\tb = 2\n'),
  'nested too deeply': failing(`x = ${'('.repeat(300)}1${')'.repeat(300)}\n`),
  'too many nested blocks': failing(
    Array.from({ length: 110 }, (_, depth) => `${' '.repeat(depth)}if 1:\n`).join('') + ' '.repeat(110) + 'pass\n',
  ),
  'null byte': failing({ 'main.py': bytes('print(1)\nprint("a\0b")\nprint(2)\n') }),
  'null byte first': { files: { 'main.py': bytes('\0print(1)\n') }, status: 'by version' },
  'bytes that are not UTF-8': failing({ 'main.py': bytes('print("first")\nx = "caf\xe9"\n') }),
  'bytes that are not UTF-8, in a comment of line 1': failing({ 'main.py': bytes('# caf\xe9\nprint(1)\n') }),
  'unknown encoding cookie': failing('# -*- coding: no-such-codec -*-\nprint(1)\n'),
  'latin-1 cookie': { files: { 'main.py': bytes('# -*- coding: latin-1 -*-\nprint(ascii("caf\xe9"), "caf\xe9")\n') } },
  'latin-1 cookie, traceback with source': failing({
    'main.py': bytes('#!/usr/bin/python3\n# coding: latin-1\ndef f():\n    raise ValueError("caf\xe9")\nf()\n'),
  }),
  'utf-16 source': failing({ 'main.py': Buffer.from('\ufeffprint(1)\n', 'utf16le') }),
  'cp1252 and rot13 cookies': failing('# coding: rot13\ncevag(1)\n'),
  'UTF-8 BOM': '\ufeffprint(ascii(__doc__), "ok")\n',
  'BOM with a contradicting cookie': failing('\ufeff# coding: latin-1\nprint(1)\n'),
  'CRLF line ends': 'def f():\r\n    return """a\r\nb"""\r\nprint(ascii(f()))\r\n',
  'CRLF and an error': failing('x = 1\r\ny = (\r\n  1 / 0\r\n)\r\n'),
  'CR line ends': 'print(1)\rprint(2)\r',
  'form feed and trailing backslash': failing('\fprint(1)\nx = 1 + \\'),
  'empty file': '',
  'only a comment, no newline': '# nothing',
  'no newline at the end': 'if 1:\n    print("last")',
  'no newline at the end of an error': failing('if 1:\n    1 / 0'),
  'ends in an open block': failing('def f():\n'),
  'a docstring': '"""The doc."""\nprint(__doc__, __name__)\n',
  'very long line': `x = "${'a'.repeat(200_000)}"\nprint(len(x))\n`,
  'very long line with an error': failing(`${'x = 1; '.repeat(20_000)}1 / 0\n`),
  'many lines': `${'x = 1\n'.repeat(20_000)}print(x)\n`,
  SyntaxWarnings: 'x = "\\d"\nif x is "a": pass\nassert (1, "always")\nprint(0x1for 1 in [])\n'.replace(
    'print(0x1for 1 in [])\n',
    'print([0x1for y in [1]])\n',
  ),
  'SyntaxError in an imported module': failing({ 'main.py': 'import broken\n', 'broken.py': 'x = (\n' }),
  'SyntaxError from compile and exec': failing(
    'try:\n    compile("a b", "name", "exec")\nexcept SyntaxError as e:\n    print(e.args)\nexec("1 +")\n',
  ),
  'future import in the wrong place, and in the right one': failing(
    'from __future__ import annotations\nx: undefined = 1\nprint(__annotations__)\nfrom __future__ import division\n',
  ),
  'future barry_as_FLUFL': { files: 'from __future__ import barry_as_FLUFL\nprint(1 <> 2)\n', status: 'by version' },
};

export const WARNINGS: Programs = {
  'default filters': py`
    import warnings
    warnings.warn("user")
    warnings.warn("deprecated, in main", DeprecationWarning)
    warnings.warn("pending", PendingDeprecationWarning)
    warnings.warn("future", FutureWarning)
    warnings.warn("import", ImportWarning)
    warnings.warn("resource", ResourceWarning)
    for _ in range(3): warnings.warn("once per place")
    print(warnings.filters)
  `,
  'DeprecationWarning of an imported module': {
    files: {
      'main.py': 'import mod\nmod.f()\nmod.g()\n',
      'mod.py':
        'import warnings\ndef f(): warnings.warn("at mod", DeprecationWarning)\ndef g(): warnings.warn("at main", DeprecationWarning, stacklevel=2)\n',
    },
  },
  'stacklevels up to beyond the stack': py`
    import warnings
    def f(level): warnings.warn("level %d" % level, stacklevel=level)
    for level in range(1, 8): f(level)
    warnings.warn_explicit("explicit", UserWarning, "elsewhere.py", 12)
  `,
  'warnings from C': py`
    import os
    x = ~True
    open("f", "w").close()
    f = open("f")
    f = None
    import sys
    print(sys.warnoptions)
  `,
  'PYTHONWARNINGS=error': {
    files: 'import warnings\nwarnings.warn("now an error")\n',
    request: { environment: { PYTHONWARNINGS: 'error' } },
    status: 1,
  },
  'PYTHONWARNINGS=default with a ResourceWarning': {
    files: py`
      import sys, socket
      print(sys.warnoptions)
      def f(): s = open("main.py")
      f()
    `,
    request: { environment: { PYTHONWARNINGS: 'default' } },
  },
  'simplefilter error': {
    files: 'import warnings\nwarnings.simplefilter("error")\nwarnings.warn("w", UserWarning)\n',
    status: 1,
  },
  'formatwarning and showwarning replaced': py`
    import warnings
    warnings.formatwarning = lambda m, c, f, l, line=None: "%s|%s|%s|%d\n" % (m, c.__name__, f, l)
    warnings.warn("custom")
    warnings.showwarning = lambda *a, **k: print("shown", a[0])
    warnings.warn("custom again")
  `,
  'catch_warnings and the registry': py`
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("x")
        warnings.warn("x")
    print([(str(w.message), w.filename, w.lineno) for w in caught])
    warnings.warn("registered")
    print(sorted(k for k in globals() if k.startswith("__")))
    print(__warningregistry__)
  `,
  'un-awaited coroutine': py`
    async def f(): pass
    f()
    print("after")
  `,
  'logging of last resort': py`
    import logging
    logging.info("hidden")
    logging.warning("root, shown")
    logging.getLogger("a.b").error("handler of last resort")
    try: 1 / 0
    except ZeroDivisionError: logging.exception("with traceback")
  `,
  'logging with its own configuration': py`
    import logging, sys
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(levelname)s %(name)s %(module)s %(filename)s %(funcName)s %(lineno)d %(processName)s %(threadName)s %(message)s")
    def f(): logging.debug("from f")
    f()
    logging.getLogger("x").info("info %d", 5)
    logging.info("bad %d", "args")
  `,
};
