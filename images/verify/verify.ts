/**
 * `npm run images -- verify`: runs the sandbox images as requests would, in the real
 * service on a free port, and says what they do not hold of what they promise.
 *
 * usage: verify.ts [--runs N] [NAME[:PYTHON] ...]
 *
 * With --runs, N programs of the kinds of mixed.py run besides in each of them that has
 * numpy, eight at a time; not one may fail.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { complaints, CONTENTS, labelComplaints, MIXED, promisedBy } from './judge.ts';

const CONCURRENT = 8;
const START_TIMEOUT_MS = 60_000;
const PROGRESS_EVERY = 100;

interface Result {
  readonly status?: string;
  readonly exit_code?: number;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly detail?: string;
  readonly outcome?: unknown;
}

interface Chosen {
  readonly reference: string;
  readonly name: string;
  /** Undefined: it is not here. */
  readonly labels: Readonly<Record<string, string>> | undefined;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: 'string', default: '0' } },
});
const runs = Number(values.runs);
if (!Number.isInteger(runs) || runs < 0) throw new Error(`--runs ${values.runs} is not a number of runs`);

const listener = createServer().listen(0, '127.0.0.1');
await once(listener, 'listening');
const { port } = listener.address() as AddressInfo;
listener.close();
await once(listener, 'close');
const url = `http://127.0.0.1:${String(port)}`;
const state = mkdtempSync(join(tmpdir(), 'pyexec-verify-'));
const service = spawn(process.execPath, ['src/main.ts'], {
  env: {
    ...process.env,
    PYEXEC_HOST: '127.0.0.1',
    PYEXEC_PORT: String(port),
    PYEXEC_INSTANCE: `verify-${String(port)}`,
    PYEXEC_STATE_DIR: state,
    PYEXEC_ALLOWED_IMAGES: 'pyexec/*',
    PYEXEC_MAX_CONCURRENT: String(CONCURRENT),
    PYEXEC_LOG_LEVEL: 'error',
  },
  stdio: ['ignore', 'ignore', 'inherit'],
});
const ended = once(service, 'exit');

async function exec(request: object): Promise<Result> {
  const response = await fetch(`${url}/api/v1/exec`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(request),
  });
  return (await response.json()) as Result;
}

/** The images to look at: those named, else every version of Python of all. */
async function chosen(): Promise<readonly Chosen[]> {
  const { images } = (await (await fetch(`${url}/api/v1/images`)).json()) as {
    images: readonly { reference: string; labels: Readonly<Record<string, string>>; packages?: object }[];
  };
  // Packages are told apart from the other labels.
  const labelsOf = ({ labels, packages }: (typeof images)[number]) =>
    packages ? { ...labels, 'pyexec.packages': JSON.stringify(packages) } : labels;
  const ours = images.flatMap((image) => {
    const { reference } = image;
    // By its name: labels are among what is looked at.
    const name = /^pyexec\/([^:]+):\d+\.\d+$/.exec(reference)?.[1];
    return name === undefined ? [] : [{ reference, name, labels: labelsOf(image) }];
  });
  if (positionals.length === 0) return ours;
  return positionals.map((wanted) => {
    const reference = `pyexec/${wanted}${wanted.includes(':') ? '' : ':latest'}`;
    const image = images.find((one) => one.reference === reference);
    return { reference, name: wanted.replace(/:.*$/, ''), labels: image && labelsOf(image) };
  });
}

async function verifyImage({ reference, name, labels }: Chosen): Promise<boolean> {
  if (!labels) {
    console.log(`FAILED ${reference}: it is not on this machine`);
    return false;
  }
  const promised = promisedBy(name);
  const mislabelled = labelComplaints(labels, name, promised);
  for (const complaint of mislabelled) console.log(`FAILED ${reference}: ${complaint}`);
  let isSound = mislabelled.length === 0;
  for (const cpus of [1, 2]) {
    const result = await exec({
      image: reference,
      code: CONTENTS,
      args: [JSON.stringify(promised)],
      limits: { cpus, wall_ms: 120_000 },
    });
    const wrong =
      result.exit_code === 0
        ? complaints(result.stdout ?? '', promised, cpus)
        : [result.detail ?? result.stderr ?? JSON.stringify(result.outcome)];
    for (const complaint of wrong) console.log(`FAILED ${reference} with ${String(cpus)} processors: ${complaint}`);
    isSound &&= wrong.length === 0;
  }
  if (isSound) console.log(`ok     ${reference}: ${promised.length > 0 ? promised.join(', ') : 'standard library'}`);
  return isSound;
}

/** @returns how many failed. */
async function runMixed(reference: string): Promise<number> {
  const startedAt = performance.now();
  let next = 0;
  let failed = 0;
  const work = async (): Promise<void> => {
    while (next < runs) {
      const seed = next++;
      if (seed > 0 && seed % PROGRESS_EVERY === 0)
        console.log(`${String(seed)} of ${String(runs)} mixed programs begun in ${reference}`);
      const result = await exec({
        image: reference,
        code: MIXED,
        args: [String(seed)],
        limits: { wall_ms: 120_000 },
      });
      if (result.exit_code === 0 && result.stdout?.startsWith('right ') === true && result.stderr === '') continue;
      failed += 1;
      console.log(`FAILED ${reference}: mixed program ${String(seed)}: ${JSON.stringify(result)}`);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENT }, work));
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
  console.log(
    `${reference}: ${String(runs)} mixed programs, ${String(CONCURRENT)} at a time: ${String(failed)} failed (${seconds} s)`,
  );
  return failed;
}

try {
  for (const deadline = performance.now() + START_TIMEOUT_MS; ; await sleep(100)) {
    const isReady = await fetch(`${url}/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) break;
    if (service.exitCode !== null || performance.now() > deadline) throw new Error('the service did not start');
  }
  const images = await chosen();
  if (images.length === 0) console.log('FAILED: there is no image to look at; run npm run setup');
  let isSound = images.length > 0;
  for (const image of images) {
    const { name, reference } = image;
    isSound = (await verifyImage(image)) && isSound;
    if (image.labels && runs > 0 && promisedBy(name).includes('numpy'))
      isSound = (await runMixed(reference)) === 0 && isSound;
  }
  process.exitCode = isSound ? 0 : 1;
} finally {
  service.kill('SIGTERM');
  await ended;
  rmSync(state, { recursive: true, force: true });
}
