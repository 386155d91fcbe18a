/**
 * Thousands of runs, watching what may only grow for a while: the server's memory and
 * descriptors, containers, control groups, temporary files.
 *
 * Growth is a line fitted over the second half of the samples, where caches are full. Memory counts after a collection:
 * between two of them it rises by a hundred MiB and falls again, and a line through that tells where the soak ended.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DockerSocketProxy } from '../test/support/docker-socket-proxy.ts';
import { SLIM } from '../test/support/images.ts';
import { jobOf } from './programs.ts';
import { PrivateDaemon } from './private-daemon.ts';
import { Server } from './server.ts';

const CLIENTS = 6;
const SAMPLE_EVERY_RUNS = 50;
/** With fewer there is no line to be fitted, or one through noise. */
const SAMPLES_MIN = 8;
/** How long the server gets to collect its garbage and write down what is left. */
const COLLECTION_MS = 500;
/** What the second half of a soak may add per 1,000 runs. */
const ALLOWED_PER_1000_RUNS = { heapMiB: 1, heldMiB: 4, descriptors: 1, containers: 1, cgroups: 1, temporaryFiles: 1 };

type Sample = Record<keyof typeof ALLOWED_PER_1000_RUNS, number> & {
  readonly runs: number;
  /** Before the collection. */
  readonly memoryMiB: number;
};

/** Runs `total` jobs. Returns the exit status. */
export async function soak(total: number): Promise<number> {
  await using daemon = await PrivateDaemon.start([SLIM]);
  await using proxy = await DockerSocketProxy.start(daemon.socketPath);
  const directory = mkdtempSync(join(tmpdir(), 'pyexec-soak-'));
  const heldBytesFile = join(directory, 'held-bytes');
  await using server = await Server.start({
    PYEXEC_DOCKER_SOCKET: proxy.socketPath,
    PYEXEC_DEFAULT_IMAGE: SLIM,
    PYEXEC_CLEANUP_TTL: '20',
    HELD_BYTES_FILE: heldBytesFile,
    NODE_OPTIONS: `--import=${new URL('collect-on-signal.ts', import.meta.url).href}`,
  });
  const samples: Sample[] = [];
  const outcomes: Record<string, number> = {};
  /** Ends no job may have where nothing is broken. */
  const wrong: string[] = [];
  let started = 0;
  let done = 0;
  const one = async () => {
    while (started < total) {
      started += 1;
      const job = jobOf(Math.random(), Math.random(), randomUUID());
      const { code, limits } = job;
      const response = await fetch(`${server.origin}/api/v1/exec`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ code, ...(limits ? { limits } : {}) }),
      });
      const answer = (await response.json()) as { outcome?: { kind: string }; code?: string };
      const { outcome, code: refusal } = answer;
      const ended = outcome?.kind ?? `refused ${refusal ?? ''}`;
      outcomes[ended] = (outcomes[ended] ?? 0) + 1;
      if (!job.outcomes.includes(ended)) wrong.push(`${job.name}: ${JSON.stringify(answer).slice(0, 1_000)}`);
      done += 1;
      if (done % SAMPLE_EVERY_RUNS === 0) {
        samples.push(await sampleOf(server, daemon, done, heldBytesFile));
        if (samples.length % 10 === 0) console.log(JSON.stringify(samples.at(-1)));
      }
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, one));
  rmSync(directory, { recursive: true });
  if (samples.length < SAMPLES_MIN) wrong.push(`${String(samples.length)} samples show no growth`);
  const half = samples.slice(Math.floor(samples.length / 2));
  const verdicts = Object.entries(ALLOWED_PER_1000_RUNS).map(([what, allowed]) => {
    const slope =
      1000 * slopeOf(half.map((sample) => [sample.runs, sample[what as keyof typeof ALLOWED_PER_1000_RUNS]]));
    return { what, per_1000_runs: Number(slope.toFixed(3)), allowed, holds: slope <= allowed };
  });
  console.log(
    JSON.stringify(
      {
        runs: done,
        outcomes,
        wrong,
        first: samples[0],
        last: samples.at(-1),
        memoryPeakMiB: Math.max(...samples.map(({ memoryMiB }) => memoryMiB)),
        verdicts,
      },
      undefined,
      2,
    ),
  );
  return wrong.length === 0 && verdicts.every(({ holds }) => holds) ? 0 : 1;
}

async function sampleOf(server: Server, daemon: PrivateDaemon, runs: number, heldBytesFile: string): Promise<Sample> {
  const memoryMiB = residentMiB(server.pid);
  // A figure of before would never grow.
  rmSync(heldBytesFile, { force: true });
  server.signal('SIGWINCH');
  await sleep(COLLECTION_MS);
  const [heap = 0, outside = 0] = readFileSync(heldBytesFile, 'utf8')
    .split(' ')
    .map((bytes) => Number(bytes) / 2 ** 20);
  const hierarchy = ['/sys/fs/cgroup/pids/pyexec-chaos', '/sys/fs/cgroup/pyexec-chaos'].find((path) =>
    existsSync(path),
  );
  if (hierarchy === undefined) throw new Error('the control groups of the runs are not found');
  return {
    runs,
    memoryMiB,
    heapMiB: heap,
    heldMiB: heap + outside,
    descriptors: readdirSync(`/proc/${String(server.pid)}/fd`).length,
    containers: daemon.containers('pyexec.instance').length,
    cgroups: readdirSync(hierarchy, { withFileTypes: true }).filter((entry) => entry.isDirectory()).length,
    temporaryFiles: readdirSync(server.temporaryDirectory).length,
  };
}

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))?.[1]) / 1024;
}

/** Theil and Sen's: the median of the slopes between each two. Memory the allocator gives back now and then does not count as growth. */
function slopeOf(points: readonly (readonly [number, number])[]): number {
  const slopes = points.flatMap(([runs, value], index) =>
    points.slice(index + 1).map(([laterRuns, laterValue]) => (laterValue - value) / (laterRuns - runs)),
  );
  return slopes.sort((a, b) => a - b)[slopes.length >> 1] ?? 0;
}
