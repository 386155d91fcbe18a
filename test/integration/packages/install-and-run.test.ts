/**
 * Packages of an index reach a run that has no network: imported, found by their
 * metadata, run by their names, as if they had always been part of the image.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startLayerEngine, type LayerEngine } from '../../support/layers.ts';
import { PackageIndex } from '../../support/package-index.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';
import { wheel } from '../../support/wheels.ts';

let index: PackageIndex;
let engine: LayerEngine;
beforeAll(async () => {
  index = await PackageIndex.open(
    wheel({
      name: 'Greeter',
      version: '1.2',
      files: {
        'greeter/__init__.py': 'from parts import PART\ndef hello(): return "hello from " + PART\n',
        'greeter/__main__.py': 'print("as a module")\n',
        'greeter/data.txt': 'data of the package\n',
      },
      requires: ['parts>=1', 'colour; extra == "paint"'],
      extras: ['paint'],
      scripts: ['greet = greeter:hello'],
    }),
    wheel({ name: 'greeter', version: '1.1' }),
    wheel({ name: 'parts', files: { 'parts.py': 'PART = "parts"\n' } }),
    wheel({ name: 'colour' }),
  );
  engine = await startLayerEngine(index);
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await index[Symbol.asyncDispose]();
});

describe('packages of a run', () => {
  it('are imported, with what they depend on', async () => {
    const execution = await engine.run('import greeter; print(greeter.hello())', { requirements: 'greeter' });
    expect(execution).toMatchObject({
      stdout: 'hello from parts\n',
      stderr: '',
      exit_code: 0,
      packages: ['greeter==1.2', 'parts==1.0'],
    });
  });

  it('behave as those of the image do', async () => {
    const program = `
import importlib.metadata, importlib.resources, os, subprocess, sys, greeter
print(importlib.metadata.version("greeter"), importlib.metadata.metadata("greeter")["Name"])
print([str(point.value) for point in importlib.metadata.entry_points(group="console_scripts", name="greet")])
print(importlib.resources.files("greeter").joinpath("data.txt").read_text().strip())
print(greeter.__file__.startswith(sys.prefix) or greeter.__file__.startswith("/usr/local/"), greeter.__cached__.endswith(".pyc"), os.path.exists(greeter.__cached__))
print(subprocess.run(["greet"], capture_output=True, text=True).stderr.strip())
print(subprocess.run([sys.executable, "-m", "greeter"], capture_output=True, text=True).stdout.strip())
print(sys.path[0], sorted(name for name in os.environ if name.startswith("PYTHON")))
print(os.access(os.path.dirname(greeter.__file__), os.W_OK))
`;
    const execution = await engine.run(program, { requirements: 'greeter' });
    expect(execution.stderr).toBe('');
    expect(execution.stdout?.split('\n')).toEqual([
      '1.2 Greeter',
      "['greeter:hello']",
      'data of the package',
      'True True True',
      'hello from parts',
      'as a module',
      "/work ['PYTHONUNBUFFERED']",
      'False',
      '',
    ]);
  });

  it('come as modules, extras and versions are asked for', async () => {
    const asModule = await engine.run(
      { 'main.py': '' },
      { requirements: 'greeter', entryPoint: { kind: 'module', name: 'greeter' } },
    );
    expect(asModule.stdout).toBe('as a module\n');
    const painted = await engine.run('import colour; print(colour.VERSION)', { requirements: 'greeter[paint] >= 1.2' });
    expect(painted).toMatchObject({ stdout: '1.0\n', packages: ['colour==1.0', 'greeter==1.2', 'parts==1.0'] });
    const older = await engine.run('import greeter; print(greeter.VERSION)', { requirements: 'greeter<1.2' });
    expect(older).toMatchObject({ stdout: '1.1\n', packages: ['greeter==1.1'] });
  });

  it('keep to the constraints of the operator', async () => {
    const folder = temporaryStateDirectory();
    onTestFinished(folder.remove);
    const file = join(folder.path, 'constraints.txt');
    writeFileSync(file, '# held back\ngreeter<1.2\n');
    await using held = await startLayerEngine(index, { PYEXEC_CONSTRAINTS_FILE: file });
    const program = 'import greeter; print(greeter.VERSION)';
    expect(await held.run(program, { requirements: 'greeter' })).toMatchObject({ stdout: '1.1\n' });
    const { outcome } = await held.run(program, { requirements: 'greeter>=1.2' });
    expect(outcome).toMatchObject({ kind: 'infrastructure_error', code: 'resolution_failed' });
    writeFileSync(file, '--index-url https://elsewhere.example/\n');
    await expect(startLayerEngine(index, { PYEXEC_CONSTRAINTS_FILE: file })).rejects.toThrow(
      /PYEXEC_CONSTRAINTS_FILE: Line 1/,
    );
    for (const odd of ['fine[extra]==1.0', `fine==1.0 --hash=sha256:${'a'.repeat(64)}`]) {
      writeFileSync(file, `# first\n${odd}\n`);
      await expect(startLayerEngine(index, { PYEXEC_CONSTRAINTS_FILE: file })).rejects.toThrow(
        /PYEXEC_CONSTRAINTS_FILE: fine has extras or a hash/,
      );
    }
  });

  it('are in the audit log, each with its hash and who asked, once', async () => {
    const state = temporaryStateDirectory();
    try {
      {
        await using audited = await startLayerEngine(index, { PYEXEC_STATE_DIR: state.path });
        for (let turn = 0; turn < 2; turn += 1) await audited.run('import greeter', { requirements: 'greeter' });
      }
      const folder = join(state.path, 'audit');
      const entries = readdirSync(folder)
        .filter((name) => name.endsWith('.jsonl'))
        .flatMap((name) => readFileSync(join(folder, name), 'utf8').trim().split('\n'))
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter(({ kind }) => kind === 'installed');
      expect(entries).toMatchObject([
        {
          caller: 'anonymous',
          packages: [
            expect.stringMatching(/^greeter==1\.2 --hash=sha256:[0-9a-f]{64}$/),
            expect.stringMatching(/^parts==1\.0 --hash=sha256:[0-9a-f]{64}$/),
          ],
        },
      ]);
    } finally {
      state.remove();
    }
  });

  it('are none when a marker says so', async () => {
    const execution = await engine.run('print("ran")', { requirements: 'greeter; python_version < "3"' });
    expect(execution).toMatchObject({ stdout: 'ran\n', packages: [] });
  });

  it('are not there for the next run that asks for none', async () => {
    const execution = await engine.run('import greeter');
    expect(execution.stderr).toContain("ModuleNotFoundError: No module named 'greeter'");
  });
});
