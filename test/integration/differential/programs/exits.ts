/** How a program ends by itself: SystemExit with every kind of argument, atexit, finalisation, os._exit, exec. */
import { py, type Program, type Programs } from '../../../support/differential-program.ts';

const exits = (argument: string, status: Program['status'] = 0): Program => ({
  files: `import sys\nprint("before")\nsys.exit(${argument})\n`,
  status,
});

export const EXITS: Programs = {
  'runs off its end': 'print("done")\n',
  'finalisers of objects kept in every place there is': {
    files: py`
      import atexit, builtins, codecs, contextvars, ctypes, os, sys, threading, time
      class Last:
          def __init__(self, name): self.name = name
          def __del__(self, write=os.write): write(1, b"end of " + self.name + b"\n")
      a = Last(b"a global"); b = []; b.append(b); b.append(Last(b"a cycle"))
      local = threading.local(); local.x = Last(b"a thread's own")
      variable = contextvars.ContextVar("v"); variable.set(Last(b"a context"))
      builtins.kept = Last(b"builtins"); sys.kept = Last(b"sys")
      codecs.register(lambda name, x=Last(b"a codec"): None)
      os.register_at_fork(before=lambda x=Last(b"a fork"): None)
      atexit.register(lambda x=Last(b"atexit"): None)
      sys.addaudithook(lambda *a, x=Last(b"an audit hook"): None)
      threading.Thread(target=lambda: (time.sleep(0.05), os.write(1, b"thread\n"))).start()
      ctypes.CDLL(None).printf(b"C writes late\n")
    `,
  },
  'sys.exit()': exits('', 0),
  'sys.exit(None)': exits('None', 0),
  'sys.exit(True)': exits('True', 1),
  'sys.exit(3)': exits('3', 3),
  'sys.exit(-1)': exits('-1', 255),
  'sys.exit(256)': exits('256', 0),
  'sys.exit(300)': exits('300', 44),
  'sys.exit(big int)': exits('10**30', 255),
  'sys.exit(2**31)': exits('2**31', 0),
  'sys.exit(float)': exits('2.5', 1),
  'sys.exit(str)': exits('"a message, \\u00e9\\u20ac"', 1),
  'sys.exit(str with a lone surrogate)': exits('"\\udc80"', 1),
  'sys.exit(empty str)': exits('""', 1),
  'sys.exit(bytes)': exits('b"bytes"', 1),
  'sys.exit(tuple)': exits('(1, 2)', 1),
  'sys.exit(one-tuple)': exits('(7,)', 'by version'),
  'sys.exit(list)': exits('[5]', 1),
  'sys.exit(exception)': exits('ValueError("inner")', 1),
  'sys.exit(SystemExit)': exits('SystemExit(4)', 4),
  'sys.exit(class)': exits('SystemExit', 1),
  'raise SystemExit with two arguments': { files: 'raise SystemExit(1, 2)\n', status: 1 },
  'raise the SystemExit class': 'raise SystemExit\n',
  'sys.exit(object whose str raises)': {
    files: py`
      import sys
      class Bad:
          def __str__(self): raise RuntimeError("no str")
          def __repr__(self): return "<Bad>"
      sys.exit(Bad())
    `,
    status: 1,
  },
  'SystemExit subclass with its own code': {
    files: py`
      class Leave(SystemExit):
          @property
          def code(self): return 12
      raise Leave("ignored")
    `,
    status: 12,
  },
  'SystemExit from a cause': {
    files: py`
      try:
          1 / 0
      except ZeroDivisionError as e:
          raise SystemExit(9) from e
    `,
    status: 9,
  },
  'exit() and quit() of site': { files: 'exit("by exit()")\n', status: 1 },
  'exit in nested finally': {
    files: py`
      import sys
      def f():
          try:
              try:
                  sys.exit(1)
              finally:
                  print("inner finally")
                  sys.exit(2)
          except SystemExit as e:
              print("caught", e.code, repr(e.__context__))
              raise
          finally:
              print("outer finally")
      try:
          f()
      finally:
          raise SystemExit(5)
    `,
    status: 5,
  },
  'exit in atexit': {
    files: py`
      import atexit, sys
      atexit.register(print, "last")
      @atexit.register
      def leave():
          print("leaving")
          sys.exit(7)
      atexit.register(print, "first")
      sys.exit(3)
    `,
    status: 3,
  },
  'exceptions in atexit': {
    files: py`
      import atexit
      @atexit.register
      def one(): raise ValueError("one")
      @atexit.register
      def two():
          try: 1 / 0
          except ZeroDivisionError as e: raise KeyError("two") from e
      def late(): atexit.register(print, "registered late")
      atexit.register(late)
      print("end")
    `,
  },
  'atexit order, arguments, unregister and buffered output': {
    files: py`
      import atexit, sys
      for i in range(3): atexit.register(print, "handler", i, sep="=")
      def gone(): print("never")
      atexit.register(gone)
      atexit.unregister(gone)
      @atexit.register
      def unterminated(): sys.stdout.write("no newline at the end")
      print(atexit._ncallbacks())
    `,
  },
  'exit in a thread': {
    files: py`
      import sys, threading
      def f():
          print("in thread")
          sys.exit("ignored by threads")
      t = threading.Thread(target=f); t.start(); t.join()
      print("main goes on")
      sys.exit(6)
    `,
    status: 6,
  },
  'exit while a thread runs on': {
    files: py`
      import sys, threading, time
      def f():
          time.sleep(0.1)
          print("thread outlives main")
      threading.Thread(target=f).start()
      sys.exit(8)
    `,
    status: 8,
  },
  'module-level __del__ at finalisation': py`
    import sys
    class Noisy:
        def __init__(self, name): self.name = name
        def __del__(self): print("del", self.name, sys is not None, __name__)
    a = Noisy("a")
    b = Noisy("b")
    _c = Noisy("_c")
    cycle = Noisy("cycle"); cycle.me = cycle
    del b
    print("end")
  `,
  '__del__ that raises at finalisation': py`
    class Bad:
        def __del__(self): raise ValueError("in __del__")
        def __repr__(self): return "<Bad>"
    b = Bad()
    class Worse:
        def __init__(self): self.me = self
        def __del__(self): undefined_name
    Worse()
    print("end")
  `,
  'order of the end: threads, atexit, __del__, weakref.finalize': py`
    import atexit, threading, weakref
    class C:
        def __del__(self): print("__del__")
    c = C()
    class D: pass
    d = D()
    weakref.finalize(d, print, "finalize")
    atexit.register(print, "atexit")
    main_is_done = threading.Event()
    threading._register_atexit(main_is_done.set)
    threading.Thread(target=lambda: (main_is_done.wait(), print("thread"))).start()
    print("main")
  `,
  'os._exit drops what is buffered': {
    files: py`
      import os, sys, atexit
      atexit.register(print, "never")
      print("a line")
      f = open("out.txt", "w"); f.write("lost")
      os._exit(21)
    `,
    status: 21,
  },
  'exec replaces the process': {
    files: py`
      import os, sys
      print("before", flush=True)
      os.execv(sys.executable, ["python3", "-c", "import sys; print('after', sys.argv, len(sys.flags)); sys.exit(11)", "x"])
    `,
    status: 11,
  },
  'exec of a shell with another environment': {
    files: py`
      import os
      os.execvpe("sh", ["sh", "-c", "env | sort; pwd; exit 3"], {"PATH": os.environ["PATH"], "ONLY": "1"})
    `,
    status: 3,
  },
  'argparse error': {
    files: py`
      import argparse
      p = argparse.ArgumentParser(description="test")
      p.add_argument("--number", type=int, required=True)
      p.parse_args()
    `,
    request: { args: ['--number', 'x'] },
    status: 2,
  },
  'argparse help': {
    files: py`
      import argparse
      p = argparse.ArgumentParser()
      p.add_argument("file", nargs="*")
      p.parse_args(["--help"])
    `,
  },
  'unittest.main with a failure': {
    files: py`
      import unittest, re, sys
      class T(unittest.TestCase):
          def test_ok(self): self.assertTrue(True)
          def test_bad(self): self.assertEqual([1, 2], [1, 3])
          def test_error(self): {}["missing"]
          @unittest.skip("later")
          def test_skipped(self): pass
      class Quiet:
          def write(self, s): sys.__stderr__.write(re.sub(r"in \d+\.\d+s", "in 0s", s))
          def flush(self): pass
      unittest.main(testRunner=unittest.TextTestRunner(stream=Quiet(), verbosity=2))
    `,
    status: 1,
  },
  'doctest of __main__': py`
    def double(x):
        """
        >>> double(2)
        4
        >>> double('a')
        'b'
        """
        return x * 2
    import doctest
    print(doctest.testmod())
  `,
  'KeyboardInterrupt raised': { files: 'print("x")\nraise KeyboardInterrupt\n', status: -2 },
  'KeyboardInterrupt subclass': {
    files: py`
      class Stop(KeyboardInterrupt): pass
      import atexit
      atexit.register(print, "atexit runs")
      raise Stop("now")
    `,
    status: 1,
  },
  'KeyboardInterrupt and a replaced excepthook': {
    files: py`
      import sys
      sys.excepthook = lambda *a: print("hook", a[0].__name__)
      raise KeyboardInterrupt
    `,
    status: -2,
  },
  'GeneratorExit and BaseException uncaught': {
    files: py`
      class Base(BaseException): pass
      try:
          raise GeneratorExit("g")
      finally:
          raise Base("b")
    `,
    status: 1,
  },
};
