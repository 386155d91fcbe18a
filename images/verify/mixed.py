"""One ordinary program of five kinds, or all of them: numpy, pandas, asyncio, multiprocessing, sqlite.

    python3 mixed.py SEED

The seed decides what it computes. It ends with 0 and one line when every result is
right, as it would under plain Python; otherwise with a traceback.
"""

import asyncio
import multiprocessing
import os
import random
import sqlite3
import sys
import tempfile


def with_numpy(seed):
    import numpy

    generator = numpy.random.default_rng(seed)
    matrix = generator.random((120, 120)) + 120 * numpy.eye(120)
    right = generator.random(120)
    assert numpy.allclose(matrix @ numpy.linalg.solve(matrix, right), right)
    assert abs(numpy.fft.ifft(numpy.fft.fft(right)) - right).max() < 1e-9
    path = os.path.join(tempfile.mkdtemp(), "matrix.npy")
    numpy.save(path, matrix)
    assert (numpy.load(path, mmap_mode="r") == matrix).all()


def with_pandas(seed):
    import io

    import pandas

    numbers = [random.Random(seed + n).randrange(1000) for n in range(500)]
    frame = pandas.DataFrame({"key": [n % 7 for n in numbers], "value": numbers})
    sums = frame.groupby("key")["value"].sum()
    assert sums.sum() == sum(numbers)
    again = pandas.read_csv(io.StringIO(frame.to_csv(index=False)))
    assert again.equals(frame)
    days = pandas.date_range("2026-01-01", periods=500, freq="h", tz="Europe/Berlin")
    assert frame.set_index(days)["value"].resample("D").count().sum() == 500


def with_asyncio(seed):
    async def main():
        async def echo(reader, writer):
            writer.write(await reader.read(100))
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]

            async def ask(number):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"%d" % number)
                answer = int(await reader.read(100))
                writer.close()
                await writer.wait_closed()
                return answer

            assert await asyncio.gather(*map(ask, range(10))) == list(range(10))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(6 * %d)" % seed, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await asyncio.wait_for(process.communicate(), 60)
        assert int(printed) == 6 * seed
        return await asyncio.to_thread(sum, range(1000))

    assert asyncio.run(main()) == 499500


def square(number):
    return number * number


def with_multiprocessing(seed):
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            assert pool.map(square, range(seed, seed + 20)) == [n * n for n in range(seed, seed + 20)]
    context = multiprocessing.get_context("fork")
    queue, shared, lock = context.Queue(), context.Value("i", 0), context.Lock()

    def work():
        for _ in range(50):
            with lock:
                shared.value += 1
        queue.put(os.getpid())

    workers = [context.Process(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert len({queue.get(timeout=60) for _ in workers}) == 3
    for worker in workers:
        worker.join()
    assert shared.value == 150 and all(worker.exitcode == 0 for worker in workers)


def with_sqlite(seed):
    path = os.path.join(tempfile.mkdtemp(dir="/work"), "rows.db")
    with sqlite3.connect(path) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table rows (number integer primary key, text text)")
        database.executemany("insert into rows values (?, ?)", ((n, "é%d" % (n + seed)) for n in range(1000)))
    database.close()
    database = sqlite3.connect(path)
    assert database.execute("select count(*), sum(number) from rows").fetchone() == (1000, 499500)
    assert database.execute("select text from rows where number = 7").fetchone() == ("é%d" % (7 + seed),)
    assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    database.close()


KINDS = [with_numpy, with_pandas, with_asyncio, with_multiprocessing, with_sqlite]

if __name__ == "__main__":
    seed = int(sys.argv[1])
    # Every sixth does all of it in one process.
    chosen = KINDS if seed % 6 == 5 else [KINDS[seed % 6]]
    for kind in chosen:
        kind(seed)
    print("right", " ".join(kind.__name__ for kind in chosen))
