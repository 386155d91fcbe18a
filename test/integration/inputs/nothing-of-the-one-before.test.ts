/**
 * An input finds nothing of what the one before it left, in any place a program can leave something.
 *
 * Each case looks three times: before anything was left, where it was left (the control), and after.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startEngine, type TestEngine } from '../../support/engine.ts';
import { leaveAndLook } from '../../support/inputs.ts';

let engine: TestEngine;

beforeAll(async () => {
  engine = await startEngine({ PYEXEC_POOL_SIZE: '2' });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
});

const PLACES = '("/work", "/tmp", "/dev/shm", "/dev/mqueue", "/dev/pts")';

test.each([
  [
    'names that are not text, pipes, sockets, links to links, holes',
    `
import socket
for place in ("/work", "/tmp", "/dev/shm"):
  os.makedirs(os.fsencode(place) + b"/-rf \\n*/\\xff\\xfe" + b"/" + b"n" * 255)
  os.chdir(place)
  for name in (b"-", b" ", b"\\n", b"\\xff", b"'\\"", b"e\\xcc\\x81", b"f" * 255, b"~", b"..."): open(name, "w").close()
  os.mkfifo("pipe"); socket.socket(socket.AF_UNIX).bind("socket"); os.symlink("loop", "loop"); os.symlink("/etc/passwd", "link")
  os.link("-", "hard"); os.truncate("-", 1 << 20); os.chmod(" ", 0)
  os.makedirs("a/b"); os.chmod("a/b", 0); os.chmod("a", 0)
`,
    `for place in ${PLACES}: print(place, sorted(os.listdir(os.fsencode(place))))`,
  ],
  [
    'named shared memory and semaphores',
    `
from multiprocessing import shared_memory, Semaphore
memory = shared_memory.SharedMemory("mark", create=True, size=4096); memory.buf[:4] = b"mark"
`,
    `print(sorted(os.listdir("/dev/shm")))`,
  ],
  [
    'times of the places it may write to',
    `for place in ("/work", "/tmp"): os.utime(place, (4102444800, 12345))`,
    `print([(os.stat(p).st_atime == 4102444800, os.stat(p).st_mtime == 12345) for p in ("/work", "/tmp")])`,
  ],
  [
    'modes of the places, and their attributes',
    `
for place in ("/work", "/tmp"):
  os.chmod(place, 0o3770)
  try: os.setxattr(place, "user.mark", b"1")
  except OSError: pass
`,
    `print([(oct(os.stat(p).st_mode), os.listxattr(p)) for p in ${PLACES}])`,
  ],
  [
    'a lock on a file of the project',
    `
import fcntl
if daemon(): held = open("/work/main.py"); fcntl.flock(held, fcntl.LOCK_EX); stay()
`,
    `
import fcntl
try: fcntl.flock(open("/work/main.py"), fcntl.LOCK_EX | fcntl.LOCK_NB); print("free")
except BlockingIOError: print("locked")
`,
  ],
  [
    'inotify instances, which are counted for each uid',
    `
if daemon(): [libc.inotify_init1(0) for _ in range(100)]; stay()
`,
    `print(sum(libc.inotify_init1(0) >= 0 for _ in range(120)))`,
  ],
  [
    'files without a name, held by a process that stays',
    `
if daemon():
  descriptor = os.memfd_create("mark"); os.truncate(descriptor, 8 << 20); stay()
`,
    `
found = []
for pid in filter(str.isdigit, os.listdir("/proc")):
  try: found += [t for t in (os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")) if "mark" in t]
  except OSError: pass
print(found)
`,
  ],
  [
    'sockets with an abstract name',
    `
import socket
if daemon(): s = socket.socket(socket.AF_UNIX); s.bind("\\0mark"); s.listen(); stay()
`,
    `
import socket
print(socket.socket(socket.AF_UNIX).connect_ex("\\0mark"), "mark" in open("/proc/net/unix").read())
`,
  ],
  [
    'a socket that is only in a message it was sent to itself',
    `
import array, socket
a, b = socket.socketpair(); s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("\\0mark")
for _ in range(3): a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [s.fileno(), a.fileno(), b.fileno()]))])
`,
    `print("mark" in open("/proc/net/unix").read())`,
  ],
  [
    'ports that something listens on',
    `
import socket
if daemon(): s = socket.create_server(("127.0.0.1", 7777)); stay()
`,
    `
import socket
print(socket.socket().connect_ex(("127.0.0.1", 7777)) == 0)
`,
  ],
  [
    'pseudo-terminals',
    `
if daemon(): held = [os.openpty() for _ in range(4)]; stay()
`,
    `print(len(os.listdir("/dev/pts")))`,
  ],
  [
    'limits: its own, and those it tries to set for others',
    `
import resource
for which in range(16):
  soft, hard = resource.getrlimit(which)
  if which not in (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_STACK, resource.RLIMIT_NOFILE):
    resource.setrlimit(which, (0, 0) if hard in (-1, 0) or which == resource.RLIMIT_NPROC else (hard - 1, hard - 1))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
for pid in range(1, 60):
  try: resource.prlimit(pid, resource.RLIMIT_NOFILE, (16, 16)) if pid != os.getpid() else None
  except OSError: pass
`,
    `print(open("/proc/self/limits").read())`,
  ],
  [
    'how the kernel chooses when memory runs out',
    `
for who in ("self", *range(1, 60)):
  try: open(f"/proc/{who}/oom_score_adj", "w").write("700")
  except OSError: pass
`,
    `print(open("/proc/self/oom_score_adj").read())`,
  ],
  [
    'timers, signal masks and handlers',
    `
import signal
signal.setitimer(signal.ITIMER_REAL, 600); signal.setitimer(signal.ITIMER_VIRTUAL, 600)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)
`,
    `
import signal
print([round(signal.getitimer(n)[0]) for n in range(3)], sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
print([line for line in open("/proc/self/status") if line.startswith(("Sig", "Shd"))][1:])
`,
  ],
  [
    'umask, working directory, environment, arguments, name',
    `
os.umask(0o077); os.chdir("/tmp"); os.environ["MARK"] = "1"; sys.argv.append("mark"); libc.prctl(15, b"mark", 0, 0, 0)
`,
    `
mask = os.umask(0)
print(oct(mask), os.getcwd(), sorted(os.environ.items()), sys.argv[2:], open("/proc/self/comm").read())
`,
  ],
  [
    'what prctl sets: dumpable, timer slack, death signal, reaper of orphans',
    `
for option, value in ((4, 0), (29, 123456), (1, 9), (36, 1), (41, 1)): libc.prctl(option, value, 0, 0, 0)
`,
    `
word = ctypes.c_int()
def read(option): libc.prctl(option, ctypes.byref(word), 0, 0, 0); return word.value
print(libc.prctl(3, 0, 0, 0, 0), libc.prctl(30, 0, 0, 0, 0), read(2), read(37), libc.prctl(42, 0, 0, 0, 0))
`,
  ],
  [
    'its own priority, processors and order of input and output',
    `
os.nice(7); os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)); os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); libc.syscall(251 if os.uname().machine == "x86_64" else 30, 1, 0, 3 << 13)
`,
    `
print(os.getpriority(0, 0), os.sched_getscheduler(0), sorted(os.sched_getaffinity(0)), libc.syscall(252 if os.uname().machine == "x86_64" else 31, 1, 0))
`,
  ],
  [
    'descriptors, threads and processes',
    `
import threading
for _ in range(3):
  if daemon(): stay()
held = [os.dup(1) for _ in range(20)]; [os.set_inheritable(n, True) for n in held]
for _ in range(5): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
`,
    `
print(len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), len([n for n in os.listdir("/proc") if n.isdigit()]))
`,
  ],
  [
    'filters it put on itself',
    `
libc.prctl(38, 1, 0, 0, 0)
class Filter(ctypes.Structure): _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]
class Program(ctypes.Structure): _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]
allow = (Filter * 1)(Filter(6, 0, 0, 0x7fff0000))
assert libc.prctl(22, 2, ctypes.byref(Program(1, allow)), 0, 0) == 0
`,
    `print([line for line in open("/proc/self/status") if line.startswith("Seccomp_filters")])`,
  ],
])('%s', async (_, leave, look) => {
  const { before, after } = await leaveAndLook(engine, { leave, look });
  expect(after).toBe(before);
});
