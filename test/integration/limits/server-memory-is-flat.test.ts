/**
 * The memory of the server, as the kernel counts it, while a hundred megabytes go in
 * or out: it grows by less than 64 MiB over what the server has after one small run.
 */
import {
  closeSync,
  createReadStream,
  createWriteStream,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { END, file } from '../../support/hostile-archives.ts';
import { until } from '../../support/docker-containers.ts';
import { ProcessMemory } from '../../support/process-memory.ts';
import { ServiceProcess } from '../../support/service-process.ts';

const MIB = 2 ** 20;
const GROWTH_MAX_BYTES = 64 * MIB;
const FILES = 20_000;
const OUTPUT_BYTES = 100 * MIB;
const BOUNDARY = 'the-boundary';

let root: string;
let spool: string;
let tarPath: string;
let service: ServiceProcess;
let memory: ProcessMemory;
let before: number;

const COUNT_FILES = `
import os
print(sum(len(names) for _, _, names in os.walk('.')), sum(os.path.getsize(os.path.join(d, n)) for d, _, ns in os.walk('.') for n in ns if n != 'main.py'))
`;
const FLOOD = `
import os
block = b''.join(b'%07d: the quick brown fox jumps over the lazy dog, quietly\\n' % i for i in range(1024))[:65536]
for _ in range(${String(OUTPUT_BYTES)} // len(block)):
    left = block
    while left: left = left[os.write(1, left):]
`;

/** 20,000 files of 5000 bytes, a tar of 113 MB. */
function* manyFiles(): Generator<Buffer> {
  for (let folder = 0; folder < FILES / 100; folder += 1) {
    yield Buffer.concat(
      Array.from({ length: 100 }, (_, i) =>
        file(`package${String(folder)}/module${String(i)}.py`, Buffer.alloc(5000, `${String(folder)} ${String(i)} `)),
      ),
    );
  }
  yield file('main.py', COUNT_FILES);
  yield END;
}

async function startService(): Promise<void> {
  service = await ServiceProcess.start({
    PYEXEC_MAX_UPLOAD_MB: '160',
    PYEXEC_DEFAULT_OUTPUT_BYTES: String(2 * OUTPUT_BYTES),
    PYEXEC_SPOOL_DIR: spool,
    PYEXEC_DEFAULT_IMAGE: 'pyexec/slim',
  });
  memory = new ProcessMemory(service.pid);
  expect(await (await service.exec('print(1)')).json()).toMatchObject({ exit_code: 0, stdout: '1\n' });
  before = memory.residentBytes;
}

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pyexec-memory-'));
  spool = mkdtempSync(join(root, 'spool-'));
  tarPath = join(root, 'project.tar');
  const fd = openSync(tarPath, 'w');
  for (const part of manyFiles()) writeSync(fd, part);
  closeSync(fd);
});
afterAll(() => {
  rmSync(root, { recursive: true });
});

/** Sends a request with `body` as it comes; a length makes it a plain body, none a chunked one. */
function send(
  path: string,
  headers: Readonly<Record<string, string>>,
  body: Readable,
  bytes?: number,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = request(service.url + path, {
      method: 'POST',
      headers: { ...headers, ...(bytes === undefined ? {} : { 'content-length': bytes }) },
    });
    outgoing.on('response', resolve).on('error', reject);
    pipeline(body, outgoing).catch(reject);
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of response.setEncoding('utf8')) text += part as string;
  return text;
}

/** Bytes by which the server grew at most while `work` went on. */
async function growthDuring(work: () => Promise<void>): Promise<number> {
  memory.forgetPeak();
  await work();
  return memory.peakBytes - before;
}

const forms: Readonly<Record<string, () => Promise<IncomingMessage>>> = {
  'a plain body': () =>
    send('/api/v1/exec', { 'content-type': 'application/x-tar' }, createReadStream(tarPath), statSync(tarPath).size),
  'a chunked body': () => send('/api/v1/exec', { 'content-type': 'application/x-tar' }, createReadStream(tarPath)),
  'a gzipped body': async () => {
    const path = `${tarPath}.gz`;
    await pipeline(createReadStream(tarPath), createGzip({ level: 1 }), createWriteStream(path));
    return send('/api/v1/exec', { 'content-type': 'application/gzip' }, createReadStream(path), statSync(path).size);
  },
  'a form': () => {
    const parts = async function* () {
      yield `--${BOUNDARY}\r\nContent-Disposition: form-data; name="tar"; filename="p.tar"\r\n\r\n`;
      yield* createReadStream(tarPath);
      yield `\r\n--${BOUNDARY}--\r\n`;
    };
    return send(
      '/api/v1/exec',
      { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` },
      Readable.from(parts(), { objectMode: false }),
    );
  },
};

describe('a project of 20,000 files and 113 MB, uploaded and run three times', () => {
  it.each(Object.keys(forms))(
    '%s',
    async (form) => {
      await startService();
      await using _service = service;
      const growths: number[] = [];
      for (let time = 0; time < 3; time += 1) {
        growths.push(
          await growthDuring(async () => {
            const response = await (forms[form] as () => Promise<IncomingMessage>)();
            const execution = JSON.parse(await textOf(response)) as unknown;
            expect(execution).toMatchObject({ exit_code: 0, stdout: `${String(FILES + 1)} ${String(FILES * 5000)}\n` });
          }),
        );
      }
      expect(Math.max(...growths), `grew by ${growths.join(', ')}`).toBeLessThan(GROWTH_MAX_BYTES);
      expect(readdirSync(spool)).toEqual([]);
    },
    180_000,
  );

  it('refused for its entry point, which is known only at the end', async () => {
    await startService();
    await using _service = service;
    for (let time = 0; time < 3; time += 1) {
      const growth = await growthDuring(async () => {
        const response = await send(
          '/api/v1/exec?entrypoint=none.py',
          { 'content-type': 'application/x-tar' },
          createReadStream(tarPath),
        );
        expect([response.statusCode, JSON.parse(await textOf(response))]).toMatchObject([
          422,
          { code: 'entrypoint_missing' },
        ]);
      });
      expect(growth).toBeLessThan(GROWTH_MAX_BYTES);
    }
    expect(readdirSync(spool)).toEqual([]);
  }, 180_000);
});

describe('a hundred megabytes of output', () => {
  const flood = (accept: string): Promise<IncomingMessage> =>
    send(
      '/api/v1/exec',
      { 'content-type': 'application/json', accept },
      Readable.from([JSON.stringify({ code: FLOOD })]),
    );

  /** Reads to the end without keeping anything; the bytes of stdout there were, and the last line. */
  async function drain(response: IncomingMessage): Promise<{ bytes: number; last: string }> {
    let bytes = 0;
    let last = '';
    for await (const part of response as AsyncIterable<Buffer>) {
      bytes += part.length;
      last = (last + part.toString('latin1')).slice(-4096);
    }
    return { bytes, last: last.trimEnd().split('\n').at(-1) ?? '' };
  }

  it.each(['application/x-ndjson', 'text/event-stream'])(
    'to a reader that keeps up, as %s, and again to one that comes later',
    async (accept) => {
      await startService();
      await using _service = service;
      let id = '';
      const growth = await growthDuring(async () => {
        const response = await flood(accept);
        id = String(response.headers['x-execution-id']);
        const { bytes, last } = await drain(response);
        expect(bytes).toBeGreaterThan(OUTPUT_BYTES);
        expect(last).toContain('"outcome":{"kind":"exited","exit_code":0}');
      });
      expect(growth).toBeLessThan(GROWTH_MAX_BYTES);
      const replayGrowth = await growthDuring(async () => {
        const replay = await new Promise<IncomingMessage>((resolve) => {
          request(`${service.url}/api/v1/executions/${id}/events`, { headers: { accept } }, resolve).end();
        });
        expect((await drain(replay)).bytes).toBeGreaterThan(OUTPUT_BYTES);
      });
      expect(replayGrowth).toBeLessThan(GROWTH_MAX_BYTES);
    },
    180_000,
  );

  it('to a reader that stops, and to nobody', async () => {
    await startService();
    await using _service = service;
    const stalled: IncomingMessage[] = [];
    const growth = await growthDuring(async () => {
      const response = await flood('application/x-ndjson');
      stalled.push(response.pause());
      const detached = await service.exec(FLOOD, { detach: true, headers: { prefer: 'respond-async' } });
      expect(detached.status).toBe(202);
      await until(
        'both have ended',
        async () => (await (await service.get('/metrics')).text()).includes('\npyexec_runs_active 0\n'),
        50_000,
      );
    });
    expect(growth).toBeLessThan(GROWTH_MAX_BYTES);
    const resumed = await growthDuring(async () => {
      const { bytes } = await drain(stalled[0] as IncomingMessage);
      expect(bytes).toBeGreaterThan(OUTPUT_BYTES);
    });
    expect(resumed).toBeLessThan(GROWTH_MAX_BYTES);
  }, 180_000);
});
