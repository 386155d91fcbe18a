/**
 * What the image has is not installed again: a package built on numpy gets the numpy that
 * the image's scipy was built on. What the image cannot serve comes from the index.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startLayerEngine, type LayerEngine } from '../../support/layers.ts';
import { PackageIndex } from '../../support/package-index.ts';
import { wheel } from '../../support/wheels.ts';

const module = (name: string) => ({ [`${name}.py`]: `NAME = "${name}"\n` });

let index: PackageIndex;
let engine: LayerEngine;
beforeAll(async () => {
  index = await PackageIndex.open(
    wheel({ name: 'plots', files: module('plots'), requires: ['numpy>=1.20,!=1.24.0', 'Pandas>=1', 'parts'] }),
    wheel({ name: 'parts', files: module('parts') }),
    wheel({ name: 'sheets', files: module('sheets'), requires: ['openpyxl[fast]', 'numpy'] }),
    wheel({ name: 'openpyxl', version: '99', requires: ['parts; extra == "fast"'], extras: ['fast'] }),
    wheel({ name: 'newer', files: module('newer'), requires: ['tabulate>=99'] }),
    wheel({ name: 'tabulate', version: '99', files: { 'tabulate.py': '__version__ = "99"\n' } }),
    wheel({ name: 'numpy', version: '99', files: { 'numpy/__init__.py': 'raise ImportError("the wrong one")\n' } }),
    wheel({ name: 'setuptools', version: '99', files: module('setuptools') }),
  );
  engine = await startLayerEngine(index, { PYEXEC_DEFAULT_IMAGE: 'pyexec/data:latest' });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await index[Symbol.asyncDispose]();
});

const run = (program: string, requirements: string, image = 'pyexec/data:latest') =>
  engine.run(program, { requirements, image });

it('a package gets what it depends on from the image', async () => {
  const result = await run('import plots, parts, numpy, scipy.stats, pandas; print(numpy.__version__)', 'plots');
  expect(result).toMatchObject({ exit_code: 0, stderr: '', packages: ['parts==1.0', 'plots==1.0'] });
  expect(result.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

it('control: without the image’s, it comes from the index', async () => {
  const result = await run('import numpy', 'numpy', 'pyexec/slim:latest');
  expect(result).toMatchObject({ exit_code: 1, packages: ['numpy==99'] });
});

it('what is there already is not installed, unless another version is asked for', async () => {
  expect(await run('import numpy; numpy.eye(2)', 'numpy')).toMatchObject({ exit_code: 0, packages: [] });
  expect(await run('', 'numpy>=90')).toMatchObject({ exit_code: 0, packages: ['numpy==99'] });
  expect(await run('import tabulate; print(tabulate.__version__)', 'newer')).toMatchObject({
    stdout: '99\n',
    packages: ['newer==1.0', 'tabulate==99'],
  });
});

it('the extras of what is there are had', async () => {
  const result = await run('import sheets, parts', 'sheets');
  expect(result).toMatchObject({ exit_code: 0, packages: ['openpyxl==99', 'parts==1.0', 'sheets==1.0'] });
});

it('what the installer has for itself is nothing a run has', async () => {
  const result = await run('import setuptools; print(setuptools.NAME)', 'setuptools');
  expect(result).toMatchObject({ stdout: 'setuptools\n', packages: ['setuptools==99'] });
});
