"""One ordinary program of some kind, or several of them in one process: KINDS lists them.

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


def with_scipy(seed):
    import numpy
    from scipy import fft, integrate, interpolate, linalg, ndimage, optimize, signal, sparse, spatial, special, stats

    values = numpy.random.default_rng(seed).random(200)
    assert abs(integrate.quad(numpy.sin, 0, numpy.pi)[0] - 2) < 1e-9
    assert abs(optimize.minimize(lambda x: (x[0] - seed) ** 2, [0.0]).x[0] - seed) < 1e-3
    assert numpy.allclose(interpolate.CubicSpline(range(200), values)(range(200)), values)
    assert numpy.allclose(fft.irfft(fft.rfft(values)), values)
    assert len(signal.savgol_filter(values, 11, 3)) == len(ndimage.gaussian_filter1d(values, 2)) == 200
    matrix = sparse.diags([numpy.ones(200), values + 2, numpy.ones(200)], [-1, 0, 1], shape=(200, 200)).tocsc()
    assert numpy.allclose(matrix @ sparse.linalg.spsolve(matrix, values), values)
    assert numpy.allclose(linalg.expm(numpy.zeros((3, 3))), numpy.eye(3))
    points = numpy.column_stack([values[:100], values[100:]])
    assert spatial.cKDTree(points).query(points)[0].max() == 0
    assert special.gamma(5) == 24 and 0 <= stats.ks_2samp(values, values).pvalue <= 1


def with_sklearn(seed):
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    points, classes = make_classification(300, class_sep=2, random_state=seed)
    for model in (RandomForestClassifier(20, n_jobs=2), make_pipeline(StandardScaler(), LogisticRegression())):
        assert model.fit(points, classes).score(points, classes) > 0.8


def with_matplotlib(seed):
    import io

    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(4, 2))
    axes[0].plot(range(seed % 10 + 2))
    axes[1].hist([1, 2, 2, 3], bins=3)
    figure.suptitle("é 漢")
    for kind, begin in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        drawn = io.BytesIO()
        figure.savefig(drawn, format=kind)
        assert drawn.getvalue().startswith(begin)
    plt.close(figure)


def with_pillow(seed):
    import io

    from PIL import Image, ImageDraw, ImageFilter

    image = Image.new("RGB", (64, 48), (seed % 256, 0, 0))
    ImageDraw.Draw(image).text((2, 2), "text")
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF"):
        file = io.BytesIO()
        image.filter(ImageFilter.BLUR).resize((32, 24)).save(file, kind)
        assert Image.open(io.BytesIO(file.getvalue())).convert("RGB").size == (32, 24)


def with_sympy(seed):
    import sympy

    x = sympy.Symbol("x")
    assert sympy.diff(sympy.integrate(x**2 + seed, x), x) == x**2 + seed
    assert sympy.solve(x**2 - seed**2) == sorted({-seed, seed})


def with_documents(seed):
    import io

    import lxml.etree
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["é", seed, "=1+1"])
    file = io.BytesIO()
    book.save(file)
    assert [cell.value for cell in openpyxl.load_workbook(io.BytesIO(file.getvalue())).active[1]] == ["é", seed, "=1+1"]
    tree = lxml.etree.fromstring("<a><b n='%d'/></a>" % seed)
    assert tree.xpath("//b/@n") == [str(seed)]


KINDS = [
    with_numpy,
    with_pandas,
    with_asyncio,
    with_multiprocessing,
    with_sqlite,
    with_scipy,
    with_sklearn,
    with_matplotlib,
    with_pillow,
    with_sympy,
    with_documents,
]
# What one in a round does together in one process.
TOGETHER = [with_numpy, with_pandas, with_asyncio, with_multiprocessing, with_sqlite]

if __name__ == "__main__":
    seed = int(sys.argv[1])
    turn = seed % (len(KINDS) + 1)
    chosen = [KINDS[turn]] if turn < len(KINDS) else TOGETHER
    for kind in chosen:
        kind(seed)
    print("right", " ".join(kind.__name__ for kind in chosen))
