/** Threads, asyncio, generators and context variables. */
import { py, type Programs } from '../../../support/differential-program.ts';

export const CONCURRENCY: Programs = {
  'thread that raises': py`
    import threading
    def inner(): raise ValueError("in thread")
    def f(): inner()
    t = threading.Thread(target=f, name="T"); t.start(); t.join()
    print("main goes on", t.is_alive())
  `,
  'threading.excepthook replaced': py`
    import threading
    threading.excepthook = lambda a: print("hook", a.exc_type.__name__, a.thread.name)
    t = threading.Thread(target=lambda: 1 / 0, name="T"); t.start(); t.join()
  `,
  'threads left running': py`
    import threading, time
    def f(n): time.sleep(0.05 * n); print("thread", n)
    for n in (1, 2, 3): threading.Thread(target=f, args=(n,)).start()
    print("main ends", threading.active_count())
  `,
  'threads left running when main fails': {
    files: py`
      import threading, time
      threading.Thread(target=lambda: (time.sleep(0.1), print("thread ends"))).start()
      raise ValueError("main fails first")
    `,
    status: 1,
  },
  'daemon threads are abandoned': py`
    import threading, time
    def f():
        while True: time.sleep(0.01)
    threading.Thread(target=f, daemon=True).start()
    print("end")
  `,
  'daemon thread that would print late': py`
    import threading, time
    def f(): time.sleep(30); print("never")
    threading.Thread(target=f, daemon=True).start()
    time.sleep(0.05)
    print("end")
  `,
  'main thread and names': py`
    import threading, _thread
    def f(): print(threading.current_thread().name, threading.main_thread().name, threading.current_thread() is threading.main_thread())
    t = threading.Thread(target=f); t.start(); t.join()
    print([t.name for t in threading.enumerate()], threading.main_thread().is_alive())
    done = threading.Event()
    _thread.start_new_thread(lambda: (print(threading.current_thread().name.startswith("Dummy")), done.set()), ())
    done.wait()
  `,
  'locals, timers, conditions, queues': py`
    import threading, queue
    local = threading.local(); local.x = 1
    def f(q): q.put(hasattr(local, "x"))
    q = queue.Queue(); threading.Timer(0.01, f, (q,)).start(); print(q.get())
    b = threading.Barrier(3)
    ts = [threading.Thread(target=lambda: q.put(b.wait())) for _ in range(3)]
    [t.start() for t in ts]; [t.join() for t in ts]
    print(sorted(q.get() for _ in ts))
  `,
  'thread in a fork': py`
    import os, threading, warnings
    warnings.simplefilter("ignore")
    t = threading.Thread(target=threading.Event().wait, args=(0.3,)); t.start()
    pid = os.fork()
    if pid == 0:
        print("child", threading.active_count(), threading.main_thread() is threading.current_thread())
        os._exit(0)
    os.waitpid(pid, 0); t.join()
  `,
  'raise in the main thread from another': py`
    import _thread, threading, time
    threading.Timer(0.05, _thread.interrupt_main).start()
    try:
        for _ in range(1000): time.sleep(0.01)
    except KeyboardInterrupt: print("interrupted")
  `,
  'deadlock of an exit is none': {
    files: py`
      import threading, sys
      lock = threading.Lock(); lock.acquire()
      t = threading.Thread(target=lock.acquire, daemon=True); t.start()
      sys.exit(4)
    `,
    status: 4,
  },
  'asyncio: run, gather, tasks, timeouts': py`
    import asyncio
    async def f(n):
        await asyncio.sleep(0.01 * n)
        if n == 2: raise ValueError(n)
        return n
    async def main():
        print(await asyncio.gather(*(f(n) for n in range(4)), return_exceptions=True))
        try:
            async with asyncio.timeout(0.05): await asyncio.sleep(5)
        except TimeoutError as e: print("timeout", repr(e))
        async with asyncio.TaskGroup() as tg: t = tg.create_task(f(1), name="one")
        print(t.result(), t.get_name(), type(asyncio.get_running_loop()).__name__)
        return "done"
    print(asyncio.run(main(), debug=False))
  `,
  'asyncio: uncaught exception': {
    files: py`
      import asyncio
      async def inner(): raise ValueError("in coroutine")
      async def main():
          await asyncio.sleep(0)
          await inner()
      asyncio.run(main())
    `,
    status: 1,
  },
  'asyncio: exception group': {
    files: py`
      import asyncio
      async def fail(n): raise ValueError(n)
      async def main():
          async with asyncio.TaskGroup() as tg:
              tg.create_task(fail(1)); tg.create_task(fail(2))
      asyncio.run(main())
    `,
    status: 1,
  },
  'asyncio: task exception never retrieved': py`
    import asyncio, gc
    async def bad(): raise ValueError("lost")
    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, c: print("handler:", c["message"], repr(c["exception"])))
        t = asyncio.create_task(bad()); await asyncio.sleep(0.01); del t; gc.collect()
    asyncio.run(main())
  `,
  'asyncio: un-awaited coroutine in debug mode': {
    files: py`
      import asyncio
      async def forgotten(): pass
      async def main(): forgotten()
      asyncio.run(main())
    `,
    request: { environment: { PYTHONASYNCIODEBUG: '' } },
  },
  'asyncio: subprocess': py`
    import asyncio, sys
    async def main():
        p = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(input()[::-1]); raise SystemExit(3)", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        print(await p.communicate(b"abc\n"), p.returncode)
        p = await asyncio.create_subprocess_shell("kill -9 $$")
        print(await p.wait())
    asyncio.run(main())
  `,
  'asyncio: signals': py`
    import asyncio, os, signal
    async def main():
        done = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: (print("signal"), done.set()))
        os.kill(os.getpid(), signal.SIGUSR1)
        await done.wait()
    asyncio.run(main())
  `,
  'asyncio: SIGINT ends the run': {
    files: py`
      import asyncio, os, signal
      async def main():
          asyncio.get_running_loop().call_later(0.02, signal.raise_signal, signal.SIGINT)
          try: await asyncio.sleep(5)
          except asyncio.CancelledError: print("cancelled"); raise
          finally: print("cleaned up")
      asyncio.run(main())
    `,
    status: -2,
  },
  'asyncio: sockets, threads and executors': py`
    import asyncio, socket
    async def main():
        loop = asyncio.get_running_loop()
        print(await asyncio.to_thread(lambda: 5), await loop.run_in_executor(None, lambda: 6))
        a, b = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=a)
        b.send(b"hello\n"); print(await reader.readline()); writer.close(); b.close()
        async def echo(r, w): w.write(await r.readline()); await w.drain(); w.close()
        server = await asyncio.start_unix_server(echo, "/tmp/s.sock")
        r, w = await asyncio.open_unix_connection("/tmp/s.sock")
        w.write(b"ping\n"); print(await r.readline()); w.close(); server.close()
    asyncio.run(main())
  `,
  'asyncio: stdin as a stream': {
    files: py`
      import asyncio, sys
      async def main():
          reader = asyncio.StreamReader()
          await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
          async for line in reader: print(line)
      asyncio.run(main())
    `,
    request: { stdin: Buffer.from('a\nb\n') },
  },
  'asyncio: loop left open': py`
    import asyncio
    loop = asyncio.new_event_loop()
    async def f():
        try: await asyncio.sleep(10)
        finally: print("finally")
    t = loop.create_task(f(), name="left")
    loop.call_soon(loop.stop); loop.run_forever()
    print("end")
    t._log_destroy_pending = False
  `,
  'async generators, closed at the end': py`
    import asyncio
    async def agen():
        try:
            for i in range(5): yield i
        finally: print("agen closed")
    async def main():
        async for i in agen():
            if i == 2: break
        print("main ends")
    asyncio.run(main())
    def gen():
        try: yield 1
        finally: print("gen closed at finalisation")
    g = gen(); next(g)
  `,
  'coroutine and async generator left at finalisation': py`
    async def f(): pass
    c = f()
    async def g():
        try: yield 1
        finally: print("closing")
    a = g()
    try: a.asend(None).send(None)
    except StopIteration as e: print(e.value)
    print("end")
  `,
  'context variables': py`
    import asyncio, contextvars, threading
    v = contextvars.ContextVar("v", default="default")
    print(v.get(), list(contextvars.copy_context()))
    token = v.set("main")
    t = threading.Thread(target=lambda: print("thread", v.get())); t.start(); t.join()
    async def f(): print(v.get()); v.set("task"); return v.get()
    async def main(): print(await asyncio.create_task(f()), v.get())
    asyncio.run(main())
    v.reset(token); print(v.get())
  `,
  'decimal and other contexts are fresh': py`
    import decimal
    print(decimal.getcontext())
  `,
};
