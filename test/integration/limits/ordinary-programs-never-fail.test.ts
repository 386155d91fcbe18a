/**
 * The restrictions do not make ordinary programs fail now and then: what the
 * standard library does with threads, processes, sockets and files works every
 * time, under load. `npm run soak` does the same a thousand times.
 */
import { expect, it } from 'vitest';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const RUNS = 200;
const AT_ONCE = 4;
const sandbox = sandboxForFile({ PYEXEC_MAX_CONCURRENT: String(AT_ONCE), PYEXEC_POOL_SIZE: String(AT_ONCE) });

const PROGRAM = `
import asyncio, concurrent.futures, multiprocessing, os, queue, sqlite3, subprocess, sys, tempfile, threading

async def servers():
    async def answer(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(answer, '127.0.0.1', 0)
    async def ask():
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b'hello\\n')
        answer = await reader.readline()
        writer.close()
        return answer
    answers = await asyncio.gather(*(ask() for _ in range(5)))
    process = await asyncio.create_subprocess_exec(sys.executable, '-S', '-c', 'print(2)', stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    server.close()
    return set(answers), output

def square(number):
    return number * number

if __name__ == '__main__':
    assert asyncio.run(servers()) == ({b'HELLO\\n'}, b'2\\n')
    with multiprocessing.get_context('fork').Pool(2) as pool:
        assert pool.map(square, range(20)) == [n * n for n in range(20)]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(square, range(100))) == 328350
    with tempfile.TemporaryDirectory() as place:
        with sqlite3.connect(place + '/db') as database:
            database.execute('create table t (n integer)')
            database.executemany('insert into t values (?)', [(n,) for n in range(100)])
            assert database.execute('select sum(n) from t').fetchone() == (4950,)
        database.close()
        assert subprocess.run(['sh', '-c', 'cat > "$0" && wc -c < "$0"', place + '/f'], input=b'x' * 70000, capture_output=True, check=True).stdout.strip() == b'70000'
    lock, line = multiprocessing.Lock(), queue.Queue()
    workers = [threading.Thread(target=lambda: line.put(os.getpid())) for _ in range(10)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    assert {line.get() for _ in range(10)} == {os.getpid()}
    with lock: print('all well')
`;

it(
  'L25 a mix of the standard library succeeds 200 times out of 200, four at a time',
  { timeout: 280_000 },
  async () => {
    const failures: unknown[] = [];
    let next = 0;
    const worker = async () => {
      while (next < RUNS) {
        const number = next++;
        const run = await sandbox.run(PROGRAM);
        if (run.stdout !== 'all well\n' || run.stderr !== '' || run.exit_code !== 0) {
          failures.push({ number, outcome: run.outcome, stdout: run.stdout, stderr: run.stderr });
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    expect(failures).toEqual([]);
    expect(next).toBe(RUNS);
  },
);
