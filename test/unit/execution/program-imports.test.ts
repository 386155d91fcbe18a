/** Which modules a project is found to import, and when nobody looks. */
import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { DEFAULT_ARCHIVE_LIMITS } from '../../../src/archive/read-project.ts';
import { buildProject } from '../../../src/archive/build-project.ts';
import { importsAmong } from '../../../src/execution/program-imports.ts';

const WANTED = new Set(['numpy', 'pandas']);

async function found(files: Record<string, string>): Promise<readonly string[]> {
  const project = await buildProject(
    Object.entries(files).map(([path, text]) => ({ path, content: Buffer.from(text) })),
    { limits: DEFAULT_ARCHIVE_LIMITS, spoolDirectory: tmpdir() },
  );
  try {
    return [...(await importsAmong(WANTED, project))].sort();
  } finally {
    await project.dispose();
  }
}

describe('what is imported', () => {
  test.each([
    ['import numpy', ['numpy']],
    ['import os, numpy as np', ['numpy']],
    ['def f():\n  try:\n    from pandas.core import x\n  except ImportError: pass', ['pandas']],
    ['import numpy.linalg\nimport pandas', ['numpy', 'pandas']],
    ['print("import numpy")  # import pandas', []],
    ['from . import numpy', []],
    ['print(1)', []],
  ])('%j', async (code, modules) => {
    expect(await found({ 'main.py': code })).toEqual(modules);
  });

  test('by any file of the project, in whatever folder, under whatever name', async () => {
    const folder = 'f'.repeat(90);
    expect(await found({ 'main.py': 'import app', [`${folder}/${folder}/${folder}/app.py`]: 'import numpy' })).toEqual([
      'numpy',
    ]);
    expect(await found({ 'main.py': '', 'notes.txt': 'import numpy' })).toEqual([]);
  });
});

describe('nothing is said of a project', () => {
  test.each([
    ['that has a module of the same name', { 'main.py': 'import numpy', 'numpy.py': '' }],
    ['that has it in a folder', { 'main.py': 'import numpy', 'lib/numpy/__init__.py': '' }],
    ['whose module hides one that libraries import', { 'main.py': 'import numpy', 'random.py': '' }],
    ['that sets variables first', { 'main.py': 'import os\nos.environ["MPLBACKEND"]="svg"\nimport numpy' }],
    ['that looks at sys.modules', { 'main.py': 'import sys\nprint("numpy" in sys.modules)\nimport numpy' }],
    ['that changes the path in another file', { 'main.py': 'import a, numpy', 'a.py': 'import sys; sys.path.pop()' }],
    ['with configuration of its own', { 'main.py': 'import numpy', '.config/numpy': '' }],
    ['that is large', { 'main.py': 'import numpy', 'data.bin': 'x'.repeat(200_000) }],
    ['with too much to parse', { 'main.py': `import numpy\n${'x = 1\n'.repeat(12_000)}` }],
    [
      'with too many files to parse',
      Object.fromEntries(Array.from({ length: 9 }, (_, index) => [`m${String(index)}.py`, 'import numpy'])),
    ],
  ])('%s', async (_, files: Record<string, string>) => {
    expect(await found(files)).toEqual([]);
  });
});
