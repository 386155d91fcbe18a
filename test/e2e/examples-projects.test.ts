/**
 * The projects in examples/, run by the real service over HTTP. What they print is
 * compared with figures that other programs get from the same files.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { runForm, runTar, streamTar, type Arrival } from '../support/examples-client.ts';
import { shell, tarOf } from '../support/examples-commands.ts';
import { ROOT, startService, type ExampleService } from '../support/examples-service.ts';

let service: ExampleService;
beforeAll(async () => {
  const started = await startService();
  service = started;
  return async () => {
    expect(await started.stop()).toEqual({ code: 0, signal: null });
  };
});

const example = (name: string) => join(ROOT, 'examples', name);

describe('text-statistics', () => {
  const book = join(example('text-statistics'), 'devils-dictionary.txt');

  test('counts what wc, tr, sort and grep count', async () => {
    const execution = await runTar(service.url, await tarOf(example('text-statistics')), {
      arg: ['--json', '--top', '5'],
    });
    expect(execution).toMatchObject({ status: 'completed', outcome: { kind: 'exited', exit_code: 0 } });
    expect(execution.stderr).toMatch(/^counted in \d+ ms\n$/);

    const words = `tr -cs A-Za-z '\\n' < ${book} | tr A-Z a-z | grep .`;
    const wc = (await shell(`wc -lwc < ${book}`)).split(/\s+/).map(Number);
    const count = async (line: string) => Number(await shell(line));
    const frequent = await shell(`${words} | sort | uniq -c | sort -k1,1nr -k2,2 | sed -n 1,5p`);
    const nouns = await count(`grep -cE "^[A-Z][A-Z' -]*, n\\." ${book}`);
    const statistics = JSON.parse(execution.stdout ?? '') as Record<string, unknown>;
    expect(statistics).toMatchObject({
      lines: wc[0],
      tokens: wc[1],
      bytes: wc[2],
      words: await count(`${words} | wc -l`),
      different_words: await count(`${words} | sort -u | wc -l`),
      words_used_once: await count(`${words} | sort | uniq -u | wc -l`),
      sentences: await count(`grep -oE "[.!?]+[]\\"')]*([[:space:]]|$)" ${book} | wc -l`),
      entries: await count(`grep -cE "^[A-Z][A-Z' -]*, (n|adj|adv|pp|v\\.t|v\\.i|v)\\." ${book}`),
      entries_by_kind: { n: nouns },
      most_frequent: frequent.split('\n').map((line) => {
        const [number, word] = line.trim().split(' ');
        return [word, Number(number)];
      }),
    });
    // The book itself, so that a change to it is noticed.
    expect(statistics).toMatchObject({ bytes: 387_515, tokens: 60_879, sentences: 4_232, entries: 977 });
  });
});

describe('weather-report', () => {
  test('prints the means and sums awk finds, and draws without a warning', async () => {
    const folder = example('weather-report');
    const execution = await runTar(service.url, await tarOf(folder), {});
    expect(execution).toMatchObject({ outcome: { kind: 'exited', exit_code: 0 } });
    const figures = await shell(
      `LC_ALL=C awk -F, 'NR > 1 { rain[$2] += $4; wet[$2] += $4 > 0; if ($3 != "") { sum[$2] += $3; n[$2]++ } else gaps++ }
        END { for (s in n) printf "%s %.1f %.1f %d\\n", s, sum[s] / n[s], rain[s], wet[s]; print "gaps", gaps }' ${folder}/readings.csv | sort`,
    );
    const lines = figures
      .trim()
      .split('\n')
      .map((line) => line.split(' '));
    const [, gaps] = lines.find(([name]) => name === 'gaps') ?? [];
    expect(execution.stderr).toBe(`1095 readings, ${gaps ?? ''} without a temperature\n`);
    const stations = lines.filter(([name]) => name !== 'gaps');
    expect(stations).toHaveLength(3);
    for (const [station = '', mean = '', rain = '', wet = ''] of stations) {
      const row = execution.stdout?.split('\n').find((line) => line.startsWith(station)) ?? '';
      const [, printedMean, , , printedRain, printedWet] = row.split(/\s+/);
      expect([printedMean, printedRain, printedWet]).toEqual([mean, rain, wet]);
    }
    expect(execution.stdout).toContain('chart.png: 800 × 400 pixels');
  });
});

describe('package-with-subpackages', () => {
  const units = async (...args: string[]) =>
    runTar(service.url, await tarOf(example('package-with-subpackages')), { module: 'units', arg: args });

  test('runs as python -m, across its sub-packages', async () => {
    expect(await units('3 km + 200 m in mi')).toMatchObject({
      status: 'completed',
      exit_code: 0,
      stdout: `${(3200 / 1609.344).toPrecision(6)} mi\n`,
    });
  });

  test('reads its data file as a resource', async () => {
    const execution = await units('--list');
    const csv = await readFile(join(example('package-with-subpackages'), 'units/data/units.csv'), 'utf8');
    const names = csv
      .trim()
      .split('\n')
      .slice(1)
      .map((row) => row.split(',')[0]);
    const listed = (execution.stdout ?? '')
      .trim()
      .split('\n')
      .flatMap((line) => line.split(': ')[1]?.split(' '));
    expect(listed).toEqual(names);
  });

  test('answers a mistake with a sentence and exit code 2', async () => {
    expect(await units('3 km + 2 kg in m')).toMatchObject({
      status: 'completed',
      exit_code: 2,
      outcome: { kind: 'exited', exit_code: 2 },
      stderr: 'units: kg is a mass, m a length\n',
    });
  });
});

describe('csv-report', () => {
  const report = async (stdin: string, args: readonly string[] = ['--format', 'json']) =>
    runForm(service.url, await tarOf(example('csv-report')), { stdin, args });
  const orders = join(example('csv-report'), 'orders.csv');
  /** The rows the report must use, found without Python: complete, quoted nowhere, every field as it should be. */
  const usable = `awk -F, 'NR > 1 && NF == 5 && $2 != "2025-02-30" && $3 != "" && $4 > 0 && $5 ~ /^[0-9]+\\.[0-9]+$/ && !seen[$1]++' ${orders}`;

  test('adds up to the cent what awk adds up in cents, and says which rows it left out', async () => {
    const execution = await report(await readFile(orders, 'utf8'));
    const cents = await shell(`${usable} | awk -F, '{ sub(/\\./, "", $5); sum += $4 * $5 } END { printf "%d", sum }'`);
    const east = await shell(
      `${usable} | awk -F, '$3 == "East" { sub(/\\./, "", $5); sum += $4 * $5 } END { printf "%d", sum }'`,
    );
    const asAmount = (text: string) => `${text.slice(0, -2)}.${text.slice(-2)}`;
    expect(JSON.parse(execution.stdout ?? '')).toMatchObject({
      orders: Number(await shell(`${usable} | wc -l`)),
      rejected: 6,
      first_day: await shell(`${usable} | cut -d, -f2 | sort | sed -n 1p`),
      last_day: await shell(`${usable} | cut -d, -f2 | sort | sed -n '$p'`),
      total: asAmount(cents),
      by_region: { East: asAmount(east) },
    });
    expect(execution.stderr?.trimEnd().split('\n')).toEqual([
      "line 19: date '2025-02-30' is not a day",
      'line 98: quantity -2 is not above zero',
      "line 153: unit_price '12,50' is not a number",
      'line 205: order A0203 was there before',
      'line 290: region is empty',
      'line 335: the number of fields is not that of the header',
    ]);
    expect(execution).toMatchObject({ status: 'completed', exit_code: 1 });
  });

  test('exits with 0 when every row is used, with 2 when none is', async () => {
    const header = 'order,date,region,quantity,unit_price\n';
    const good = await report(`${header}A1,2026-01-02,Île-de-France,3,0.10\n`, ['--format', 'both']);
    expect(good).toMatchObject({ exit_code: 0 });
    expect(good).not.toHaveProperty('stderr', expect.stringMatching(/./));
    expect(good.stdout).toContain('Île-de-France         0.30 100.0%');
    expect(await report(header)).toMatchObject({ exit_code: 2, stderr: 'no report: there is no usable row\n' });
    expect(await report('')).toMatchObject({
      exit_code: 2,
      stderr: 'no report: the header has no order, date, region, quantity, unit_price\n',
    });
  });
});

describe('long-computation', () => {
  test('is seen working: its lines arrive over time, as they are printed', async () => {
    const arrivals: Arrival[] = [];
    const query = { arg: ['--limit', '200000000', '--segments', '25'] };
    for await (const arrival of streamTar(service.url, await tarOf(example('long-computation')), query)) {
      arrivals.push(arrival);
    }
    const output = arrivals.filter(({ event }) => event.type === 'stdout');
    const text = output.map(({ event }) => (event.type === 'stdout' ? event.data : '')).join('');
    const lines = text.trimEnd().split('\n');
    expect(lines).toHaveLength(26);
    // The number of primes below 2 * 10^8, known from tables.
    expect(lines.at(-1)).toBe('pi(200000000) = 11078937');

    const end = arrivals.at(-1);
    expect(end?.event).toMatchObject({ type: 'result', status: 'completed', exit_code: 0 });
    expect(arrivals.map(({ event }) => event.seq)).toEqual(arrivals.map((_, index) => index + 1));

    const first = output[0]?.atMs ?? Infinity;
    const endMs = end?.atMs ?? 0;
    const wallMs = (end?.event.type === 'result' && end.event.usage?.wall_ms) || 0;
    expect(wallMs).toBeGreaterThan(500);
    // Nearly the whole run lies between the first line and the end; in a buffered run nothing would.
    expect(endMs - first).toBeGreaterThan(wallMs * 0.7);
    // Each quarter of that time brings lines.
    const quarters = new Set(output.map(({ atMs }) => Math.min(3, Math.floor((4 * (atMs - first)) / (endMs - first)))));
    expect([...quarters].sort()).toEqual([0, 1, 2, 3]);
    expect(output.length).toBeGreaterThanOrEqual(12);
  });
});
