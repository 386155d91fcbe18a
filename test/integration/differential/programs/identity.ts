/** What a program finds: its globals, modules, flags, paths, environment, descriptors, process. */
import { py, type Programs } from '../../../support/differential-program.ts';

export const IDENTITY: Programs = {
  'globals and dir at the start': py`
    print(dir())
    print(sorted(globals()), sorted(vars()), locals() is globals())
    print(__name__, __file__, __doc__, __package__, __spec__)
    print(type(__loader__), __loader__.name, __loader__.path, __loader__.is_package("__main__"))
    print(type(__builtins__), __builtins__.__name__, globals().get("__cached__", "absent"))
    print(globals().get("__annotations__", "absent"))
    x: int = 1
    print(__annotations__)
    import sys
    print(sys.modules["__main__"].__dict__ is globals(), repr(sys.modules["__main__"]))
    print(list(globals()))
  `,
  'builtins at the start': py`
    import builtins
    print(sorted(vars(builtins)))
    print(builtins.__spec__, builtins.__loader__)
    print(hasattr(builtins, "_"), exit, quit, copyright, license)
  `,
  'sys.modules at the start': 'import sys\nprint(sorted(sys.modules))\n',
  'order of sys.modules at the start': 'import sys\nprint(list(sys.modules))\n',
  'modules are the ones of their packages': py`
    import sys
    for name, module in list(sys.modules.items()):
        parent, _, child = name.rpartition(".")
        print(name, getattr(module, "__name__", None), getattr(getattr(module, "__spec__", None), "origin", None),
              getattr(module, "__file__", None), parent == "" or getattr(sys.modules[parent], child) is module)
  `,
  'dir(sys)': py`
    import sys
    print(sorted(vars(sys)))
    print({k: v for k, v in sorted(vars(sys).items()) if isinstance(v, (int, str, tuple)) and k not in ("_git",)})
  `,
  'sys.path and friends': {
    files: {
      'main.py': py`
        import sys, site, os
        print(sys.path, len(sys.path_hooks), sys.meta_path)
        print(sorted((k, str(type(v)), getattr(v, "path", None)) for k, v in sys.path_importer_cache.items()))
        print(sys.prefix, sys.exec_prefix, sys.base_prefix, sys.platlibdir, sys.pycache_prefix, sys.dont_write_bytecode)
        print(sys.executable, sys._base_executable, site.ENABLE_USER_SITE, site.USER_SITE, site.USER_BASE, site.PREFIXES)
        print(sys.flags.safe_path, getattr(sys, "__interactivehook__", None).__module__, sys.__interactivehook__.__qualname__)
        print(getattr(sys, "ps1", "no ps1"), getattr(sys, "last_type", "no last_type"), os.__file__)
      `,
    },
  },
  'argv, orig_argv': {
    files: 'import sys\nprint(sys.argv, sys.orig_argv)\n',
    request: { args: ['one', '', 'two words', '-x', '--', 'é€\u{1f600}', '*'] },
  },
  'flags and settings': py`
    import sys
    print(sys.flags)
    print(sys.warnoptions, sys._xoptions, sys.implementation.cache_tag, sys.api_version, sys.version)
    print(sys.getswitchinterval(), sys.getrecursionlimit(), sys.getdefaultencoding(), sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())
    print(sys.thread_info, sys.hash_info, sys.int_info, sys.float_info, sys.maxsize, sys.byteorder, sys.platform)
    print(sys.gettrace(), sys.getprofile(), sys.get_asyncgen_hooks(), sys.get_coroutine_origin_tracking_depth())
    print(sys.getdlopenflags(), sys.is_finalizing(), sys.int_info, sys.get_int_max_str_digits())
    print(sys.breakpointhook, sys.displayhook, sys.excepthook, sys.unraisablehook)
  `,
  'PYTHON variables in the request': {
    files:
      'import sys, os\nprint(sys.flags, sys.dont_write_bytecode, sys.orig_argv, sys.path[0])\nprint(hash("stable"), __doc__)\n',
    request: { environment: { PYTHONHASHSEED: '0', PYTHONOPTIMIZE: '1', PYTHONDONTWRITEBYTECODE: '1' } },
  },
  'PYTHONPATH and PYTHONSTARTUP': {
    files: {
      'main.py': 'import sys, helper\nprint(sys.path, helper.__file__)\n',
      'lib/helper.py': '',
    },
    request: { environment: { PYTHONPATH: '/work/lib', PYTHONSTARTUP: '/work/none.py' } },
  },
  'PYTHONINSPECT and PYTHONFAULTHANDLER': {
    files: 'import sys, faulthandler\nprint(faulthandler.is_enabled(), sys.flags.inspect)\nsys.exit(4)\n',
    request: { environment: { PYTHONINSPECT: '1', PYTHONFAULTHANDLER: '1' } },
    status: 1,
  },
  'PYTHONINSPECT set by the program': {
    files: 'import os\nos.environ["PYTHONINSPECT"] = "1"\nprint("PYTHONINSPECT" in os.environ)\nraise SystemExit(4)\n',
    status: 4,
  },
  'PYTHONUNBUFFERED empty': {
    files: 'import sys\nprint(sys.stdout.line_buffering, sys.stdout.write_through)\n',
    request: { environment: { PYTHONUNBUFFERED: '' } },
  },
  PYTHONIOENCODING: {
    files: 'import sys\nprint(sys.stdout.encoding, sys.stdout.errors)\nprint("caf\\xe9")\nprint("\\u20ac")\n',
    request: { environment: { PYTHONIOENCODING: 'latin-1:backslashreplace' } },
  },
  'sitecustomize and usercustomize in the project': {
    files: {
      'main.py': 'print("main")\nimport sitecustomize\nprint(sitecustomize.__file__)\n',
      'sitecustomize.py': 'print("sitecustomize of the project")\n',
      'usercustomize.py': 'print("usercustomize of the project")\n',
    },
  },
  environment: {
    files: py`
      import os
      for name, value in sorted(os.environ.items()):
          if name == "USER": value = value == "sandbox%d" % (os.getuid() - 10000)
          print(name, repr(value))
      print(sorted(os.environb) == sorted(map(os.fsencode, os.environ)))
    `,
    request: { environment: { MINE: 'a b=c', EMPTY: '', UNICODE: 'é€\u{1f600}', PATH: '/usr/bin:/bin' } },
  },
  'command line and environment in /proc': {
    files: py`
      import os
      print(open("/proc/self/cmdline").read().split("\0"))
      print(sorted(v for v in open("/proc/self/environ").read().split("\0") if not v.startswith("USER=")))
      if os.fork() == 0:
          print(open("/proc/self/cmdline").read().split("\0"), flush=True)
          os._exit(0)
      os.wait()
      stat = open("/proc/self/stat").read().split()
      print(stat[1], all(int(n) > 0 for n in stat[44:51]))
    `,
    request: { args: ['a b', ''], environment: { MINE: 'é' } },
  },
  'environment as a child and as C see it': {
    files: py`
      import ctypes, os, subprocess
      libc = ctypes.CDLL(None)
      libc.getenv.restype = ctypes.c_char_p
      print(libc.getenv(b"MINE"), libc.getenv(b"PYTHONINSPECT"), libc.getenv(b"HOSTNAME"), libc.getenv(b"PYTHONUNBUFFERED"))
      os.environ["ADDED"] = "1"
      del os.environ["MINE"]
      print(libc.getenv(b"ADDED"), libc.getenv(b"MINE"))
      print(sorted(line for line in subprocess.check_output(["env"], text=True).splitlines() if not line.startswith("USER=")))
      print(os.path.expanduser("~"), os.path.expandvars("$ADDED $HOME"))
    `,
    request: { environment: { MINE: 'yes' } },
  },
  'time zone': {
    files: py`
      import time, datetime, zoneinfo, os
      print(time.tzname, time.timezone, time.daylight, os.environ["TZ"])
      print(time.strftime("%Z %z", time.localtime(1700000000)), datetime.datetime.fromtimestamp(1700000000).isoformat())
      print(datetime.datetime.fromtimestamp(1700000000).astimezone())
      try: print(datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")), zoneinfo.TZPATH)
      except zoneinfo.ZoneInfoNotFoundError as e: print(e)
    `,
    request: { environment: { TZ: 'EST5EDT,M3.2.0,M11.1.0' } },
  },
  'time zone when none is set': 'import time\nprint(time.tzname, time.timezone, time.ctime(0))\n',
  locale: py`
    import locale, sys, os
    print(locale.setlocale(locale.LC_ALL), locale.getlocale(), locale.getpreferredencoding(False), locale.localeconv()["decimal_point"])
    print(locale.setlocale(locale.LC_CTYPE), locale.setlocale(locale.LC_NUMERIC), format(1234.5, "n"))
    print(locale.setlocale(locale.LC_ALL, ""), locale.getencoding(), sys.flags.utf8_mode)
    print("straße".upper(), sorted(["é", "z", "a"], key=locale.strxfrm), os.fsencode("é"), os.fsdecode(b"\xff").encode("utf-8", "surrogateescape"))
  `,
  'locale variables in the request': {
    files: py`
      import locale, sys
      print(locale.setlocale(locale.LC_CTYPE), sys.flags.utf8_mode, sys.getfilesystemencoding(), sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors)
      print("\xe9")
    `,
    request: { environment: { LC_ALL: 'POSIX' } },
  },
  'LANG in the request': {
    files: 'import locale, sys\nprint(locale.setlocale(locale.LC_CTYPE), sys.stdout.encoding, sys.stdout.errors)\n',
    request: { environment: { LANG: 'C' } },
  },
  'current directory, umask, files of the project': {
    files: {
      'main.py': py`
        import os, stat
        print(os.getcwd(), oct(os.umask(0o077)), os.umask(0))
        for base, directories, names in sorted(os.walk(".")):
            for name in sorted(directories + names):
                s = os.lstat(os.path.join(base, name))
                print(base, name, stat.filemode(s.st_mode), s.st_size if stat.S_ISREG(s.st_mode) else "", s.st_uid == os.getuid(), s.st_nlink if stat.S_ISREG(s.st_mode) else "")
        print(stat.filemode(os.stat(".").st_mode), stat.filemode(os.stat("/tmp").st_mode), os.access("/", os.W_OK), os.listdir("/tmp"), os.listdir("/dev/shm"))
      `,
      'a/b.txt': 'x',
      'a/empty': '',
    },
  },
  'open descriptors': py`
    import os
    print(sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1])
    for n in (0, 1, 2):
        print(n, os.readlink("/proc/self/fd/%d" % n).split(":")[0], os.get_inheritable(n), os.get_blocking(n), os.isatty(n), oct(os.fstat(n).st_mode))
    f = open("main.py"); print(f.fileno())
    r, w = os.pipe(); print(r, w)
  `,
  'descriptors a child inherits': py`
    import subprocess, sys, os
    print(subprocess.check_output(["sh", "-c", "ls /proc/self/fd | wc -l"], text=True, close_fds=False))
    os.system("ls /proc/self/fd | wc -l")
    r, w = os.pipe(); os.set_inheritable(w, True)
    print(subprocess.check_output(["sh", "-c", "echo through >&%d; echo done" % w], text=True, pass_fds=[w]), os.read(r, 100))
  `,
  'resource limits': py`
    import resource
    for name in sorted(n for n in dir(resource) if n.startswith("RLIMIT_")):
        if name != "RLIMIT_CPU": print(name, resource.getrlimit(getattr(resource, name)))
    import os
    print(os.nice(0), os.sched_getscheduler(0), len(os.sched_getaffinity(0)) == os.cpu_count(), os.getpriority(os.PRIO_PROCESS, 0))
  `,
  'process relations': py`
    import os
    print(os.getpid() == os.getpgrp(), os.getpid() == os.getsid(0), os.getppid())
    print(os.getuid() == os.geteuid() == os.getgid() == os.getegid(), os.getgroups() in ([], [os.getgid()]))
    print(open("/proc/self/comm").read(), open("/proc/self/status").read().split("SigPnd")[1].split("Seccomp_filters")[0])
    try: print(os.ctermid(), os.open("/dev/tty", os.O_RDWR))
    except OSError as e: print(e)
    for n in (0, 1, 2):
        try: print(os.ttyname(n))
        except OSError as e: print(e)
    try: print(os.tcgetpgrp(0))
    except OSError as e: print(e)
  `,
  'signal dispositions and mask': py`
    import signal
    for s in sorted(signal.valid_signals()):
        h = signal.getsignal(s)
        if h is not signal.SIG_DFL: print(s, h)
    print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.sigpending(), signal.set_wakeup_fd(-1))
    print(signal.getitimer(signal.ITIMER_REAL), signal.getitimer(signal.ITIMER_PROF))
  `,
  'user name and host': py`
    import getpass, os, pwd, socket, platform
    try: print(pwd.getpwuid(os.getuid()).pw_dir, pwd.getpwuid(os.getuid()).pw_name == getpass.getuser())
    except KeyError: print("no passwd entry")
    print(socket.gethostname(), platform.node(), platform.python_version(), platform.python_implementation())
    print(os.path.expanduser("~"), os.cpu_count(), os.access("/work", os.W_OK))
  `,
  'threads at the start': py`
    import threading, _thread, sys
    t = threading.current_thread()
    print(t.name, t.daemon, t is threading.main_thread(), t.ident == _thread.get_ident(), t.native_id == threading.get_native_id())
    import os
    print(t.native_id == os.getpid(), threading.enumerate() == [t], _thread._count(), threading.stack_size(), len(os.listdir("/proc/self/task")))
    print(threading._main_thread is t, threading.excepthook, threading.gettrace())
  `,
  'collector, tracing, allocation': py`
    import gc, tracemalloc, faulthandler, sys
    print(gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.callbacks, gc.garbage, gc.get_freeze_count())
    print(tracemalloc.is_tracing(), faulthandler.is_enabled(), sys._debugmallocstats.__name__)
    tracemalloc.start(); x = [0] * 100; print(tracemalloc.get_traced_memory()[0] > 0)
    print(tracemalloc.get_object_traceback(x))
  `,
  'random state is fresh': py`
    import random, os, uuid, secrets
    print(len({random.random() for _ in range(10)}), random.Random(5).random(), len(os.urandom(8)))
    random.seed(1); print(random.random(), random.getrandbits(64), random.choice("abcdef"))
    print(uuid.uuid5(uuid.NAMESPACE_DNS, "x"), len(secrets.token_hex()))
  `,
  'hashing off by PYTHONHASHSEED=0': {
    files:
      'print(hash("a"), hash(b"b"), {str(i) for i in range(20)}, list(set("abcdefgh")))\nimport sys\nprint(sys.flags.hash_randomization)\n',
    request: { environment: { PYTHONHASHSEED: '0' } },
  },
  'audit hooks and other registries': py`
    import sys, os, codecs, atexit, gc, copyreg, linecache, warnings, re
    seen = []
    sys.addaudithook(lambda event, args: seen.append(event) if event in ("open", "import", "exec") else None)
    open("main.py").close()
    print(seen, atexit._ncallbacks(), linecache.cache, warnings._onceregistry if hasattr(warnings, "_onceregistry") else "")
    print(sorted(k.__name__ for k in copyreg.dispatch_table))
  `,
  'version dependent modules import': py`
    import importlib, sys
    failed = []
    for name in sorted(sys.stdlib_module_names):
        if name in ("antigravity", "this", "idlelib", "tkinter", "turtle", "turtledemo") or name.startswith("_"): continue
        try: importlib.import_module(name)
        except ImportError as e: failed.append((name, str(e)))
    print(failed)
  `,
};
