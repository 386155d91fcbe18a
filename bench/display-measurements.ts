/**
 * How long a figure takes from `plt.show()` to the client, beside what drawing it takes by itself; and
 * `display()` of a text, beside a `print`. Program and client read the same clock of the same machine.
 */
import { Service } from './service.ts';

const IMAGE = 'pyexec/data';

export interface DisplaySamples {
  /** From the call to the event at the client, in milliseconds. */
  readonly show: number[];
  /** `savefig` of the same figure into memory. */
  readonly draw: number[];
  readonly display: number[];
  readonly print: number[];
}

const program = (rounds: number) => `
import io, time
import matplotlib.pyplot as plt
def now(): return time.monotonic_ns() / 1e6
fig, ax = plt.subplots()
for n in range(${String(rounds + 2)}):
    ax.clear(); ax.plot(range(100)); ax.set_title(str(n))
    at = now(); fig.savefig(io.BytesIO(), format='png', bbox_inches='tight'); print('draw', now() - at)
    time.sleep(0.02)
    print('show', now()); plt.show()
    time.sleep(0.02)
    print('display', now()); display('x')
    time.sleep(0.02)
    print('print', now())
    time.sleep(0.02)
`;

/** Undefined where the image is not on this machine. */
export async function displaySamples(rounds: number): Promise<DisplaySamples | undefined> {
  let started: Service;
  try {
    started = await Service.start({ PYEXEC_DEFAULT_IMAGE: IMAGE, PYEXEC_POOL_SIZE: '1', PYEXEC_DISPLAYS: '1000' });
  } catch {
    return undefined;
  }
  await using service = started;
  await service.whenPoolIsFull();
  const { body } = await service.post(
    '/api/v1/exec',
    { 'content-type': 'application/json', accept: 'application/x-ndjson' },
    JSON.stringify({ code: program(rounds) }),
  );
  const samples: DisplaySamples = { show: [], draw: [], display: [], print: [] };
  /** What the next display is the display of, and since when it is on its way. */
  let awaited: ['show' | 'display', number] | undefined;
  let rest = '';
  for await (const chunk of body as AsyncIterable<Buffer>) {
    const arrivedMs = Number(process.hrtime.bigint()) / 1e6;
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const event = JSON.parse(line) as { type: string; data?: unknown; exit_code?: number };
      if (event.type === 'display' && awaited) samples[awaited[0]].push(arrivedMs - awaited[1]);
      if (event.type === 'result' && event.exit_code !== 0) throw new Error(line);
      if (event.type !== 'stdout') continue;
      for (const [, what, number] of String(event.data).matchAll(/(\w+) ([\d.]+)\n/g)) {
        const value = Number(number);
        if (what === 'show' || what === 'display') awaited = [what, value];
        else if (what === 'print') samples.print.push(arrivedMs - value);
        else samples.draw.push(value);
      }
    }
  }
  // The first two warm caches of fonts.
  for (const values of Object.values(samples) as number[][]) {
    if (values.length !== rounds + 2) throw new Error(`${String(values.length)} samples of ${String(rounds + 2)}`);
    values.splice(0, 2);
  }
  return samples;
}
