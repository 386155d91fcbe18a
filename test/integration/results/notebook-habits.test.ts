/**
 * What people and models write out of habit, as in a notebook: it works, or the result says
 * what to do instead. Nothing that was shown is left out without a word.
 */
import { describe, expect, it } from 'vitest';
import type { RunRequest } from '../../../src/domain/plan.ts';
import type { Files } from '../../support/engine.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();
const data = (program: string | Files, request: Partial<RunRequest> = {}) =>
  sandbox.run(program, { wantsDisplays: true, image: 'pyexec/data:latest', ...request });
const slim = (program: string, request: Partial<RunRequest> = {}) =>
  sandbox.run(program, { wantsDisplays: true, image: 'pyexec/slim:latest', ...request });

/** The pool's worker is ended; who waits for it learns of that from nobody. */
const WORKER = `
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('fork')) as pool:
    pool.submit(bytearray, 1 << 30).result()
`;

describe('in the data image', () => {
  it('IPython.display shows what it is asked to', async () => {
    const run = await data(`
from IPython.display import display, HTML, Image, Markdown, JSON, SVG, Latex, Javascript
import base64
pixel = base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==')
display(HTML('<b>x</b>'), Markdown('# x'), JSON({'a': 1}), Latex('$x$'), Image(data=pixel), SVG('<svg xmlns="http://www.w3.org/2000/svg"/>'))
display({'text/html': '<i>'}, raw=True)
`);
    expect([run.outcome, run.stderr]).toMatchObject([{ exit_code: 0 }, '']);
    expect(run.displays?.map((display) => Object.keys(display.data).at(-1))).toEqual([
      'text/html',
      'text/markdown',
      'application/json',
      'text/latex',
      'image/png',
      'image/svg+xml',
      'text/html',
    ]);
  });

  it('styled tables, and tables as text', async () => {
    const run = await data(
      `
import pandas as pd
frame = pd.DataFrame({'a': [1, 2]})
print(frame.to_markdown())
frame.style.highlight_max()
`,
      { wantsLastValue: true },
    );
    expect(run.stdout).toContain('|  0 |   1 |');
    expect(run.displays?.[0]?.data['text/html']).toMatch(/<style/);
  });

  it('a figure as the last expression is shown once, also where it is left open', async () => {
    const program = 'import matplotlib.pyplot as plt\nfig, ax = plt.subplots(); ax.plot([1, 2])\n';
    expect((await data(`${program}fig`, { wantsLastValue: true })).displays).toHaveLength(1);
    expect((await data(`${program}display(fig); ax.plot([2, 1])`)).displays).toHaveLength(2);
  });

  it('a figure that cannot be drawn says why, once', async () => {
    const program = "import matplotlib.pyplot as plt\nplt.rcParams['text.usetex'] = True\nplt.title('x')\n";
    for (const end of ['plt.show()', 'display(plt.gcf())', '']) {
      const run = await data(program + end);
      expect(run.displays?.map(({ data, truncated }) => [data['text/plain'], truncated])).toEqual([
        [expect.stringMatching(/^<Figure .* could not be drawn: RuntimeError: .*latex/s), true],
      ]);
    }
  });

  it.each<[string, Partial<RunRequest>, RegExp]>([
    ['after commands', { preCommands: ['true'] }, /pre_commands/],
    ['with variables of Python', { environment: { PYTHONHASHSEED: '1' } }, /PYTHON\*/],
  ])('where a figure cannot come back the result says so: %s', async (_, request, reason) => {
    const program = 'import matplotlib.pyplot as plt\nplt.plot([1]); plt.show()';
    expect(await data(program, request)).toMatchObject({ exit_code: 0, hint: expect.stringMatching(reason) as string });
    expect((await data(program)).hint).toBeUndefined();
    expect((await data('print(1)', request)).hint).toBeUndefined();
    expect((await data(program, { ...request, wantsDisplays: false })).hint).toBeUndefined();
  });

  it('where an interpreter that the program starts shows something the result says so, unless something came', async () => {
    const files = (more: string) => ({
      'main.py': `import subprocess, sys\nsubprocess.run([sys.executable, 'plot.py'], check=True)\n${more}`,
      'plot.py': 'import matplotlib.pyplot as plt\nplt.plot([1]); plt.show()\n',
    });
    expect((await data(files(''))).hint).toMatch(/subprocess/);
    expect((await data(files('display(1)'))).hint).toBeUndefined();
    const silent = { 'main.py': "import subprocess\nsubprocess.run(['true'], check=True)\n" };
    expect((await data(silent)).hint).toBeUndefined();
  });
});

describe('display() without an import', () => {
  it('is there wherever it is named, and nowhere else', async () => {
    const run = await slim('list(map(display, [1, 2]))\nimport builtins; print(builtins.display.__name__)');
    expect(run.displays?.map(({ data }) => data['text/plain'])).toEqual(['1', '2']);
    const other = await slim(
      "display_name = 'x'; mydisplay = 1\nimport builtins; print([n for n in dir(builtins) if 'isplay' in n])",
    );
    expect(other.stdout).toBe('[]\n');
  });

  it('shows as text what cannot be asked for its forms', async () => {
    const run = await slim(`
class Meta(type):
    def __getattr__(cls, name): raise RuntimeError(name)
class Thing(metaclass=Meta): pass
display(Thing()); print('end')
`);
    expect([run.stdout, run.stderr]).toEqual(['end\n', '']);
    expect(run.displays?.map(({ data }) => data['text/plain'])).toEqual([expect.stringMatching(/Thing object at/)]);
  });

  it('lets pass what ends the program, without frames of ours by name', async () => {
    const run = await slim(`
class Thing:
    def _repr_html_(self): raise KeyboardInterrupt
display(Thing())
`);
    expect(run.outcome).toMatchObject({ kind: 'signaled', signal: 'SIGINT' });
    expect(run.stderr).not.toMatch(/<child>|rich_output/);
  });
});

describe('hints', () => {
  it.each<[string, string, RegExp]>([
    ['a magic', '%matplotlib inline\nprint(1)', /notebooks/],
    ['an installation', '!pip install requests', /requirements/],
    ['await', 'import asyncio\nawait asyncio.sleep(0)', /asyncio\.run/],
    [
      'pip',
      'import subprocess, sys\nsubprocess.check_call([sys.executable, "-m", "pip", "install", "x"])',
      /requirements/,
    ],
    ['a module that is gone', 'import imp', /newer versions of Python/],
    ['a worker ended for memory', WORKER, /the memory ran out/],
  ])('%s', async (_, program, hint) => {
    const run = await slim(program, { limits: { memory_bytes: 64 << 20, wall_ms: 20_000 } });
    expect(run.hint).toMatch(hint);
  });

  it('a window has no screen', async () => {
    const run = await data(
      "import matplotlib\nmatplotlib.use('TkAgg')\nimport matplotlib.pyplot as plt\nplt.plot([1])",
    );
    expect(run.hint).toMatch(/no screen/);
  });
});

it('of a last expression that is too long the beginning comes, and how much it lacks', async () => {
  const run = await slim("'x' * 3_000_000", { wantsLastValue: true });
  const kept = run.result?.length ?? 0;
  expect(kept).toBeGreaterThan(1_000_000);
  expect(run.truncated?.result).toEqual({ total_bytes: 3_000_002, kept_bytes: kept, omitted_bytes: 3_000_002 - kept });
  expect((await slim('1 + 1', { wantsLastValue: true })).truncated).toBeUndefined();
});
