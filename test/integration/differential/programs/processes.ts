/** Child processes, signals and death by signal. */
import { constants } from 'node:os';
import { py, type Program, type Programs } from '../../../support/differential-program.ts';

const { SIGABRT, SIGALRM, SIGINT, SIGKILL, SIGPIPE, SIGSEGV, SIGTERM, SIGUSR1, SIGHUP, SIGXFSZ } = constants.signals;
const dies = (signal: number, files: string): Program => ({ files, status: -signal });

export const SIGNALS: Programs = {
  'SIGTERM, default': dies(
    SIGTERM,
    'import os, signal, atexit\natexit.register(print, "never")\nprint("x")\nos.kill(os.getpid(), signal.SIGTERM)\nprint("never")\n',
  ),
  SIGKILL: dies(SIGKILL, 'import os, signal\nprint("x")\nos.kill(os.getpid(), signal.SIGKILL)\n'),
  'SIGINT raises KeyboardInterrupt': dies(
    SIGINT,
    py`
    import os, signal, atexit
    atexit.register(print, "atexit")
    class Last:
        def __del__(self): print("__del__")
    last = Last()
    def f():
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(10): pass
    try: f()
    finally: print("finally")
  `,
  ),
  'SIGINT caught': py`
    import os, signal
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    except KeyboardInterrupt as e:
        print("caught", repr(e))
  `,
  'SIGINT twice, in the handler of the first': dies(
    SIGINT,
    py`
    import os, signal
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        signal.raise_signal(signal.SIGINT)
  `,
  ),
  'SIGINT ignored, then default': dies(
    SIGINT,
    py`
    import signal
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.raise_signal(signal.SIGINT)
    print("ignored")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)
  `,
  ),
  'KeyboardInterrupt when SIGINT is ignored': dies(
    SIGINT,
    py`
    import signal
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
  `,
  ),
  'KeyboardInterrupt when SIGINT is handled and blocked': {
    files: py`
      import signal
      signal.signal(signal.SIGINT, lambda *a: print("handler"))
      signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
      raise KeyboardInterrupt("blocked")
    `,
    status: 130,
  },
  'KeyboardInterrupt with running threads and buffered streams': dies(
    SIGINT,
    py`
    import sys, threading, time
    threading.Thread(target=lambda: (time.sleep(0.1), print("thread ends"))).start()
    sys.stdout.write("unterminated")
    raise KeyboardInterrupt
  `,
  ),
  'KeyboardInterrupt in atexit and in __del__': py`
    import atexit
    @atexit.register
    def f(): raise KeyboardInterrupt("in atexit")
    class Last:
        def __del__(self): raise KeyboardInterrupt("in __del__")
    last = Last()
    print("end")
  `,
  'handlers, frames and order': py`
    import os, signal
    def handler(number, frame): print("handler", signal.Signals(number).name, frame.f_code.co_name, frame.f_back)
    for s in (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP): signal.signal(s, handler)
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.raise_signal(signal.SIGTERM)
    os.killpg(os.getpgrp(), signal.SIGHUP)
    print(signal.strsignal(signal.SIGUSR1), signal.sigpending())
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    os.kill(os.getpid(), signal.SIGUSR1)
    print(signal.sigpending(), signal.sigwait([signal.SIGUSR1]))
  `,
  'handler that raises': {
    files: py`
      import signal
      def handler(*a): raise RuntimeError("from handler")
      signal.signal(signal.SIGUSR1, handler)
      def work():
          signal.raise_signal(signal.SIGUSR1)
      work()
    `,
    status: 1,
  },
  'alarm, handled': py`
    import signal, time
    signal.signal(signal.SIGALRM, lambda *a: print("alarm"))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    time.sleep(0.2)
    def stop(*a): raise TimeoutError("too long")
    signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        while True: pass
    except TimeoutError as e: print(e)
  `,
  'alarm, default': dies(SIGALRM, 'import signal, time\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\ntime.sleep(5)\n'),
  'SIGUSR1, default': dies(SIGUSR1, 'import signal\nsignal.raise_signal(signal.SIGUSR1)\n'),
  'SIGHUP, default': dies(SIGHUP, 'import signal\nsignal.raise_signal(signal.SIGHUP)\n'),
  'SIGPIPE is ignored': {
    files: py`
      import os, signal, sys
      print(signal.getsignal(signal.SIGPIPE))
      r, w = os.pipe(); os.close(r)
      try: os.write(w, b"x")
      except BrokenPipeError as e: print(e)
      signal.signal(signal.SIGPIPE, signal.SIG_DFL)
      os.write(w, b"x")
    `,
    status: -SIGPIPE,
  },
  'SIGXFSZ is ignored': {
    files: py`
      import signal, resource
      print(signal.getsignal(signal.SIGXFSZ))
      resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
      try:
          with open("big", "wb", buffering=0) as f:
              print(f.write(b"x" * 2000)); f.write(b"y")
      except OSError as e: print(e)
      signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
      open("big", "ab", buffering=0).write(b"z")
    `,
    status: -SIGXFSZ,
  },
  abort: dies(SIGABRT, 'import os\nprint("x")\nos.abort()\n'),
  'abort with faulthandler': dies(
    SIGABRT,
    py`
    import faulthandler, os
    faulthandler.enable(all_threads=False)
    def f(): os.abort()
    f()
  `,
  ),
  'segmentation fault by ctypes': dies(SIGSEGV, 'import ctypes\nprint("x")\nctypes.string_at(0)\n'),
  'SIGSEGV by raise() of C': dies(SIGSEGV, 'import ctypes, signal\nctypes.CDLL(None)["raise"](int(signal.SIGSEGV))\n'),
  'faulthandler.dump_traceback': py`
    import faulthandler, sys
    def f(): faulthandler.dump_traceback(file=sys.stdout, all_threads=False)
    f()
  `,
  'set_wakeup_fd and siginterrupt': py`
    import os, signal
    r, w = os.pipe(); os.set_blocking(w, False)
    print(signal.set_wakeup_fd(w))
    signal.signal(signal.SIGUSR1, lambda *a: None)
    signal.raise_signal(signal.SIGUSR1)
    print(os.read(r, 10) == bytes([signal.SIGUSR1]))
  `,
  'SIGCHLD and zombies': py`
    import os, signal
    got = []
    signal.signal(signal.SIGCHLD, lambda *a: got.append(1))
    pid = os.fork()
    if pid == 0: os._exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), got)
    try: os.wait()
    except ChildProcessError as e: print(e)
  `,
  'kill of PID 1 and of everything else': py`
    import os, signal
    try: os.kill(1, signal.SIGKILL); print("no effect")
    except PermissionError as e: print(e)
    try: os.kill(1, 0)
    except OSError as e: print(e)
    try: os.kill(999999, 0)
    except ProcessLookupError as e: print(e)
  `,
};

export const PROCESSES: Programs = {
  'fork, wait and exit codes': py`
    import os, sys
    print("before")
    parent = os.getpid()
    for code in (0, 7, "message"):
        pid = os.fork()
        if pid == 0:
            print("child", os.getppid() == parent)
            sys.exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
  `,
  'fork with buffered output': py`
    import os, sys
    sys.stdout.write("once or twice? ")
    sys.stdout.flush()
    pid = os.fork()
    if pid: os.waitpid(pid, 0)
    print("parent" if pid else "child")
  `,
  'fork in which the child raises, is interrupted, is killed': py`
    import os, signal
    def in_child(f):
        pid = os.fork()
        if pid == 0: f()
        else: print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return pid == 0
    def fail(): raise ValueError("in child")
    def interrupt(): raise KeyboardInterrupt
    import sys
    for f in (lambda: os.kill(os.getpid(), 9), lambda: os.abort(), lambda: os._exit(4)):
        if in_child(f): sys.exit(99)
    pid = os.fork()
    if pid == 0: fail()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    pid = os.fork()
    if pid == 0: interrupt()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
  `,
  'the program of a forked child outlives its parent': py`
    import os, time
    r, w = os.pipe()
    if os.fork() == 0:
        os.write(w, b"x")
        time.sleep(30)
        print("never")
        os._exit(0)
    os.read(r, 1)
    print("parent ends")
  `,
  'orphans are adopted': py`
    import os, time
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0:
            while os.getppid() != 1: time.sleep(0.01)
            os.write(w, b"adopted by 1")
        os._exit(0)
    os.waitpid(pid, 0)
    print(os.read(r, 100))
  `,
  'subprocess: pipes, inherited streams, codes': {
    files: py`
      import subprocess, sys
      print(subprocess.run(["cat"], input="through a pipe", capture_output=True, text=True))
      sys.stdout.flush()
      print(subprocess.call(["sh", "-c", "echo to stdout; echo to stderr >&2; exit 5"]))
      print(subprocess.run("kill -9 $$", shell=True).returncode)
      print(subprocess.run(["cat"], capture_output=True).stdout)
      try: subprocess.check_call(["false"])
      except subprocess.CalledProcessError as e: print(e)
      try: subprocess.run(["no-such-program"])
      except FileNotFoundError as e: print(e)
      try: subprocess.run(["sleep", "9"], timeout=0.1)
      except subprocess.TimeoutExpired as e: print("timeout", e.cmd)
    `,
    request: { stdin: Buffer.from('stdin of the program\n') },
  },
  'subprocess: another Python': py`
    import subprocess, sys
    print(sys.executable)
    out = subprocess.run([sys.executable, "-c", "import sys, os; print(sys.argv, sys.path[0] == '', sys.flags, sorted(sys.modules), os.getcwd(), __name__); 1/0"], capture_output=True, text=True)
    print(out.stdout, out.stderr, out.returncode)
    print(subprocess.check_output([sys.executable, "-c", "print(input())"], input=b"hello\n"))
    print(subprocess.check_output(["python3", "-I", "-S", "-c", "import sys; print(sys.path, sys.flags.isolated)"], text=True))
  `,
  'subprocess: environment and directory': py`
    import os, subprocess
    print(subprocess.check_output(["sh", "-c", "echo $A $HOME; pwd"], env={"A": "b", "PATH": os.environ["PATH"]}, cwd="/tmp", text=True))
    p = subprocess.Popen(["sh", "-c", "trap 'echo got term; exit 3' TERM; echo ready; while :; do sleep 0.05; done"], stdout=subprocess.PIPE, text=True)
    print(p.stdout.readline()); p.terminate(); print(p.stdout.read(), p.wait())
    print(subprocess.run(["sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status"], capture_output=True, text=True).stdout)
    print(subprocess.run(["sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status"], capture_output=True, text=True, restore_signals=False).stdout)
  `,
  'subprocess left running': py`
    import subprocess
    p = subprocess.Popen(["sh", "-c", "echo started; sleep 30; echo never"], stdout=subprocess.PIPE, text=True)
    print(p.stdout.readline())
    q = subprocess.Popen(["sleep", "30"])
    print("end")
  `,
  'os.system, os.popen, posix_spawn': py`
    import os
    print(os.system("exit 3"), os.system("kill -15 $$"), os.popen("echo popen; exit 2").read())
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "echo spawned; exit 6"], os.environ)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    print(os.spawnvp(os.P_WAIT, "sh", ["sh", "-c", "exit 4"]))
  `,
  'pseudo-terminal': py`
    import os, pty, sys
    status = pty.spawn(["sh", "-c", "test -t 0 && test -t 1 && echo a terminal"], lambda fd: os.read(fd, 1024))
    print(os.waitstatus_to_exitcode(status))
  `,
};

const WORKER = py`
  import multiprocessing as mp, os, sys
  class Thing:
      def __init__(self, n): self.n = n
      def __repr__(self): return "Thing(%d)" % self.n
  def double(thing): return Thing(thing.n * 2)
  def talk(queue, name):
      print("worker", name, __name__, mp.current_process().name, mp.parent_process() is not None)
      queue.put((Thing(len(name)), sys.argv, __file__ == sys.modules[Thing.__module__].__file__))
  def fail(): raise ValueError("in worker")
  def leave(): sys.exit(5)
  def main(method):
      mp.set_start_method(method)
      queue = mp.Queue()
      p = mp.Process(target=talk, args=(queue, "w"))
      p.start(); print(queue.get()); p.join(); print(p.exitcode)
      with mp.Pool(2) as pool: print(pool.map(double, [Thing(1), Thing(2), Thing(3)]))
      p = mp.Process(target=leave); p.start(); p.join(); print(p.exitcode)
      with mp.Pool(1) as pool:
          try: pool.apply(fail)
          except ValueError as e: print(repr(e))
  if __name__ == "__main__":
      main(sys.argv[1])
`;

export const MULTIPROCESSING: Programs = {
  fork: { files: WORKER, request: { args: ['fork'] } },
  spawn: { files: WORKER, request: { args: ['spawn'] } },
  forkserver: { files: WORKER, request: { args: ['forkserver'] } },
  'spawn without a main guard': {
    files: py`
      import multiprocessing as mp
      def f(): print("f")
      mp.set_start_method("spawn")
      p = mp.Process(target=f, name="P")
      p.start(); p.join()
    `,
  },
  'a worker that raises': py`
    import multiprocessing as mp
    def inner(): raise ValueError("in worker")
    def f(): inner()
    mp.set_start_method("fork")
    p = mp.Process(target=f, name="W"); p.start(); p.join(); print(p.exitcode)
    p = mp.Process(target=exit, args=(3,)); p.start(); p.join(); print(p.exitcode)
    p = mp.Process(target=lambda: __import__("os").kill(__import__("os").getpid(), 9)); p.start(); p.join(); print(p.exitcode)
  `,
  'joined at exit, daemons killed': py`
    import multiprocessing as mp, time, atexit
    mp.set_start_method("fork")
    def slow(): time.sleep(0.2); print("joined at exit")
    def forever(): time.sleep(30); print("never")
    atexit.register(print, "atexit")
    mp.Process(target=slow).start()
    mp.Process(target=forever, daemon=True).start()
    print("end of main")
  `,
  'Manager, Value, Array, Lock, Pipe': py`
    import multiprocessing as mp
    def f(d, v, a, lock, conn):
        with lock: v.value += 1
        a[0] = 5; d["from"] = "worker"; conn.send([1, {"x": 2}])
    if __name__ == "__main__":
        ctx = mp.get_context("fork")
        with ctx.Manager() as m:
            d, v, a, lock = m.dict(), ctx.Value("i", 1), ctx.Array("d", 3), ctx.Lock()
            here, there = ctx.Pipe()
            p = ctx.Process(target=f, args=(d, v, a, lock, there)); p.start(); print(here.recv()); p.join()
            print(d, v.value, list(a))
  `,
  'shared_memory, tidy and leaked': py`
    from multiprocessing import shared_memory
    import os
    s = shared_memory.SharedMemory(create=True, size=100, name="tidy")
    s.buf[:5] = b"hello"
    t = shared_memory.SharedMemory("tidy"); print(bytes(t.buf[:5]), t.size >= 100); t.close()
    s.close(); s.unlink()
    l = shared_memory.ShareableList([1, "two"]); print(list(l)); l.shm.close(); l.shm.unlink()
    print(os.listdir("/dev/shm"))
  `,
  'cpu_count and start methods': py`
    import multiprocessing as mp
    print(mp.get_all_start_methods(), mp.cpu_count(), mp.current_process().name, mp.parent_process(), mp.active_children())
    print(mp.get_start_method())
  `,
  'concurrent.futures: processes': py`
    from concurrent.futures import ProcessPoolExecutor, as_completed
    import multiprocessing as mp, os
    def square(x): return x * x
    def bad(): raise KeyError("bad")
    def die(): os._exit(3)
    if __name__ == "__main__":
        for method in ("fork", "spawn"):
            with ProcessPoolExecutor(2, mp_context=mp.get_context(method)) as ex:
                print(list(ex.map(square, range(5))))
                try: ex.submit(bad).result()
                except KeyError as e: print(repr(e), type(e.__cause__).__name__)
        with ProcessPoolExecutor(1, mp_context=mp.get_context("fork")) as ex:
            try: ex.submit(die).result()
            except Exception as e: print(type(e).__name__, e)
  `,
  'concurrent.futures: threads': py`
    from concurrent.futures import ThreadPoolExecutor
    import time
    ex = ThreadPoolExecutor(2, thread_name_prefix="pool")
    f = ex.submit(lambda: (time.sleep(0.1), print("future runs to its end"))[0])
    g = ex.submit(lambda: 1 / 0)
    try: g.result()
    except ZeroDivisionError as e: print(e)
    print("end of main")
  `,
  'spawn from a package': {
    files: {
      'pkg/__init__.py': '',
      'pkg/__main__.py':
        'import multiprocessing as mp\nfrom .work import f\ndef g(): print("g", __name__, __package__)\nif __name__ == "__main__":\n    ctx = mp.get_context("spawn")\n    for t in (f, g):\n        p = ctx.Process(target=t); p.start(); p.join(); print(p.exitcode)\n',
      'pkg/work.py': 'def f(): print("f", __name__)\n',
    },
    request: { entryPoint: { kind: 'module', name: 'pkg' } },
  },
  'spawn from a script in a directory': {
    files: {
      'src/run.py':
        'import multiprocessing as mp, helper, sys\ndef g(): print("g", __name__, __file__, sys.argv, sys.path[0], helper.x)\nif __name__ == "__main__":\n    ctx = mp.get_context("spawn")\n    p = ctx.Process(target=g); p.start(); p.join(); print(p.exitcode)\n',
      'src/helper.py': 'x = 1\n',
    },
    request: { entryPoint: { kind: 'script', path: 'src/run.py' }, args: ['arg'] },
  },
};
