/**
 * Wheels with machine code: an extension module that ships with CPython, under another
 * name; and, where there are a compiler and Python's headers, one that is compiled here
 * with a library of its own beside it, as manylinux wheels have it.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startLayerEngine, type LayerEngine } from '../../support/layers.ts';
import { PackageIndex } from '../../support/package-index.ts';
import { wheel } from '../../support/wheels.ts';

const MACHINE = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string] ?? process.arch;
const INCLUDE = '/usr/include';
const headers = (existsSync(INCLUDE) ? readdirSync(INCLUDE) : []).find(
  (name) => /^python3\.\d+$/.test(name) && existsSync(join(INCLUDE, name, 'Python.h')),
);
const canCompile = headers !== undefined && existsSync('/usr/bin/gcc');

let index: PackageIndex;
let engine: LayerEngine;
beforeAll(async () => {
  index = await PackageIndex.open();
  engine = await startLayerEngine(index);
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await index[Symbol.asyncDispose]();
});

it('an extension module for this very Python is loaded from the layer; one for another Python is not installed', async () => {
  const found = await engine.run(
    'import _queue, base64, sys, os\nprint(os.path.basename(_queue.__file__), "cp%d%d" % sys.version_info[:2])\nprint(base64.b64encode(open(_queue.__file__, "rb").read()).decode())',
  );
  const [first = '', encoded = ''] = (found.stdout ?? '').split('\n');
  const [file = '', python = ''] = first.split(' ');
  expect(file).toMatch(/^_queue\.cpython-.*\.so$/);
  const files = { 'swift/__init__.py': '', [`swift/${file}`]: Buffer.from(encoded, 'base64') };
  index.add(
    wheel({ name: 'swift', files, tag: `${python}-${python}-linux_${MACHINE}` }),
    wheel({ name: 'foreign', files, tag: `cp38-cp38-linux_${MACHINE}` }),
    wheel({ name: 'foreign', files, version: '2.0', tag: `${python}-${python}-win_amd64` }),
  );
  const program = `
import swift._queue as q, os
queue = q.SimpleQueue(); queue.put("through C")
print(queue.get(), os.path.dirname(q.__file__) == os.path.dirname(__import__("swift").__file__))
`;
  expect(await engine.run(program, { requirements: 'swift' })).toMatchObject({
    stdout: 'through C True\n',
    stderr: '',
  });
  const { outcome } = await engine.run(program, { requirements: 'foreign' });
  expect(outcome).toMatchObject({ kind: 'infrastructure_error', code: 'resolution_failed' });
});

it.skipIf(!canCompile)('an extension compiled here finds the library it brings', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pyexec-native-'));
  try {
    const at = (name: string) => join(folder, name);
    const gcc = (...args: string[]) => execFileSync('gcc', ['-shared', '-fPIC', '-O1', ...args], { cwd: folder });
    writeFileSync(at('deep.c'), 'long deep_square(long n) { return n * n; }\n');
    writeFileSync(
      at('fast.c'),
      `#define Py_LIMITED_API 0x03090000
#include <Python.h>
long deep_square(long);
static PyObject *square(PyObject *self, PyObject *n) { return PyLong_FromLong(deep_square(PyLong_AsLong(n))); }
static PyMethodDef methods[] = {{"square", square, METH_O, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_fast", "", -1, methods};
PyMODINIT_FUNC PyInit__fast(void) { return PyModule_Create(&module); }
`,
    );
    gcc('-o', 'libdeep.so.1', '-Wl,-soname,libdeep.so.1', 'deep.c');
    gcc(
      '-o',
      '_fast.abi3.so',
      '-I',
      join(INCLUDE, headers ?? ''),
      'fast.c',
      './libdeep.so.1',
      '-Wl,-rpath,$ORIGIN/../fast.libs',
    );
    index.add(
      wheel({
        name: 'fast',
        tag: `cp39-abi3-linux_${MACHINE}`,
        files: {
          'fast/__init__.py': 'from fast._fast import square\n',
          'fast/_fast.abi3.so': readFileSync(at('_fast.abi3.so')),
          'fast.libs/libdeep.so.1': readFileSync(at('libdeep.so.1')),
        },
      }),
    );
    const execution = await engine.run('import fast; print(fast.square(12))', { requirements: 'fast' });
    expect(execution).toMatchObject({ stdout: '144\n', stderr: '', packages: ['fast==1.0'] });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
