import { describe, expect, it } from 'vitest';
import { importedModules, neededPackages, packageOf } from '../../../src/dependencies/imported-packages.ts';
import { STANDARD_MODULES } from '../../../src/dependencies/standard-modules.ts';

const packagesOf = (code: string) => neededPackages(new Map([['main.py', code]]));

describe('what counts as an import', () => {
  it.each<[string, string, readonly string[]]>([
    ['a name behind a semicolon', 'import numpy; numpy.zeros(1)', ['numpy']],
    ['an import behind a semicolon', 'x=1; import numpy', ['numpy']],
    ['a one-line condition', 'if 1: import numpy', ['numpy']],
    ['a one-line with', 'with x: import numpy', ['numpy']],
    ['a star without a space', 'from numpy import*', ['numpy']],
    ['an alias before more code', 'import numpy as np; print(np)', ['numpy']],
    ['an optional import', 'try:\n    import numpy\nexcept ImportError:\n    import pandas\n', ['numpy', 'pandas']],
    ['an import for type checkers', 'if TYPE_CHECKING:\n    from numpy import ndarray\n', ['numpy']],
    ['an import in a function', 'def f():\n\timport numpy\n', ['numpy']],
    ['an import in a class', 'class A:\n  import numpy\n', ['numpy']],
    ['an import in a case', 'match x:\n  case 1:\n    import numpy\n', ['numpy']],
    ['several', 'import numpy as n, pandas, scipy.linalg as l', ['numpy', 'pandas', 'scipy']],
    ['submodules', 'import numpy.linalg.lapack\nfrom scipy.sparse import csr_matrix', ['numpy', 'scipy']],
    ['names over several lines', 'from numpy import (\n  a, # import pandas\n  b,\n)', ['numpy']],
    ['a continued line', 'import numpy, \\\n  pandas', ['numpy', 'pandas']],
    ['a tab', 'import\tnumpy', ['numpy']],
    ['Windows line ends', 'import numpy\r\nimport pandas\r\n', ['numpy', 'pandas']],
    ['a byte order mark', '\uFEFFimport numpy', ['numpy']],
    ['a declared encoding', '# -*- coding: latin-1 -*-\nimport numpy', ['numpy']],
    ['text before it that is not ASCII', 'x = "äöü𝒳"\nimport numpy', ['numpy']],
    ['code that does not compile', 'import numpy\nprint "x"\nimport pandas', ['numpy', 'pandas']],
    ['new syntax', 'type X = int\ndef f[T](x: T): pass\nimport numpy', ['numpy']],
  ])('%s', (_name, code, modules) => {
    expect(importedModules(code)).toEqual(modules);
  });

  it.each<[string, string]>([
    ['a string', '"import numpy"'],
    ['a long string', '"""\nimport numpy\n"""'],
    ['a comment', '# import numpy'],
    ['an f-string', 'f"import {numpy}"'],
    ['a relative import', 'from . import numpy'],
    ['a relative import of a name', 'from .numpy import x'],
    ['a relative import from above', 'from ..a.numpy import x'],
    ['a relative import over two lines', 'from\\\n . import numpy'],
    ['a name that begins alike', 'imported = numpy'],
    ['nothing', ''],
  ])('not %s', (_name, code) => {
    expect(importedModules(code)).toEqual([]);
  });
});

describe('difference: Import detection (`/eval`)', () => {
  it.each<[string, Readonly<Record<string, string>>, readonly string[]]>([
    [
      'a module beside it',
      { 'main.py': 'from helper import greet\nimport requests', 'helper.py': 'def greet(): pass' },
      ['requests'],
    ],
    ['a package beside it', { 'main.py': 'import tools.text', 'tools/text.py': '' }, []],
    ['a package without __init__.py, deep', { 'main.py': 'import a.b.c', 'a/b/c.py': 'import d' }, ['d']],
    ['a module of the folder of the script', { 'app/main.py': 'import helper', 'app/helper.py': '' }, []],
    ['a package in the folder of the script', { 'app/main.py': 'import tools', 'app/tools/__init__.py': '' }, []],
    ['a name written with ./', { './main.py': 'import helper', './helper.py': '' }, []],
    ['a module that shadows a package', { 'main.py': 'import numpy', 'numpy.py': '' }, []],
    [
      'data that is called like a package',
      { 'main.py': 'import numpy', 'numpy.csv': '', 'numpy/x.csv': '' },
      ['numpy'],
    ],
    ['imports of the other modules', { 'main.py': 'import helper', 'helper.py': 'import yaml' }, ['PyYAML']],
    ['files that are not Python', { 'main.py': '', 'notes.txt': 'import numpy' }, []],
  ])('%s', (_name, files, packages) => {
    expect(neededPackages(new Map(Object.entries(files)))).toEqual(packages);
  });

  it('never means the standard library, whichever version it was part of', () => {
    const names =
      `json os sys typing cProfile profile pstats distutils imp cgi crypt telnetlib this antigravity encodings
      posixpath ntpath opcode sre_parse turtledemo _thread __future__ asyncio tomllib zoneinfo`.split(/\s+/);
    expect(packagesOf(names.map((name) => `import ${name}`).join('\n'))).toEqual([]);
    for (const name of names) expect(STANDARD_MODULES).toContain(name);
  });

  it('means what the index has where the name is another', () => {
    expect(packagesOf('import cv2, PIL, sklearn, yaml, bs4, requests')).toEqual([
      'Pillow',
      'PyYAML',
      'beautifulsoup4',
      'opencv-python',
      'requests',
      'scikit-learn',
    ]);
    expect(packagesOf('import typing_extensions')).toEqual(['typing_extensions']);
  });

  it('means nothing the index cannot have', () => {
    expect(packagesOf('import münze, _private, __main__')).toEqual([]);
  });

  it('gives up on code that is made to be hard to parse', () => {
    const startedAt = performance.now();
    expect(importedModules('('.repeat(100_000))).toEqual([]);
    expect(performance.now() - startedAt).toBeLessThan(1_500);
  });
});

it.each(
  `PIL Pillow, cv2 opencv-python, skimage scikit-image, sklearn scikit-learn, tf tensorflow, np numpy, pd pandas,
   bs4 beautifulsoup4, yaml PyYAML, dotenv python-dotenv, environ environ-config, decouple python-decouple,
   psycopg2 psycopg2-binary, pymysql PyMySQL, sqlalchemy SQLAlchemy, flask Flask, django Django, faker Faker,
   avro avro-python3, nacl PyNaCl, jwt PyJWT, google google-cloud, plt matplotlib, sns seaborn,
   dateutil python-dateutil, attr attrs, more_itertools more-itertools, sentry_sdk sentry-sdk, cerberus Cerberus,
   strawberry strawberry-graphql, grpc grpcio, IPython ipython, igraph python-igraph, fiona Fiona, pygments Pygments,
   jinja2 Jinja2, mako Mako, unidecode Unidecode, numpy numpy, constructor constructor`
    .split(',')
    .map((pair) => pair.trim().split(' ') as [string, string]),
)('the module %s is in the package %s', (module, name) => {
  expect(packageOf(module)).toBe(name);
});
