/**
 * What a program shows arrives as it is shown, in order with what it prints, and a
 * program that shows nothing meets nothing of it. The pictures are real: matplotlib,
 * pandas and Pillow of the data image.
 */
import { describe, expect, it } from 'vitest';
import { ANONYMOUS } from '../../../src/domain/caller.ts';
import type { ExecutionEvent } from '../../../src/domain/events.ts';
import type { RunRequest } from '../../../src/domain/plan.ts';
import { projectOf, runRequest, type Files } from '../../support/engine.ts';
import { eventsOf } from '../../support/events.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const DATA = 'pyexec/data:latest';
const sandbox = sandboxForFile({ PYEXEC_DISPLAYS: '5', PYEXEC_DISPLAY_MB: '1' });
const show = (program: string | Files, request: Partial<RunRequest> = {}) =>
  sandbox.run(program, { wantsDisplays: true, ...request });
const plot = (program: string | Files, request: Partial<RunRequest> = {}) => show(program, { image: DATA, ...request });

/** What happened, in order: the text of output, the media types of displays. */
async function story(program: string | Files, request: Partial<RunRequest> = {}): Promise<string[]> {
  const { engine } = sandbox.engine;
  const submitted = await engine.executions.submit(
    runRequest({ wantsDisplays: true, ...request }),
    await projectOf(engine, program),
    ANONYMOUS,
  );
  const told: string[] = [];
  for await (const event of eventsOf(submitted.follow(0, new AbortController().signal))) told.push(lineOf(event));
  return told.filter((line) => line !== 'status');
}

const lineOf = (event: ExecutionEvent): string =>
  event.type === 'stdout' || event.type === 'stderr'
    ? event.data
    : event.type === 'display'
      ? Object.keys(event.data).join(' ')
      : event.type === 'result'
        ? `exit ${String(event.exit_code)}`
        : event.type;

function sizeOf(png: unknown): [width: number, height: number] {
  const bytes = Buffer.from(String(png), 'base64');
  expect(bytes.subarray(1, 4).toString()).toBe('PNG');
  return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
}

describe('figures', () => {
  it('come when they are shown, after what was printed before and before what is printed after', async () => {
    const events = await story(
      `
import matplotlib.pyplot as plt, sys
print('before', end='')
plt.plot([1, 2, 3])
plt.show()
print('after')
sys.stderr.write('error\\n')
plt.figure()
plt.bar([1, 2], [3, 4])
plt.show()
`,
      { image: DATA },
    );
    expect(events).toEqual(['before', 'text/plain image/png', 'after\n', 'error\n', 'text/plain image/png', 'exit 0']);
  });

  it('come at the end when they are still open and were not shown, also after sys.exit', async () => {
    const left = await plot(`
import matplotlib
matplotlib.use('Agg')
from matplotlib import pyplot as plt
fig, ax = plt.subplots(figsize=(3, 2), dpi=100)
ax.set_title('é 漢字')
ax.plot([1, 2]); fig.savefig('saved.png')
plt.figure(); plt.plot([5, 4]); plt.close()
import sys; sys.exit(0)
`);
    expect(left.stderr).toBe('');
    expect(left.displays).toHaveLength(1);
    const [width, height] = sizeOf(left.displays?.[0]?.data['image/png']);
    expect(width).toBeGreaterThan(200);
    expect(height).toBeGreaterThan(100);
    const shown = await plot(`import matplotlib.pyplot as plt; plt.plot([1]); plt.show(); plt.show()`);
    expect(shown.displays).toHaveLength(1);
    const changed = await plot(`import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show(); plt.title('a')`);
    expect(changed.displays).toHaveLength(2);
    const cleared = await plot(
      `import matplotlib.pyplot as plt\nfor n in (1, 2, 3): plt.plot([n]); plt.suptitle('t'); plt.show(); plt.clf()`,
    );
    expect(cleared.displays).toHaveLength(3);
    const blank = await plot(`import matplotlib.pyplot as plt; plt.figure()`);
    expect(blank.displays).toHaveLength(1);
    const crashed = await plot(`import matplotlib.pyplot as plt; plt.plot([1]); raise ValueError('no')`);
    expect(crashed).not.toHaveProperty('displays');
    expect(crashed.stderr).toMatch(/^Traceback[^]*ValueError: no\n$/);
  });

  it('stay open and as they are: what is saved after they were shown is what was drawn', async () => {
    const run = await plot(`
import matplotlib.pyplot as plt
plt.plot([1, 2, 3]); plt.savefig('a.png'); plt.show(); plt.savefig('b.png')
print(open('a.png', 'rb').read() == open('b.png', 'rb').read(), plt.get_fignums())
`);
    expect(run.stdout).toBe('True [1]\n');
  });

  it('of a forked child are its own, and those of the parent are not shown twice', async () => {
    const run = await plot(`
import os, sys, matplotlib.pyplot as plt
plt.plot([1]); plt.show()
if os.fork() == 0:
    plt.plot([2, 3]); plt.show(); sys.exit(0)
os.wait()
`);
    expect(run.displays).toHaveLength(2);
  });

  it('are nothing to a run that does not want them', async () => {
    const run = await plot('import matplotlib.pyplot as plt; plt.plot([1]); plt.show(); display(1)', {
      wantsDisplays: false,
    });
    expect(run.stderr).toMatch(/NameError: name 'display' is not defined/);
    expect(run).not.toHaveProperty('displays');
  });
});

describe('wherever the program begins', () => {
  const PLOT =
    'import matplotlib.pyplot as plt\nprint("a")\nplt.plot([1])\nplt.show()\nprint("b")\ndisplay(3)\nplt.plot([2])\n';
  const WHOLE = ['a\n', 'text/plain image/png', 'b\n', 'text/plain', 'text/plain image/png', 'exit 0'];
  const SPAWN = (method: string) => `
import multiprocessing, helper
if __name__ == '__main__':
    context = multiprocessing.get_context('${method}')
    for n in range(2):
        process = context.Process(target=helper.plot, args=(n,)); process.start(); process.join()
    with context.Pool(1) as pool: print(pool.map(helper.plot, [5]))
`;

  it.each([
    ['a module', { 'pkg/__init__.py': '', 'pkg/__main__.py': PLOT }, { kind: 'module', name: 'pkg' }],
    ['a module in a file', { 'tool.py': PLOT }, { kind: 'module', name: 'tool' }],
    ['a folder', { 'app/__main__.py': PLOT }, { kind: 'script', path: 'app' }],
    ['a file without .py', { plot: PLOT }, { kind: 'script', path: 'plot' }],
  ] as const)('%s', async (_, files, entryPoint) => {
    expect(await story(files, { image: DATA, entryPoint })).toEqual(WHOLE);
  });

  it('in a module of the project that main imports', async () => {
    expect(await story({ 'main.py': 'import lib.shows', 'lib/shows.py': PLOT }, { image: DATA })).toEqual(WHOLE);
  });

  it.each(['spawn', 'forkserver', 'fork'])('in processes that multiprocessing starts by %s', async (method) => {
    const run = await plot({
      'main.py': SPAWN(method),
      'helper.py':
        'import matplotlib.pyplot as plt\ndef plot(n):\n    plt.plot([n]); plt.show(); display(n); return n\n',
    });
    expect([run.stderr, run.stdout]).toEqual(['', '[5]\n']);
    expect(run.displays?.slice(0, 4).map(({ data }) => Object.keys(data).join(' '))).toEqual([
      'text/plain image/png',
      'text/plain',
      'text/plain image/png',
      'text/plain',
    ]);
  });
});

describe('other things', () => {
  it('display() shows each object in every form it has, without an import', async () => {
    const run = await plot(`
import pandas as pd
class Both:
    def __repr__(self): return 'both'
    def _repr_svg_(self): return '<svg/>'
    def _repr_json_(self): return {'a': [1, None]}
class Bundle:
    def _repr_mimebundle_(self, include=None, exclude=None): return {'text/plain': 'b', 'application/vnd.x+json': {'x': 1}}, {}
class Broken:
    def __repr__(self): return 'broken'
    def _repr_html_(self): raise ValueError
display(pd.DataFrame({'a': [1]}), Both())
display(Bundle(), metadata={'m': 1})
display(Broken(), 'text')
`);
    expect(run.outcome, run.stderr).toMatchObject({ exit_code: 0 });
    expect(run.displays?.map(({ data }) => data)).toEqual([
      { 'text/plain': '   a\n0  1', 'text/html': expect.stringMatching(/<table/) as string },
      { 'text/plain': 'both', 'image/svg+xml': '<svg/>', 'application/json': { a: [1, null] } },
      { 'text/plain': 'b', 'application/vnd.x+json': { x: 1 } },
      { 'text/plain': 'broken' },
      { 'text/plain': "'text'" },
    ]);
    expect(run.displays?.[2]?.metadata).toEqual({ m: 1 });
  });

  it('pictures are shown by Image.show()', async () => {
    const run = await plot(`from PIL import Image; Image.new('CMYK', (7, 5)).show(); print('shown')`);
    expect(run.stderr).toBe('');
    expect(sizeOf(run.displays?.[0]?.data['image/png'])).toEqual([7, 5]);
  });

  it('the value of the last expression, where it has more than its repr()', async () => {
    const table = await plot(`import pandas as pd\npd.DataFrame({'a': [1]})`, { wantsLastValue: true });
    expect(table.result).toBe('   a\n0  1');
    expect(Object.keys(table.displays?.[0]?.data ?? {})).toEqual(['text/plain', 'text/html']);
    const plain = await show('x = [1]\nx', { wantsLastValue: true });
    expect([plain.result, plain.displays]).toEqual(['[1]', undefined]);
  });
});

describe('limits', () => {
  it('the count and the bytes of all displays, what did not fit counted', async () => {
    const many = await show(`for n in range(9): display(n)`);
    expect(many.displays?.map(({ data }) => data['text/plain'])).toEqual(['0', '1', '2', '3', '4']);
    expect(many.truncated).toEqual({ displays: { omitted_count: 4 } });
    const large = await show(`
class Page:
    def __init__(self, size): self.size = size
    def __repr__(self): return 'page %d' % self.size
    def _repr_html_(self): return 'x' * self.size
display(Page(10)); display(Page(900_000)); display(Page(200_000)); display(Page(5 << 20)); display(Page(20))
`);
    expect(
      large.displays?.map(({ data, truncated }) => [
        data['text/plain'],
        (data['text/html'] as string | undefined)?.length ?? 0,
        truncated,
      ]),
    ).toEqual([
      ['page 10', 10, undefined],
      ['page 900000', 900_000, undefined],
      ['page 200000', 0, true],
      ['page 5242880', 0, true],
      ['page 20', 20, undefined],
    ]);
  });
});

describe('a hostile client of the display socket', () => {
  const CLIENT = `
import socket, os, threading, time
def connect():
    s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(b'\\0pyexec-display'); return s
def message(body): return len(body).to_bytes(4, 'big') + body
def part(name, body): return bytes((len(name),)) + name + len(body).to_bytes(4, 'big') + body
def good(text): return message(bytes((0, 1)) + part(b'text/plain', text))
`;

  it('control: what it sends in the right form is shown, also from an interpreter of its own', async () => {
    const run = await show({
      'main.py': `import subprocess, sys; print('a'); subprocess.run([sys.executable, 'other.py'], check=True); print('b')`,
      'other.py': `${CLIENT}\ns = connect(); s.sendall(good('é'.encode())); assert s.recv(1) == b'\\1'`,
    });
    expect(run.stderr).toBe('');
    expect(run.displays).toEqual([{ data: { 'text/plain': 'é' } }]);
  });

  it('can neither stop the run nor break it with what is no display', async () => {
    const run = await show(`${CLIENT}
def try_to(data):
    s = connect()
    try:
        s.sendall(data); s.recv(1)
    except OSError: pass
    s.close()
for data in (b'', b'\\xff' * 5, message(b''), message(b'\\0'), message(b'\\0\\0'), message(b'\\2\\1' + part(b'text/plain', b'x')),
             message(b'\\0\\xff' + part(b'a/b', b'')), message(b'\\0\\1' + part(b'text/plain', b'x') + b'junk'),
             message(b'\\0\\1\\xfftext'), message(b'\\0\\1' + part(b'Text/\\nplain', b'x')), message(b'\\0\\1' + part(b'', b'x')),
             message(b'\\0\\1\\x0atext/plain\\xff\\xff\\xff\\xff')):
    try_to(data)
idle = []
for n in range(50):
    try: idle.append(connect())
    except OSError: break
held = idle[0]; held.sendall(b'\\0')
print('alive')
`);
    expect(run.outcome, run.stderr).toMatchObject({ kind: 'exited', exit_code: 0 });
    expect(run.stdout).toBe('alive\n');
    expect(run.displays).toBeUndefined();
    expect(run.truncated?.displays?.omitted_count).toBeGreaterThan(5);
  });

  it('is shown nothing of what is no UTF-8, no JSON, too deep, or a name of nothing', async () => {
    const run = await show(`${CLIENT}
s = connect()
def say(*parts): s.sendall(message(bytes((0, len(parts))) + b''.join(part(*p) for p in parts))); s.recv(1)
say((b'text/plain', b'one'), (b'text/html', b'\\xff'), (b'application/json', b'{'), (b'text', b'x'), (b'text/plain', b'two'))
say((b'text/plain', b'two'), (b'application/json', b'[' * 5000 + b']' * 5000), (b'metadata', b'[1]'))
say((b'image/png', b'\\xff\\0'), (b'application/json', b'{"__proto__": {"x": 1}}'))
say((b'text/html', b'\\xff'))
`);
    expect(run.displays).toEqual([
      { data: { 'text/plain': 'one' } },
      { data: { 'text/plain': 'two' } },
      { data: { 'image/png': '/wA=', 'application/json': JSON.parse('{"__proto__": {"x": 1}}') as unknown } },
    ]);
  });

  it('does not hold the deadline, however much it sends', async () => {
    const run = await show(
      `${CLIENT}
def flood():
    while True:
        try:
            s = connect()
            while True: s.send(good(b'x' * 1000))
        except OSError: pass
for n in range(8): threading.Thread(target=flood, daemon=True).start()
flood()
`,
      { limits: { wall_ms: 1500 } },
    );
    expect(run.outcome).toMatchObject({ kind: 'timed_out', limit: 'wall_ms' });
    expect(run.displays).toHaveLength(5);
  });
});
