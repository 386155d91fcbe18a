/**
 * Every kind of thing a program can show, and things that go wrong while they are shown: each
 * arrives in the form it has, and the program goes on as if nothing had been.
 */
import { describe, expect, it } from 'vitest';
import type { Display } from '../../../src/domain/displays.ts';
import type { RunRequest } from '../../../src/domain/plan.ts';
import type { Files } from '../../support/engine.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const DATA = 'pyexec/data:latest';
const sandbox = sandboxForFile({ PYEXEC_DISPLAYS: '200', PYEXEC_DISPLAY_MB: '32' });
const show = async (program: string | Files, request: Partial<RunRequest> = {}) => {
  const run = await sandbox.run(program, { wantsDisplays: true, image: DATA, ...request });
  return { ...run, displays: run.displays ?? [] };
};
const plain = (program: string, request: Partial<RunRequest> = {}) =>
  show(program, { image: 'pyexec/slim:latest', ...request });
const typesOf = ({ data }: Display) => Object.keys(data).join(' ');
const textOf = ({ data }: Display) => data['text/plain'];

function pixelsOf({ data }: Display): number {
  const bytes = Buffer.from(String(data['image/png']), 'base64');
  expect(bytes.subarray(1, 4).toString()).toBe('PNG');
  return bytes.readUInt32BE(16) * bytes.readUInt32BE(20);
}

describe('figures', () => {
  it('of many kinds, by pandas too; those that were closed are nobody’s', async () => {
    const run = await show(
      `
import matplotlib.pyplot as plt, numpy as np, pandas as pd
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure
fig, axes = plt.subplots(2, 2); axes[0, 0].imshow(np.eye(9)); plt.show()
ax = plt.figure().add_subplot(projection='3d'); ax.plot_surface(*np.meshgrid([0, 1], [0, 1]), np.ones((2, 2))); ax.figure.show()
pd.DataFrame({'a': [1, 3], 'b': [2, 1]}).plot(kind='bar', title='bars'); plt.show()
pd.Series([1, 2, 2]).hist(); plt.savefig('hist.png'); plt.show(block=False)
plt.close('all')
moving, ax = plt.subplots(); line, = ax.plot([0]);
animation = FuncAnimation(moving, lambda n: line.set_data([0, n], [0, n]), frames=3); animation.save('moving.gif', PillowWriter(fps=2)); plt.close()
alone = Figure(); alone.subplots().plot([1, 2]); display(alone)
plt.plot([1]); plt.close()
plt.figure(figsize=(2, 1)); plt.text(.5, .5, r'$\\int_0^1 x^2$')
`,
      { artifacts: { patterns: [], inlineBytes: 0 } },
    );
    expect([run.outcome, run.stderr]).toMatchObject([{ exit_code: 0 }, '']);
    expect(run.displays.map(typesOf)).toEqual(Array(6).fill('text/plain image/png'));
    expect(run.artifacts?.map(({ path }) => path)).toEqual(['hist.png', 'moving.gif']);
  });

  it('a hundred left open: those there was time to draw, and a word about each of the others', async () => {
    const run = await show(`
import matplotlib.pyplot as plt
plt.rcParams['figure.max_open_warning'] = 0
for n in range(100): plt.figure(figsize=(6, 4)).gca().plot(range(n + 1))
`);
    expect(run.displays).toHaveLength(100);
    const [drawn, told] = [
      run.displays.filter(({ data }) => data['image/png']),
      run.displays.filter((d) => d.truncated),
    ];
    expect(drawn.length).toBeGreaterThan(3);
    expect(drawn.length + told.length).toBe(100);
  });

  it('too large for memory or for a display are drawn smaller, and say so', async () => {
    const run = await show(
      `
import matplotlib.pyplot as plt, numpy as np
plt.figure(figsize=(300, 300)); plt.plot([1]); plt.show(); plt.close()
plt.figure(figsize=(25, 25)); plt.imshow(np.random.default_rng(1).integers(0, 256, (2000, 2000, 3), dtype='uint8')); plt.show(); plt.close()
print('done')
`,
      { limits: { memory_bytes: 1 << 30 } },
    );
    expect([run.stdout, run.stderr]).toEqual(['done\n', '']);
    expect(run.displays.map((display) => [typesOf(display), display.truncated])).toEqual(
      Array(2).fill(['text/plain image/png', true]),
    );
    for (const display of run.displays) expect(pixelsOf(display)).toBeLessThan(13e6);
  });
});

describe('pictures', () => {
  it('in every mode, shown, displayed and as a last value', async () => {
    const modes = ['1', 'L', 'P', 'RGB', 'RGBA', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'I', 'F', 'LA', 'I;16'];
    const run = await show(
      `
from PIL import Image
for mode in ${JSON.stringify(modes)}:
    image = Image.new(mode, (3, 2)); image.show(); display(image)
Image.new('F', (3, 2))
`,
      { wantsLastValue: true },
    );
    expect([run.outcome, run.stderr]).toMatchObject([{ exit_code: 0 }, '']);
    expect(run.displays).toHaveLength(2 * modes.length + 1);
    // What cannot be made an RGB picture is told by its name.
    const without = run.displays.filter(({ data }) => data['image/png'] === undefined);
    expect(new Set(without.map((display) => /mode=(\S+)/.exec(String(textOf(display)))?.[1])).size).toBeLessThan(2);
    for (const display of run.displays.filter((d) => d.data['image/png'])) expect(pixelsOf(display)).toBe(6);
    expect(run.displays.some(({ data }) => 'image/jpeg' in data)).toBe(false);
  });
});

describe('tables and formulas', () => {
  it('of pandas, numpy and sympy', async () => {
    const run = await show(`
import pandas as pd, numpy as np, sympy
wide = pd.DataFrame(np.zeros((1000, 60)), columns=['ä%d' % n for n in range(60)])
display(pd.DataFrame({'a': [1]}), wide, pd.Series([1, 2], name='s'), pd.DataFrame(), np.arange(3), pd.DataFrame({'漢': ['<b>&']}))
try: display(pd.DataFrame({'a': [1]}).style.highlight_max())
except (ImportError, AttributeError): print('no jinja2')
x = sympy.Symbol('x'); display(sympy.Integral(x**2, x), sympy.Matrix([[x, 1]]))
`);
    expect([run.outcome, run.stderr]).toMatchObject([{ exit_code: 0 }, '']);
    const types = run.displays.map(typesOf);
    expect(types.slice(0, 6)).toEqual([
      'text/plain text/html',
      'text/plain text/html',
      'text/plain',
      'text/plain text/html',
      'text/plain',
      'text/plain text/html',
    ]);
    expect(types.slice(-2)).toEqual(['text/plain text/latex', 'text/plain text/latex']);
    expect(run.displays.at(-2)?.data['text/latex']).toMatch(/\\int x\^\{2\}/);
    expect(run.displays[5]?.data['text/html']).toContain('&lt;b&gt;&amp;');
    expect(String(run.displays[1]?.data['text/html']).length).toBeLessThan(100_000);
  });
});

describe('objects with forms of their own', () => {
  it('that raise, are of another type, print, have names of nothing, or show themselves', async () => {
    const run = await plain(`
import sys
def thing(**methods): return type('Thing', (), {'__repr__': lambda self: 'thing', **methods})()
def boom(self, **_): raise ValueError('no')
display(thing(_repr_html_=boom), thing(_repr_mimebundle_=boom, _repr_html_=lambda self: '<i>'))
display(thing(_repr_html_=lambda self: 5), thing(_repr_png_=lambda self: 'not base64!'), thing(_repr_mimebundle_=lambda self, **_: 7))
display(thing(_repr_html_=lambda self: print('printed') or '<p>'))
display(thing(_repr_mimebundle_=lambda self, **_: {'Text/HTML': 'x', 'text/x y': 'y', 3: 'z', 'text/x-ok': 'ok', '': ''}))
display(thing(_repr_mimebundle_=lambda self, **_: ({'text/html': '<a>'}, {'text/html': {'isolated': True}})), metadata={'m': 1})
display(thing(_repr_png_=lambda self: (b'\\x89PNG', {'width': 3})))
display(thing(__repr__=boom), thing(_repr_html_=lambda self: display(self) or '<r>'))
recursive = thing(__repr__=lambda self: display(self) or 'r'); display(recursive)
display(thing(_ipython_display_=lambda self: print('itself')), thing(_ipython_display_=boom))
class Any:
    def __getattr__(self, name): return lambda *a, **k: 'everything'
    def __repr__(self): return 'any'
display(Any(), Any, None, 'text', b'\\xff', 'lone \\udc80')
display()
print('end')
`);
    expect([run.stderr, run.stdout]).toEqual(['', 'printed\nitself\nend\n']);
    expect(run.displays.map(({ data, metadata }) => (metadata ? [data, metadata] : data))).toEqual([
      { 'text/plain': 'thing' },
      { 'text/plain': 'thing', 'text/html': '<i>' },
      { 'text/plain': 'thing' },
      { 'text/plain': 'thing' },
      { 'text/plain': 'thing' },
      { 'text/plain': 'thing', 'text/html': '<p>' },
      { 'text/plain': 'thing', 'text/x-ok': 'ok' },
      [
        { 'text/plain': 'thing', 'text/html': '<a>' },
        { 'text/html': { isolated: true }, m: 1 },
      ],
      [{ 'text/plain': 'thing', 'image/png': 'iVBORw==' }, { 'image/png': { width: 3 } }],
      { 'text/plain': '<Thing object; its repr() raised ValueError>' },
      { 'text/plain': expect.stringMatching(/^<__main__\.Thing object at 0x/) as string },
      { 'text/plain': 'thing', 'text/html': '<r>' },
      { 'text/plain': expect.stringMatching(/^<__main__\.Thing object at 0x/) as string },
      { 'text/plain': 'r' },
      { 'text/plain': 'thing' },
      { 'text/plain': 'any' },
      { 'text/plain': "<class '__main__.Any'>" },
      { 'text/plain': 'None' },
      { 'text/plain': "'text'" },
      { 'text/plain': "b'\\xff'" },
      { 'text/plain': "'lone \\udc80'" },
    ]);
  });

  it('JSON: what JSON does not have becomes what it has', async () => {
    const run = await show(`
import numpy as np, datetime, json
class J:
    def __init__(self, value): self.value = value
    def __repr__(self): return 'j'
    def _repr_json_(self): return self.value
loop = []; loop.append(loop)
for value in ({'nan': [float('nan'), float('inf'), 1.5]}, {'n': np.int64(3), 'a': np.arange(2), 's': {1}}, {'d': datetime.date(2026, 1, 2), 1: 'x'},
              '{"text": 1}', 'text', loop, {(1,): 1}, [0] * 600_000):
    display(J(value))
`);
    expect(run.stderr).toBe('');
    expect(run.displays.map(({ data }) => data['application/json'])).toEqual([
      { nan: [null, null, 1.5] },
      { n: 3, a: [0, 1], s: [1] },
      { d: '2026-01-02', 1: 'x' },
      { text: 1 },
      'text',
      undefined,
      undefined,
      undefined,
    ]);
    expect(run.displays.map(({ truncated }) => truncated)).toEqual([...Array<undefined>(7), true]);
  });

  it('a text too long for a display is cut; a handle shows again under its id', async () => {
    const run = await plain(`
class Long:
    def __repr__(self): return 'é' * (3 << 20)
display(Long())
handle = display('first', display_id='id'); handle.update('second', metadata={'m': 1}); print(display(1, display_id=True).display_id)
`);
    expect([String(run.displays[0]?.data['text/plain']).length, run.displays[0]?.truncated]).toEqual([32768, true]);
    expect(run.displays.slice(1).map(({ data, metadata }) => [data['text/plain'], metadata])).toEqual([
      ["'first'", { display_id: 'id' }],
      ["'second'", { m: 1, update: true, display_id: 'id' }],
      ['1', { display_id: run.stdout?.trim() }],
    ]);
  });
});

describe('whoever shows it', () => {
  it('threads, asyncio, forks and more processes than there are places', async () => {
    const run = await plain(`
import threading, asyncio, os, multiprocessing
def one(n): display(n)
threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
async def main(): await asyncio.gather(*(asyncio.to_thread(one, n) for n in range(20, 30)))
asyncio.run(main())
children = []
barrier = multiprocessing.get_context('fork').Barrier(40)
for n in range(30, 70):
    pid = os.fork()
    if pid == 0:
        display(n); barrier.wait(); display(n + 40); os._exit(0)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
display('end')
`);
    expect(run.stderr).toBe('');
    const shown = run.displays.map(textOf);
    expect(shown.at(-1)).toBe("'end'");
    expect(
      shown
        .slice(0, -1)
        .map(Number)
        .sort((a, b) => a - b),
    ).toEqual(Array.from({ length: 110 }, (_, n) => n));
  });

  it('a program that closes every descriptor and opens others keeps those as they are', async () => {
    const run = await plain(`
import os, socket
display(1)
os.closerange(3, 256)
a, b = socket.socketpair(); c, d = socket.socketpair(); b.setblocking(False); a.setblocking(False)
display(2); display(3)
for end in (a, b):
    try: print(end.recv(10))
    except BlockingIOError: print('untouched')
a.send(b'x'); print(b.recv(1))
del a, b
`);
    expect([run.stderr, run.stdout]).toEqual(['', "untouched\nuntouched\nb'x'\n"]);
    expect(run.displays.map(textOf)).toEqual(['1', '2', '3']);
  });

  it('a program with a display of its own has its own', async () => {
    const run = await plain(`
def display(x): print('mine', x)
display(3)
import builtins; builtins.display(4)
`);
    expect([run.stdout, run.displays.map(textOf)]).toEqual(['mine 3\n', ['4']]);
  });

  it('one that asks for IPython is told that it needs none', async () => {
    const run = await plain('from IPython.display import display, HTML\n');
    expect(run.hint).toMatch(/display\(\) is there without an import/);
  });
});
