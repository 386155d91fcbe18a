/**
 * D01-D08: packages and indexes that mean harm, or break. The index is a real one on
 * loopback, the wheels are made by the test, the builder and the run are real.
 */
import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { deflateSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startLayerEngine, type LayerEngine } from '../../support/layers.ts';
import { PackageIndex } from '../../support/package-index.ts';
import { wheel, zip } from '../../support/wheels.ts';

const MIB = 1 << 20;
/** Writes for as long as somebody reads. */
function flood(response: ServerResponse): void {
  const write = () => {
    while (!response.destroyed && response.write(Buffer.alloc(65_536, 'a')));
    response.once('drain', write);
  };
  response.on('error', () => undefined).setHeader('content-type', 'text/html');
  write();
}
const sha256Of = (content: string) => createHash('sha256').update(content).digest('hex');
let index: PackageIndex;
let engine: LayerEngine;
beforeAll(async () => {
  index = await PackageIndex.open(wheel({ name: 'fine' }));
  engine = await startLayerEngine(index, { PYEXEC_LAYER_MAX_MB: '24', PYEXEC_MAX_PACKAGES: '30' });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await index[Symbol.asyncDispose]();
});

const install = (requirements: string, program = 'print("ran")') => engine.run(program, { requirements });
/** The code a run ended with, and its sentence, in which nothing of the machine may be. */
async function failure(requirements: string): Promise<{ code: string; detail: string }> {
  const { outcome, stdout } = await install(requirements);
  if (outcome?.kind !== 'infrastructure_error') throw new Error(`ended as ${JSON.stringify(outcome)}: ${stdout ?? ''}`);
  expect(outcome.detail).not.toMatch(/\/work|\/usr|\/tmp|127\.0\.0\.1|Traceback|pip /);
  return outcome;
}
const works = async () => {
  expect(await install('fine', 'import fine; print(fine.VERSION)')).toMatchObject({ stdout: '1.0\n', exit_code: 0 });
};

describe('packages', () => {
  it('D01 a package that is only there as source is not built', async () => {
    const setup = 'import os; open("/tmp/built", "w").write("x"); raise SystemExit("setup.py ran")';
    const content = zip([{ name: 'source-1.0/setup.py', content: setup }]);
    const sha256 = createHash('sha256').update(content).digest('hex');
    index.add({ name: 'source', filename: 'source-1.0.zip', content, sha256 });
    const { code, detail } = await failure('source');
    expect(code).toBe('resolution_failed');
    expect(detail).toMatch(/wheels/);
    expect(index.requests).not.toContain('/files/source-1.0.zip');
  });

  it('D03 a dependency by URL, to an inner host or to the index itself, is not followed', async () => {
    const hits: string[] = [];
    const inner = createServer((socket) => {
      hits.push('connected');
      socket.destroy();
    });
    await new Promise<void>((resolve) => inner.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = inner.address() as AddressInfo;
      const direct = wheel({ name: 'direct' });
      index.add(
        wheel({ name: 'lure', requires: [`direct @ http://127.0.0.1:${String(port)}/direct-1.0-py3-none-any.whl`] }),
        wheel({ name: 'lure-metadata', requires: ['direct @ http://169.254.169.254/direct-1.0-py3-none-any.whl'] }),
        wheel({
          name: 'lure-index',
          requires: [`direct @ ${index.url.replace('/simple', '')}/files/${direct.filename}`],
        }),
        direct,
      );
      for (const lure of ['lure', 'lure-metadata', 'lure-index']) {
        expect((await failure(lure)).code, lure).toMatch(/^(resolution_failed|index_unreachable)$/);
      }
      expect(hits).toEqual([]);
    } finally {
      inner.close();
    }
  });

  it('D04 a member that climbs out of its wheel lands nowhere', async () => {
    const evil = 'raise SystemExit("planted")';
    index.add(
      wheel({ name: 'climber', members: [{ name: '../../../../../../tmp/climbed.py', content: evil }] }),
      wheel({
        name: 'scripter',
        members: [{ name: 'scripter-1.0.data/scripts/../../../../../../work/site/fine.py', content: evil }],
      }),
      wheel({ name: 'rooter', members: [{ name: '/usr/lib/python3/dist-packages/rooted.py', content: evil }] }),
    );
    for (const name of ['climber', 'scripter', 'rooter']) {
      const { outcome, stdout } = await install(
        name,
        'import os, sys\nprint([p for p in ("/tmp/climbed.py", "/work/fine.py", "/usr/lib/python3/dist-packages/rooted.py") if os.path.exists(p)])',
      );
      if (outcome?.kind === 'exited') expect(stdout, name).toBe('[]\n');
      else expect(outcome, name).toMatchObject({ kind: 'infrastructure_error', code: 'installation_failed' });
    }
    await works();
  });

  it('D04 a link in a wheel leads nowhere', async () => {
    index.add(
      wheel({
        name: 'linker',
        members: [
          { name: 'linker_target', content: '/etc/passwd', mode: 0o120777 },
          {
            name: 'linker.py',
            content: 'import os; print(os.path.islink(os.path.join(os.path.dirname(__file__), "linker_target")))',
          },
        ],
      }),
    );
    const execution = await install('linker', 'import linker');
    expect(execution).toMatchObject({ stdout: 'False\n', exit_code: 0 });
  });

  it('D05 start-up hooks of a package are run by nobody: not in the builder, not in PID 1 of the run', async () => {
    const mark = 'import sys; sys.stderr.write("hook ran"); sys.hooked = True';
    index.add(
      wheel({
        name: 'hooks',
        files: {
          'evil.pth': `${mark}\n`,
          'sitecustomize.py': mark,
          'usercustomize/__init__.py': mark,
          'json.py': 'raise SystemExit("shadowed")',
          'hooks.py': 'NAME = __name__\n',
        },
      }),
    );
    const program = `
import glob, hooks, json, os, subprocess, sys
folder = os.path.dirname(hooks.__file__)
print(hasattr(sys, "hooked"), sorted(os.path.basename(path) for path in glob.glob(folder + "/*") if "dist-info" not in path), json.dumps(1))
print(subprocess.run([sys.executable, "-c", "import sys; print(hasattr(sys, 'hooked'))"], capture_output=True, text=True).stdout.strip())
`;
    const execution = await install('hooks', program);
    expect(execution).toMatchObject({ stderr: '', exit_code: 0 });
    expect(execution.stdout).toMatch(/^False \[(?:'__pycache__', )?'hooks\.py'\] 1\nFalse\n$/);
  });

  it('D05 nor are hooks that a wheel puts there by another way, or as machine code', async () => {
    const mark = 'import sys; sys.hooked = True\n';
    index.add(
      wheel({
        name: 'detour',
        files: { 'detour.py': '', 'sitecustomize.cpython-313-x86_64-linux-gnu.so': mark },
        members: [
          { name: 'detour-1.0.data/purelib/evil.pth', content: mark },
          { name: 'detour-1.0.data/platlib/usercustomize.py', content: mark },
          { name: 'detour-1.0.data/data/evil2.pth', content: mark },
        ],
      }),
    );
    const program = `
import detour, os, subprocess, sys
names = os.listdir(os.path.dirname(detour.__file__))
print(hasattr(sys, "hooked"), [name for name in names if name.endswith(".pth") or "customize" in name])
print(subprocess.run([sys.executable, "-c", "import sys; print(hasattr(sys, 'hooked'))"], capture_output=True, text=True).stdout.strip())
`;
    expect(await install('detour', program)).toMatchObject({ stdout: 'False []\nFalse\n', stderr: '' });
  });

  it('a wheel that is none, is somebody else’s, or has names no project may have, is refused', async () => {
    const content = Buffer.from('not a zip');
    const sha256 = createHash('sha256').update(content).digest('hex');
    index.add(
      { name: 'garbage', filename: 'garbage-1.0-py3-none-any.whl', content, sha256 },
      { ...wheel({ name: 'somebody' }), name: 'borrowed', filename: 'borrowed-1.0-py3-none-any.whl' },
      wheel({ name: 'control', files: { 'a\nb.py': '' } }),
      wheel({ name: 'deep', files: { [`${'d/'.repeat(200)}x.py`]: '' } }),
    );
    for (const name of ['garbage', 'borrowed']) expect((await failure(name)).code, name).toBe('resolution_failed');
    for (const name of ['control', 'deep']) expect((await failure(name)).code, name).toBe('installation_failed');
    await works();
  });

  it('commands of a package stand for none of the system', async () => {
    index.add(
      wheel({
        name: 'impostor',
        members: ['python3', 'sh', 'ls'].map((name) => ({
          name: `impostor-1.0.data/scripts/${name}`,
          content: '#!/bin/sh\necho impostor\n',
        })),
      }),
    );
    const program = 'import shutil; print([shutil.which(name) for name in ("python3", "sh")])';
    const execution = await install('impostor', program);
    expect(execution.stdout).toMatch(/^\['\/usr\/(?:local\/)?bin\/python3', '(?:\/usr)?\/bin\/sh'\]\n$/);
  });

  it('D06 more bytes than allowed, in one wheel or unpacked, are refused', async () => {
    index.add(
      wheel({ name: 'heavy', files: { 'heavy.bin': Buffer.alloc(40 * MIB) } }),
      wheel({ name: 'huge', files: { 'huge.bin': Buffer.alloc(100 * MIB) } }),
    );
    expect((await failure('heavy')).code).toBe('layer_too_large');
    expect((await failure('huge')).code).toBe('layer_too_large');
    await works();
  });

  it('D06 too many packages are refused, and a circle is none', async () => {
    for (let number = 0; number < 40; number += 1) {
      index.add(
        wheel({ name: `chain-${String(number)}`, requires: number < 39 ? [`chain-${String(number + 1)}`] : [] }),
      );
    }
    index.add(wheel({ name: 'ring-a', requires: ['ring-b'] }), wheel({ name: 'ring-b', requires: ['ring-a'] }));
    expect(await failure('chain-0')).toMatchObject({ code: 'layer_too_large' });
    expect(await install('ring-a', 'import ring_a, ring_b; print("both")')).toMatchObject({ stdout: 'both\n' });
  });

  it('a version nobody has, a conflict, a Python nobody has: the reason is the installer’s', async () => {
    index.add(wheel({ name: 'left', requires: ['fine>=2'] }), wheel({ name: 'future', requiresPython: '>=4' }));
    expect(await failure('fine==9')).toMatchObject({
      code: 'resolution_failed',
      detail: expect.stringContaining('No matching distribution found for fine==9') as string,
    });
    expect((await failure('left')).code).toBe('resolution_failed');
    expect((await failure('future')).code).toBe('resolution_failed');
    expect((await failure('unheard-of')).code).toBe('resolution_failed');
  });

  it('a yanked version is taken only by its number', async () => {
    index.add(
      { ...wheel({ name: 'pulled', version: '2.0' }), isYanked: true },
      wheel({ name: 'pulled', version: '1.0' }),
    );
    expect(await install('pulled', 'import pulled; print(pulled.VERSION)')).toMatchObject({ stdout: '1.0\n' });
    expect(await install('pulled==2.0', 'import pulled; print(pulled.VERSION)')).toMatchObject({ stdout: '2.0\n' });
  });

  it('a name that exists elsewhere, too, comes from the one index', async () => {
    await using other = await PackageIndex.open(wheel({ name: 'inner', version: '99.0' }));
    index.add(wheel({ name: 'inner', version: '1.0' }));
    expect(await install('inner', 'import inner; print(inner.VERSION)')).toMatchObject({ stdout: '1.0\n' });
    expect(other.requests).toEqual([]);
  });
});

describe('an index that', () => {
  it('D07 serves another file than its page says', async () => {
    index.add({ ...wheel({ name: 'swapped' }), sha256: 'f'.repeat(64) });
    expect((await failure('swapped')).code).toMatch(/^(resolution_failed|installation_failed)$/);
  });

  it('D07 changes a file between finding and installing it', async () => {
    const first = wheel({ name: 'changing', files: { 'changing.py': 'WHICH = "first"\n' } });
    const second = wheel({ name: 'changing', files: { 'changing.py': 'WHICH = "second"\n' } });
    index.add(first);
    let downloads = 0;
    index.misbehave = (request, response) => {
      if (request.url !== `/files/${first.filename}` || (downloads += 1) === 1) return false;
      response.end(second.content);
      return true;
    };
    try {
      expect(await failure('changing')).toMatchObject({ code: 'installation_failed' });
      expect(downloads).toBeGreaterThan(1);
    } finally {
      index.misbehave = () => false;
    }
  });

  it('D07 answers 500', async () => {
    index.misbehave = (_request, response) => {
      response.writeHead(500).end();
      return true;
    };
    try {
      expect((await failure('fine>=0.1')).code).toBe('index_unreachable');
    } finally {
      index.misbehave = () => false;
    }
  });

  it('a hash without its version, or its dependency without a hash: the package is named', async () => {
    const { sha256 } = wheel({ name: 'fine' });
    const hash = `--hash=sha256:${sha256}`;
    expect(await failure(`fine>=0.2 ${hash}`)).toMatchObject({
      code: 'resolution_failed',
      detail: expect.stringContaining('fine>=0.2') as string,
    });
    const needing = wheel({ name: 'needing', requires: ['fine'] });
    index.add(needing);
    const { code, detail } = await failure(`needing==1.0 --hash=sha256:${needing.sha256}`);
    expect(code).toBe('resolution_failed');
    expect(detail).toMatch(/fine/);
  });

  it('metadata of a package that cannot be read is not blamed on the index', async () => {
    index.add({ ...wheel({ name: 'garbage' }), content: Buffer.from('no zip'), sha256: sha256Of('no zip') });
    const { code, detail } = await failure('garbage');
    expect(code).toBe('resolution_failed');
    expect(detail).toMatch(/garbage|a package/);
  });

  it('D07 sends pip elsewhere', async () => {
    index.add(wheel({ name: 'moved' }));
    index.misbehave = (request, response) => {
      if (request.url !== '/files/moved-1.0-py3-none-any.whl') return false;
      response.writeHead(302, { location: 'file:///etc/passwd' }).end();
      return true;
    };
    try {
      expect((await failure('moved')).code).toBe('index_unreachable');
    } finally {
      index.misbehave = () => false;
    }
  });

  it.each<[string, string, (response: ServerResponse) => void]>([
    [
      'sends pages in a circle',
      'index_unreachable',
      (response) => response.writeHead(302, { location: '/simple/fine/' }).end(),
    ],
    ['speaks nonsense', 'index_unreachable', (response) => response.socket?.end('\0\x01junk\r\n\r\n')],
    [
      'sends a head without end',
      'index_unreachable',
      (response) => response.socket?.end(`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(100_000)}\r\n\r\n`),
    ],
    [
      'breaks a page off',
      'index_unreachable',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/html', 'content-length': 1000 }).write('<html>');
        setTimeout(() => response.destroy(), 50);
      },
    ],
    [
      'writes JSON that is none',
      'index_unreachable',
      (response) => response.setHeader('content-type', 'application/vnd.pypi.simple.v1+json').end('{"files": ['),
    ],
    [
      'writes JSON of another form',
      'index_unreachable',
      (response) => response.setHeader('content-type', 'application/vnd.pypi.simple.v1+json').end('[1, 2]'),
    ],
    ['answers with a page of no kind', 'index_unreachable', (response) => response.end('welcome')],
    ['lets nobody in', 'index_unreachable', (response) => response.writeHead(403).end()],
    [
      'has had enough for an hour',
      'index_unreachable',
      (response) => response.writeHead(429, { 'retry-after': '3600' }).end(),
    ],
    [
      'is out of order for an hour',
      'index_unreachable',
      (response) => response.writeHead(503, { 'retry-after': '3600' }).end(),
    ],
    [
      'sends to a host that is not on the list',
      'index_unreachable',
      (response) => response.writeHead(302, { location: 'http://169.254.169.254/simple/' }).end(),
    ],
    ['never stops', 'layer_too_large', flood],
    [
      'packs a page a thousand times smaller',
      'layer_too_large',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/html', 'content-encoding': 'deflate' });
        response.end(deflateSync(Buffer.alloc(900 * MIB, 'a')));
      },
    ],
  ])('D07 %s', async (what, code, answer) => {
    index.misbehave = (_request, response) => {
      answer(response);
      return true;
    };
    try {
      // A version of its own: what failed is remembered for a while.
      expect((await failure(`fine>=0.${String(what.length)}`)).code).toBe(code);
    } finally {
      index.misbehave = () => false;
    }
    await works();
  });

  it('D07 hangs: the installation ends in time', async () => {
    await using slow = await PackageIndex.open(wheel({ name: 'slow' }));
    slow.misbehave = () => true;
    await using impatient = await startLayerEngine(slow, { PYEXEC_INSTALL_TIMEOUT: '4' });
    const { outcome } = await impatient.run('print("ran")', { requirements: 'slow' });
    expect(outcome).toMatchObject({ kind: 'infrastructure_error', code: 'installation_timeout' });
  });

  it('D07 is not there: said at once, and the program is not started', async () => {
    const gone = await PackageIndex.open();
    await gone[Symbol.asyncDispose]();
    await using engineWithout = await startLayerEngine(index, { PYEXEC_INDEX_URL: 'http://127.0.0.1:9/simple' });
    const execution = await engineWithout.run('print("ran")', { requirements: 'fine' });
    expect(execution).toMatchObject({ stdout: '', outcome: { code: 'index_unreachable' } });
  });
});

describe('D08 what belongs to the project', () => {
  it('is not read by the installer', async () => {
    const evil = '[global]\nindex-url = http://127.0.0.1:9/simple\nextra-index-url = http://127.0.0.1:9/\n';
    const execution = await engine.run(
      {
        'main.py': 'import fine; print(fine.VERSION)',
        'pip.conf': evil,
        '.config/pip/pip.conf': evil,
        '.pip/pip.conf': evil,
        '.netrc': 'machine 127.0.0.1 login a password b\n',
        'pyproject.toml': '[build-system]\nrequires = ["evil"]\nbuild-backend = "evil"\nbackend-path = ["."]\n',
        'fine.py': 'VERSION = "of the project"\n',
      },
      { requirements: 'fine', environment: { PIP_INDEX_URL: 'http://127.0.0.1:9/simple', PIP_NO_BINARY: ':all:' } },
    );
    // The project’s own module comes first, as it always does; what was installed is beside it.
    expect(execution).toMatchObject({ stdout: 'of the project\n', packages: ['fine==1.0'] });
  });
});
