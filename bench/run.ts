/**
 * `npm run bench`: the targets of this project, each a ratio measured in one run
 * beside what it is compared with. Prints one table; writes docs/bench/results.json
 * and docs/bench/latency.svg.
 *
 * usage: npm run bench -- [--quick] [--only PART,...]   (these print their figures and write nothing)
 *
 * `--quick` leaves out the parts that DESIGN's targets do not ask for, and takes fewer samples: under two minutes.
 *
 * Whatever else the machine does shows in every column alike: samples of the
 * things compared are taken in turns. What is not installed is left out and said.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { pack } from 'tar-stream';
import {
  barePython,
  bubblewrap,
  dockerodeLife,
  dockerRun,
  dockerRunOutput,
  firejail,
  hasRuntime,
  isInstalled,
  PROGRAM,
} from './baselines.ts';
import { latencyChart } from './chart.ts';
import { displaySamples } from './display-measurements.ts';
import { packageSamples } from './package-measurements.ts';
import { cpuAtRestMs, slowdownWhileRefilling } from './pool-measurements.ts';
import { lightBesideHeavy } from './queue-measurements.ts';
import { Service } from './service.ts';
import { storeSamples } from './store-measurements.ts';
import { summarize, type Summary } from './statistics.ts';

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string' } },
});
const isQuick = options.quick;
const only = options.only?.split(',');
const WARM_SAMPLES = isQuick ? 60 : 300;
const COLD_SAMPLES = isQuick ? 8 : 40;
const THROUGHPUT_MS = isQuick ? 3_000 : 30_000;
const STORED = isQuick ? 10_000 : 100_000;
const CONCURRENCY = 4;
const OUTPUT_BYTES = 100 * 2 ** 20;
const UPLOAD_BYTES = 100_000_000;

const figures: Record<string, Summary> = {};
const ratios: { target: string; measured: string; wanted: string; met: boolean }[] = [];
const notes: string[] = [];

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function judge(target: string, ratio: number, comparison: '<=' | '>=', bound: number): void {
  const met = comparison === '<=' ? ratio <= bound : ratio >= bound;
  ratios.push({ target, measured: ratio.toFixed(2), wanted: `${comparison} ${String(bound)}`, met });
}

async function runPrint(service: Service, more: object = {}): Promise<void> {
  const { statusCode, result } = await service.exec({ code: PROGRAM, ...more });
  if (statusCode !== 200 || result['stdout'] !== '1\n') throw new Error(`answered ${JSON.stringify(result)}`);
}

/** Takes one sample of each in turn, so that all see the same machine. */
async function interleave(
  samples: number,
  contenders: Readonly<Record<string, { run: () => Promise<void>; before?: () => Promise<void> }>>,
): Promise<void> {
  const taken: Record<string, number[]> = {};
  for (let round = -2; round < samples; round += 1) {
    for (const [name, { run, before }] of Object.entries(contenders)) {
      await before?.();
      const started = performance.now();
      await run();
      if (round >= 0) (taken[name] ??= []).push(performance.now() - started);
    }
  }
  for (const [name, values] of Object.entries(taken)) figures[name] = summarize(values);
}

function p50(name: string): number {
  return figures[name]?.p50 ?? NaN;
}

async function latency(): Promise<void> {
  say('latency, warm ...');
  await using warm = await Service.start({ PYEXEC_POOL_SIZE: '2' });
  await interleave(WARM_SAMPLES, {
    'bare python3 main.py': { run: barePython },
    'exec, warm': { run: () => runPrint(warm), before: () => warm.whenPoolIsFull() },
  });
  judge('warm exec p50 / bare python3 p50', p50('exec, warm') / p50('bare python3 main.py'), '<=', 0.5);
  judge(
    'warm exec p99 / bare python3 p99',
    (figures['exec, warm']?.p99 ?? NaN) / (figures['bare python3 main.py']?.p99 ?? NaN),
    '<=',
    1.5,
  );

  say('latency, cold and others ...');
  await using cold = await Service.start({ PYEXEC_POOL_SIZE: '0' });
  const others: Record<string, { run: () => Promise<void> }> = {
    'exec, cold': { run: () => runPrint(cold) },
    'dockerode loop, hardened': { run: () => dockerodeLife() },
    'docker run, hardened': { run: dockerRun },
  };
  for (const [command, run] of [
    ['bwrap', bubblewrap],
    ['firejail', firejail],
  ] as const) {
    if (await isInstalled(command)) others[command] = { run };
    else notes.push(`${command} is not installed and was left out`);
  }
  await interleave(COLD_SAMPLES, others);
  judge('cold exec p50 / dockerode loop p50', p50('exec, cold') / p50('dockerode loop, hardened'), '<=', 1.1);
}

async function gvisor(): Promise<void> {
  if (!(await hasRuntime('runsc'))) {
    notes.push('the daemon has no runtime runsc; gVisor was left out');
    return;
  }
  say('latency, gVisor ...');
  await using sentry = await Service.start({ PYEXEC_RUNTIME: 'runsc', PYEXEC_POOL_SIZE: '2' });
  await interleave(Math.ceil(COLD_SAMPLES / 2), {
    'bare python3 (beside gVisor)': { run: barePython },
    'exec, warm, gVisor': { run: () => runPrint(sentry), before: () => sentry.whenPoolIsFull() },
    'dockerode loop, gVisor': { run: () => dockerodeLife('runsc') },
  });
  judge(
    'warm exec under gVisor p50 / bare python3 p50',
    p50('exec, warm, gVisor') / p50('bare python3 (beside gVisor)'),
    '<=',
    1.2,
  );
}

/** Lives per second with several callers at once. */
async function sustained(work: () => Promise<void>, concurrency: number): Promise<number> {
  const until = performance.now() + THROUGHPUT_MS;
  let done = 0;
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (performance.now() < until) {
        await work();
        done += 1;
      }
    }),
  );
  return (done / THROUGHPUT_MS) * 1000;
}

async function throughput(): Promise<void> {
  say('throughput ...');
  await using service = await Service.start({ PYEXEC_POOL_SIZE: '4' });
  const ours: number[] = [];
  const loop: number[] = [];
  for (let round = 0; round < 2; round += 1) {
    ours.push(await sustained(() => runPrint(service), CONCURRENCY));
    for (const concurrency of [2, CONCURRENCY]) loop.push(await sustained(() => dockerodeLife(), concurrency));
  }
  const best = Math.max(...loop);
  notes.push(`throughput: ${Math.max(...ours).toFixed(1)} runs/s, dockerode loop at best ${best.toFixed(1)}/s`);
  judge('sustained throughput / dockerode loop', Math.max(...ours) / best, '>=', 0.95);
}

async function streaming(): Promise<void> {
  say('streaming 100 MB ...');
  const code = `import sys\nfor _ in range(${String(OUTPUT_BYTES / 65_536)}): sys.stdout.write("x" * 65535 + "\\n")\n`;
  await using service = await Service.start({ PYEXEC_POOL_SIZE: '1' });
  await service.whenPoolIsFull();
  const before = service.residentBytes();
  let peak = before;
  const ours: number[] = [];
  const reference: number[] = [];
  for (let round = 0; round < (isQuick ? 2 : 4); round += 1) {
    const started = performance.now();
    const { body } = await service.post(
      '/api/v1/exec',
      { 'content-type': 'application/json', accept: 'application/x-ndjson' },
      JSON.stringify({ code, limits: { output_bytes: OUTPUT_BYTES } }),
    );
    let bytes = 0;
    for await (const chunk of body) {
      bytes += (chunk as Buffer).length;
      peak = Math.max(peak, service.residentBytes());
    }
    if (bytes < OUTPUT_BYTES) throw new Error(`only ${String(bytes)} bytes arrived`);
    ours.push((OUTPUT_BYTES / (performance.now() - started)) * 1000);
    reference.push(await dockerRunOutput(code, OUTPUT_BYTES));
  }
  const [best, bestReference] = [Math.max(...ours), Math.max(...reference)];
  notes.push(
    `streaming: ${(best / 1e6).toFixed(0)} MB/s, docker run ${(bestReference / 1e6).toFixed(0)} MB/s; server memory grew by ${((peak - before) / 2 ** 20).toFixed(0)} MiB`,
  );
  judge('100 MB of output / docker run | cat', best / bestReference, '>=', 0.8);
}

async function upload(): Promise<void> {
  say('uploading 100 MB ...');
  const archive = pack();
  archive.entry({ name: 'main.py' }, 'print(1)\n');
  const file = Buffer.alloc(1_000_000, 'a');
  for (let index = 0; index < UPLOAD_BYTES / file.length - 1; index += 1)
    archive.entry({ name: `data/${String(index)}` }, file);
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive as AsyncIterable<Buffer>) parts.push(part);
  const body = Buffer.concat(parts);
  await using service = await Service.start({ PYEXEC_POOL_SIZE: '1', PYEXEC_MAX_UPLOAD_MB: '128' });
  const before = service.residentBytes();
  let peak = before;
  const sampler = setInterval(() => {
    peak = Math.max(peak, service.residentBytes());
  }, 10);
  const rates: number[] = [];
  for (let round = 0; round < (isQuick ? 3 : 8); round += 1) {
    // An entry point that is not there: refused after the whole archive was checked, before anything runs.
    const started = performance.now();
    const { statusCode, body: answer } = await service.post(
      '/api/v1/exec?entrypoint=missing.py',
      { 'content-type': 'application/x-tar' },
      body,
    );
    await answer.dump();
    if (statusCode !== 422) throw new Error(`answered ${String(statusCode)}`);
    rates.push((body.length / (performance.now() - started)) * 1000);
  }
  clearInterval(sampler);
  const { p50: rate } = summarize(rates);
  notes.push(
    `upload: ${(rate / 1e6).toFixed(0)} MB/s through validation; server memory grew by ${((peak - before) / 2 ** 20).toFixed(0)} MiB`,
  );
  judge('100 MB upload through validation, MB/s', rate / 1e6, '>=', 200);
}

async function burst(): Promise<void> {
  say('a burst of 200 ...');
  await using service = await Service.start({ PYEXEC_POOL_SIZE: '4', PYEXEC_MAX_QUEUE: '256' });
  const started = performance.now();
  const answers = await Promise.all(
    Array.from({ length: 200 }, async () => {
      const { statusCode, result } = await service.exec({ code: PROGRAM });
      return statusCode === 429 || (statusCode === 200 && result['stdout'] === '1\n');
    }),
  );
  const good = answers.filter(Boolean).length;
  notes.push(`burst: 200 requests answered in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  judge('burst of 200: answered as they should be', good / 200, '>=', 1);
}

/** Needs the image with numpy: a run that imports it, beside a run of the same service that prints. */
async function preimports(): Promise<void> {
  const image = 'pyexec/data';
  say('numpy, imported beforehand ...');
  let service: Service;
  try {
    service = await Service.start({
      PYEXEC_DEFAULT_IMAGE: image,
      PYEXEC_POOL_SIZE: '1',
      PYEXEC_POOL_PREIMPORTS: `${image}=numpy:1`,
    });
  } catch {
    notes.push(`${image} is not on this machine; pre-imports were left out`);
    return;
  }
  await using running = service;
  const numpy = { code: 'import numpy\nprint(int(numpy.ones(1).sum()))\n' };
  await interleave(Math.ceil(WARM_SAMPLES / (isQuick ? 4 : 2)), {
    'exec print, warm, data image': { run: () => runPrint(running), before: () => running.whenPoolIsFull() },
    'exec import numpy, warm': { run: () => runPrint(running, numpy), before: () => running.whenPoolIsFull() },
  });
  judge(
    'warm import numpy p50 / warm print p50',
    p50('exec import numpy, warm') / p50('exec print, warm, data image'),
    '<=',
    1.5,
  );
}

async function displays(): Promise<void> {
  say('figures ...');
  const samples = await displaySamples(isQuick ? 20 : 100);
  if (!samples) {
    notes.push('pyexec/data is not on this machine; figures were left out');
    return;
  }
  figures['savefig alone'] = summarize(samples.draw);
  figures['plt.show() to its event'] = summarize(samples.show);
  figures['display() to its event'] = summarize(samples.display);
  figures['print() to its event'] = summarize(samples.print);
  judge('plt.show() to its event p50 / savefig p50', p50('plt.show() to its event') / p50('savefig alone'), '<=', 1.2);
}

async function packages(): Promise<void> {
  say('packages ...');
  const { first, next, plain, checked } = await packageSamples(isQuick ? 3 : 5, Math.ceil(WARM_SAMPLES / 2));
  figures['exec, packages, first use'] = summarize(first);
  figures['exec, packages, next use'] = summarize(next);
  figures['exec, no packages'] = summarize(plain);
  figures['exec, packages, next use, checked'] = summarize(checked.next);
  figures['exec, no packages, beside it'] = summarize(checked.plain);
  judge(
    'second use of packages p50 / plain warm exec p50',
    p50('exec, packages, next use') / p50('exec, no packages'),
    '<=',
    1.05,
  );
  judge(
    'the same, checked for known vulnerabilities',
    p50('exec, packages, next use, checked') / p50('exec, no packages, beside it'),
    '<=',
    1.05,
  );
}

async function store(): Promise<void> {
  const stored = `${STORED.toLocaleString('en')} stored`;
  say(`${STORED.toLocaleString('en')} stored executions ...`);
  const { few, many } = await storeSamples(STORED, Math.ceil(WARM_SAMPLES / 2), isQuick ? 200 : 1000);
  figures['exec, next to nothing stored'] = summarize(few.run);
  figures[`exec, ${stored}`] = summarize(many.run);
  figures['fetch, next to nothing stored'] = summarize(few.fetch);
  figures[`fetch, ${stored}`] = summarize(many.fetch);
  for (const what of ['exec', 'fetch']) {
    const ratio = p50(`${what}, ${stored}`) / p50(`${what}, next to nothing stored`);
    judge(`${what} with ${stored} / with none`, ratio, '<=', 1.1);
  }
}

async function queue(): Promise<void> {
  say('a light caller beside a heavy one ...');
  const { waits, runMs, waiting } = await lightBesideHeavy(isQuick ? 200 : 1000, isQuick ? 5 : 40);
  figures['wait of the light caller'] = summarize(waits);
  notes.push(`the light caller's run waited beside ${String(waiting)} of another, each ${runMs.toFixed(0)} ms`);
  judge('longest wait of the light caller, in runs', Math.max(...waits) / runMs, '<=', 1.2);
}

async function pool(): Promise<void> {
  say('the pool beside a running program ...');
  judge('CPU-bound run while the pool refills', await slowdownWhileRefilling(isQuick ? 4 : 15), '<=', 1.1);
}

async function rest(): Promise<void> {
  say('at rest ...');
  const { service, sandboxes } = await cpuAtRestMs(4, 10);
  notes.push(
    `at rest for 10 s: ${service.toFixed(0)} ms of CPU by the service, ${sandboxes.toFixed(1)} ms by 4 sandboxes`,
  );
}

/** One program, many inputs: what judges do. */
async function inputs(): Promise<void> {
  say('one program, 200 inputs ...');
  await using service = await Service.start({ PYEXEC_POOL_SIZE: '2' });
  const list = Array.from({ length: 200 }, (_, index) => ({ stdin: `${String(index)}\n` }));
  const rates: number[] = [];
  for (let round = 0; round < (isQuick ? 3 : 10); round += 1) {
    await service.whenPoolIsFull();
    const started = performance.now();
    const { result } = await service.exec({ code: 'print(input())\n', inputs: list });
    rates.push((list.length / (performance.now() - started)) * 1000);
    const results = result['results'] as { stdout: string }[];
    if (results.some(({ stdout }, index) => stdout !== list[index]?.stdin))
      throw new Error('an input was answered wrongly');
  }
  judge('inputs of one program, per second', summarize(rates).p50, '>=', 150);
}

function report(): void {
  const rows = Object.entries(figures).map(([name, { samples, p50, p95, p99 }]) =>
    [
      name.padEnd(30),
      ...[p50, p95, p99].map((value) => value.toFixed(1).padStart(8)),
      String(samples).padStart(6),
    ].join(' '),
  );
  say(`\n${'milliseconds'.padEnd(30)}      p50      p95      p99      n`);
  for (const row of rows) say(row);
  say(`\n${'target'.padEnd(48)} measured    wanted`);
  for (const { target, measured, wanted, met } of ratios) {
    say(`${target.padEnd(48)} ${measured.padStart(8)}  ${wanted.padStart(8)}  ${met ? 'met' : 'MISSED'}`);
  }
  for (const note of notes) say(`* ${note}`);
  if (only || isQuick) return;
  const folder = fileURLToPath(new URL('../docs/bench/', import.meta.url));
  mkdirSync(folder, { recursive: true });
  const machine = { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, node: process.version };
  writeFileSync(`${folder}results.json`, `${JSON.stringify({ machine, figures, ratios, notes }, null, 2)}\n`);
  writeFileSync(`${folder}latency.svg`, latencyChart(figures));
}

const PARTS = {
  latency,
  gvisor,
  preimports,
  displays,
  packages,
  inputs,
  throughput,
  streaming,
  upload,
  burst,
  queue,
  store,
  pool,
  rest,
};
/** What `--quick` measures: the targets of the design. */
const TARGETS = ['latency', 'gvisor', 'preimports', 'throughput', 'streaming', 'upload', 'burst', 'queue', 'store'];
const names = only ?? (isQuick ? TARGETS : Object.keys(PARTS));
const unknown = names.filter((name) => !Object.hasOwn(PARTS, name));
if (unknown.length > 0) {
  say(`there is no ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}
for (const [name, part] of Object.entries(PARTS)) if (names.includes(name)) await part();
report();
