/**
 * What a run leaves below /work comes back whole, and nothing else does: R01 to R12
 * of hostile outputs, against the real supervisor in a real container.
 */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { RunRequest } from '../../../src/domain/plan.ts';
import { eventsOf } from '../../support/events.ts';
import { filesLeft } from '../../support/artifacts.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';
import { runRequest, projectOf, startEngine, type Files } from '../../support/engine.ts';
import { ANONYMOUS } from '../../../src/domain/caller.ts';
import type { ExecutionEvent } from '../../../src/domain/events.ts';

const sandbox = sandboxForFile({ PYEXEC_ARTIFACT_FILES: '20', PYEXEC_ARTIFACT_MB: '4' });
const MIB = 2 ** 20;
const ALL: RunRequest['artifacts'] = { patterns: [], inlineBytes: 0 };

const leave = (program: string | Files, request: Partial<RunRequest> = {}) =>
  sandbox.run(program, { artifacts: ALL, ...request });
const pathsOf = ({ artifacts = [] }: { artifacts?: readonly { path: string }[] }) => artifacts.map(({ path }) => path);
const sha256 = (content: string | Uint8Array) => createHash('sha256').update(content).digest('hex');

describe('what is collected', () => {
  it('new and changed files, with size, type and hash; not what is as it was', async () => {
    const run = await leave({
      'main.py': `
import os, shutil
os.makedirs('out/deep')
open('out/deep/table.csv', 'w').write('a,b\\n1,2\\n')
open('empty', 'w').close()
open('changed.txt', 'r+').write('N')
os.rename('moved.txt', 'out/moved.txt')
os.chmod('out/moved.txt', 0o755)
open('untouched.txt').read()
import helper
`,
      'changed.txt': 'now it is so',
      'moved.txt': 'moved',
      'untouched.txt': 'as it was',
      'helper.py': '',
    });
    expect(run.outcome, run.stderr).toMatchObject({ kind: 'exited', exit_code: 0 });
    expect(run.artifacts).toEqual([
      { path: 'changed.txt', size: 12, media_type: 'text/plain', sha256: sha256('Now it is so') },
      { path: 'empty', size: 0, media_type: 'application/octet-stream', sha256: sha256('') },
      { path: 'out/deep/table.csv', size: 8, media_type: 'text/csv', sha256: sha256('a,b\n1,2\n') },
      { path: 'out/moved.txt', size: 5, media_type: 'text/plain', sha256: sha256('moved'), executable: true },
    ]);
    expect(run.artifacts_skipped).toBeUndefined();
    const files = await filesLeft(sandbox.engine.engine.executions, run);
    expect([...files.keys()]).toEqual(pathsOf(run));
    expect(files.get('out/deep/table.csv')?.content.toString()).toBe('a,b\n1,2\n');
    expect(files.get('out/moved.txt')?.mode).toBe(0o755);
    expect(files.get('empty')?.mode).toBe(0o644);
  });

  it('a file rewritten at once with as many bytes counts as changed', async () => {
    for (let round = 0; round < 5; round += 1) {
      const run = await leave({ 'main.py': `open('data', 'w').write('${String(round)}')`, data: 'x' });
      expect(pathsOf(run)).toEqual(['data']);
    }
  });

  it('nothing where nothing was left, nothing where nobody asked', async () => {
    const none = await leave('print(1)');
    expect(none).not.toHaveProperty('artifacts');
    expect(none).not.toHaveProperty('artifacts_skipped');
    const off = await sandbox.run('open("a", "w").write("x")');
    expect(off.outcome).toMatchObject({ kind: 'exited', exit_code: 0 });
    expect(off).not.toHaveProperty('artifacts');
  });

  it('only what patterns name, caches of Python among it only then', async () => {
    const program = {
      'main.py': `
import os, helper
os.makedirs('out/a/b'); os.makedirs('other')
for name in ('out/1.csv', 'out/a/2.csv', 'out/a/b/3.txt', 'other/4.csv', 'top.csv', 'top.txt', '.cache/x'):
    os.makedirs(os.path.dirname(name) or '.', exist_ok=True)
    open(name, 'w').close()
`,
      'helper.py': '',
    };
    const of = async (...patterns: string[]) =>
      pathsOf(await leave(program, { artifacts: { patterns, inlineBytes: 0 } }));
    expect(await of('out')).toEqual(['out/1.csv', 'out/a/2.csv', 'out/a/b/3.txt']);
    expect(await of('*.csv')).toEqual(['top.csv']);
    expect(await of('**/*.csv')).toEqual(['other/4.csv', 'out/1.csv', 'out/a/2.csv', 'top.csv']);
    expect(await of('out/?.csv', './top.txt')).toEqual(['out/1.csv', 'top.txt']);
    expect(await of('__pycache__/*')).toEqual([expect.stringMatching(/^__pycache__\/helper\.cpython-\d+\.pyc$/)]);
    expect(await of('main.py', 'nothing*')).toEqual([]);
  });

  it('small files are in the result as base64 where that was asked for', async () => {
    const run = await leave(`open('small', 'wb').write(b'\\xff\\x00'); open('large', 'w').write('x' * 11)`, {
      artifacts: { patterns: [], inlineBytes: 10 },
    });
    expect(run.artifacts).toEqual([
      expect.not.objectContaining({ content: expect.anything() as unknown }),
      expect.objectContaining({ path: 'small', content: '/wA=' }),
    ]);
  });

  it('up to 4 MiB of them together; one that fits after one that does not is there', async () => {
    await using engine = await startEngine({ PYEXEC_ARTIFACT_MB: '8' });
    const run = await engine.run(
      `
for name, size in (('a', 1), ('b', 1), ('c', 1), ('d', 1), ('e', 0)):
    open(name, 'wb').write(name.encode() * ((1 << 20) * size - (name == 'd')))
open('f', 'w').write('fit'); open('g', 'w').write('g'); open('h', 'w').close()
`,
      { artifacts: { patterns: [], inlineBytes: MIB } },
    );
    expect(run.artifacts?.map(({ path, size, content }) => [path, size, content?.length])).toEqual([
      ...['a', 'b', 'c'].map((path) => [path, MIB, Math.ceil(MIB / 3) * 4]),
      ['d', MIB - 1, Math.ceil((MIB - 1) / 3) * 4],
      ['e', 0, 0],
      ['f', 3, undefined],
      ['g', 1, 4],
      ['h', 0, 0],
    ]);
    const files = await filesLeft(engine.engine.executions, run);
    expect(files.get('f')?.content.toString()).toBe('fit');
  });

  it('each is an event before the result', async () => {
    const { executions } = sandbox.engine.engine;
    const submitted = await executions.submit(
      runRequest({ artifacts: ALL }),
      await projectOf(sandbox.engine.engine, `print('x', end=''); open('a.png', 'w').close(); open('b', 'w').close()`),
      ANONYMOUS,
    );
    const events: ExecutionEvent[] = [];
    for await (const event of eventsOf(submitted.follow(0, new AbortController().signal))) events.push(event);
    expect(events.map((event) => (event.type === 'artifact' ? event.path : event.type))).toEqual([
      'status',
      'status',
      'stdout',
      'a.png',
      'b',
      'result',
    ]);
  });

  it('is what was there when a run was killed for time or memory', async () => {
    const late = await leave(`open('partial', 'w').write('so far')\nwhile True: pass`, { limits: { wall_ms: 700 } });
    expect(late.outcome).toMatchObject({ kind: 'timed_out' });
    expect(pathsOf(late)).toEqual(['partial']);
    const greedy = await leave(
      `open('partial', 'w').write('so far')\nheld = bytearray(1 << 30)\nfor at in range(0, 1 << 30, 4096): held[at] = 1`,
      {
        limits: { memory_bytes: 128 * MIB },
      },
    );
    expect(greedy.outcome).toMatchObject({ kind: 'out_of_memory' });
    expect(pathsOf(greedy)).toEqual(['partial']);
    const crashed = await leave(`open('partial', 'w').write('so far')\nraise ValueError`);
    expect(crashed.outcome).toMatchObject({ kind: 'exited', exit_code: 1 });
    expect(pathsOf(crashed)).toEqual(['partial']);
  });

  it('binary content of a megabyte comes back as it was', async () => {
    const run = await leave(`import random; random.seed(1); open('big', 'wb').write(random.randbytes(3 << 20))
import hashlib; print(hashlib.sha256(open('big', 'rb').read()).hexdigest())`);
    expect(run.artifacts?.[0]?.sha256).toBe(run.stdout?.trim());
    const files = await filesLeft(sandbox.engine.engine.executions, run);
    expect(sha256(files.get('big')?.content ?? '')).toBe(run.stdout?.trim());
  });
});

describe('hostile outputs', () => {
  const CONTROL = `open('zz', 'w').write('good')\n`;

  it('R01 R02 links are not followed, whatever they point at', async () => {
    const run = await leave(`
import os
${CONTROL}os.symlink('/etc/passwd', 'passwd'); os.symlink('/proc/self/environ', 'environ')
os.symlink('/etc', 'etc'); os.symlink('.', 'loop'); os.symlink('zz', 'link'); os.symlink('/nowhere', 'dangling')
os.link('zz', 'hard')
`);
    expect(pathsOf(run)).toEqual(['hard', 'zz']);
    expect(run.artifacts_skipped).toEqual({
      count: 6,
      entries: ['dangling', 'environ', 'etc', 'link', 'loop', 'passwd'].map((path) => ({
        path,
        reason: 'not_a_regular_file',
      })),
    });
  });

  it('R03 R04 files with holes count with their size, and are not read when they do not fit', async () => {
    const run = await leave(`
import os
${CONTROL}os.truncate(os.open('a', os.O_CREAT | os.O_RDWR), (2 << 20) + 1)
os.truncate(os.open('b', os.O_CREAT | os.O_RDWR), (2 << 20) + 1)
os.truncate(os.open('c', os.O_CREAT | os.O_RDWR), 60 << 20)
try: os.truncate(os.open('d', os.O_CREAT | os.O_RDWR), 1 << 50)
except OSError: print('refused')
`);
    expect(run.stdout).toBe('refused\n');
    expect(pathsOf(run)).toEqual(['a', 'd', 'zz']);
    expect(run.artifacts_skipped).toEqual({
      count: 2,
      entries: [
        { path: 'b', reason: 'too_large' },
        { path: 'c', reason: 'too_large' },
      ],
    });
    const files = await filesLeft(sandbox.engine.engine.executions, run);
    expect(files.get('a')?.content.equals(Buffer.alloc(2 * MIB + 1))).toBe(true);
  });

  it('R05 a hundred links to one large file cost nothing; a hundred hard links end at the limit', async () => {
    const run = await leave(`
import os
${CONTROL}open('big', 'wb').write(bytes(3 << 20))
for n in range(100): os.symlink('big', 's%03d' % n); os.link('big', 'l%03d' % n)
`);
    expect(pathsOf(run)).toEqual(['big', 'zz']);
    expect(run.artifacts_skipped?.count).toBe(200);
    expect(run.artifacts_skipped?.entries).toHaveLength(100);
  });

  it('R06 a thousand levels of directories end at the depth an archive may have', async () => {
    const run = await leave(`
import os
${CONTROL}here = os.open('.', os.O_RDONLY)
for n in range(1000):
    os.mkdir('d', dir_fd=here)
    there = os.open('d', os.O_RDONLY, dir_fd=here); os.close(here); here = there
    if n in (10, 900): os.close(os.open('f', os.O_CREAT | os.O_RDWR, dir_fd=here))
`);
    expect(run.outcome, run.stderr).toMatchObject({ exit_code: 0 });
    expect(pathsOf(run)).toEqual([`${'d/'.repeat(11)}f`, 'zz']);
    expect(run.artifacts_skipped).toEqual({
      count: 1,
      entries: [{ path: Array(64).fill('d').join('/'), reason: 'too_deep' }],
    });
  });

  it('R07 pipes and sockets are skipped, and nobody waits for them', async () => {
    const run = await leave(`
import os, socket
${CONTROL}os.mkfifo('fifo')
s = socket.socket(socket.AF_UNIX); s.bind('sock')
`);
    expect(pathsOf(run)).toEqual(['zz']);
    expect(run.artifacts_skipped?.entries).toEqual([
      { path: 'fifo', reason: 'not_a_regular_file' },
      { path: 'sock', reason: 'not_a_regular_file' },
    ]);
  });

  it('R08 names that an archive could not have are skipped and told; odd ones that it could come back', async () => {
    const run = await leave(`
import os
${CONTROL}names = [b'\\xc3.txt', b'new\\nline', b'back\\\\slash', b'n' * 255, 'é 漢 😀 "quote"'.encode(), b'-rf', b' ', b'\\x1b[2J']
for name in names: os.close(os.open(name, os.O_CREAT | os.O_RDWR))
`);
    expect(pathsOf(run)).toEqual([' ', '-rf', 'n'.repeat(255), 'zz', 'é 漢 😀 "quote"']);
    expect(run.artifacts_skipped).toEqual({
      count: 4,
      entries: expect.arrayContaining([
        { path: '\\xc3.txt', reason: 'name' },
        { path: 'new\nline', reason: 'name' },
        { path: 'back\\slash', reason: 'name' },
        { path: '\u001b[2J', reason: 'name' },
      ]) as unknown,
    });
    const files = await filesLeft(sandbox.engine.engine.executions, run);
    expect([...files.keys()]).toEqual(pathsOf(run));
  });

  it('R09 as many files as the file system holds end at the limit, and the result comes', async () => {
    const run = await leave(
      `
import os
made = 0
try:
    while True: os.close(os.open('f%07d' % made, os.O_CREAT | os.O_RDWR)); made += 1
except OSError: print(made)
`,
      { limits: { disk_bytes: 64 * MIB, memory_bytes: 256 * MIB } },
    );
    expect(Number(run.stdout)).toBeGreaterThan(5000);
    expect(run.artifacts).toHaveLength(20);
    expect(run.artifacts_skipped?.entries[0]).toEqual({ path: 'f0000020', reason: 'too_many' });
    expect(run.artifacts_skipped?.count).toBe(Number(run.stdout) - 20);
  });

  it('R09 more files than are looked at are counted, and the first of them come', async () => {
    const run = await leave(
      `
import os
for n in range(100_050): os.close(os.open('f%06d' % n, os.O_CREAT | os.O_RDWR))
`,
      { limits: { disk_bytes: 512 * MIB, memory_bytes: 1024 * MIB } },
    );
    expect(run.outcome, run.stderr).toMatchObject({ kind: 'exited', exit_code: 0 });
    expect(run.artifacts).toHaveLength(20);
    // main.py is counted where its name came late: nobody looked whether it is as it was.
    expect([100_050 - 20, 100_050 - 19]).toContain(run.artifacts_skipped?.count);
    expect(new Set(run.artifacts_skipped?.entries.map(({ reason }) => reason))).toEqual(new Set(['too_many']));
  });

  it('R10 nothing of the program is alive while its files are collected', async () => {
    const run = await leave(`
import os, time
${CONTROL}if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    n = 0
    while True:
        n += 1
        with open('churn', 'w') as f: f.write('x' * (n % 5000))
        if n % 3 == 0: os.replace('churn', 'zz')
time.sleep(0.3)
`);
    expect(run.outcome).toMatchObject({ kind: 'exited', exit_code: 0 });
    const files = await filesLeft(sandbox.engine.engine.executions, run);
    for (const { path, size, sha256: hash } of run.artifacts ?? []) {
      expect(files.get(path)?.content.length, path).toBe(size);
      expect(sha256(files.get(path)?.content ?? ''), path).toBe(hash);
    }
    expect(pathsOf(run)).toContain('zz');
  });

  it('R11 what cannot be read is told; modes are ours', async () => {
    const run = await leave(`
import os
${CONTROL}os.mkdir('closed'); open('closed/a', 'w').close(); os.chmod('closed', 0)
open('secret', 'w').close(); os.chmod('secret', 0)
open('tool', 'w').close(); os.chmod('tool', 0o7777)
`);
    expect(pathsOf(run)).toEqual(['tool', 'zz']);
    expect(run.artifacts_skipped?.entries).toEqual([
      { path: 'closed', reason: 'unreadable' },
      { path: 'secret', reason: 'unreadable' },
    ]);
    const files = await filesLeft(sandbox.engine.engine.executions, run);
    expect(files.get('tool')?.mode).toBe(0o755);
  });

  it('R11 a /work that was closed to everybody is told of, too', async () => {
    for (const mode of ['0', '0o111']) {
      const run = await leave(`import os\nopen('a', 'w').close()\nos.chmod('/work', ${mode})`);
      expect(pathsOf(run)).toEqual([]);
      expect(run.artifacts_skipped).toEqual({ count: 1, entries: [{ path: '.', reason: 'unreadable' }] });
    }
  });

  it('R12 what comes back can be sent in again as a project', async () => {
    const first = await leave(`import os; os.makedirs('pkg'); open('pkg/${'long'.repeat(40)}é.py', 'w').write('x')
open('main.py', 'w').write('import os; print(sorted(os.listdir("pkg")))')`);
    const { executions } = sandbox.engine.engine;
    const files = await filesLeft(executions, first);
    const second = await leave(Object.fromEntries([...files].map(([path, { content }]) => [path, content])));
    expect(second.stdout).toBe(`['${'long'.repeat(40)}é.py']\n`);
  });
});

describe('files of an earlier run', () => {
  it('are in /work as they were left, and are not left again', async () => {
    const first = await leave(`import os
os.makedirs('bin'); open('bin/tool', 'w').write('#!/bin/sh\\necho made before'); os.chmod('bin/tool', 0o755)
open('data.bin', 'wb').write(bytes(range(256)) * 8192)`);
    const second = await leave(
      `import subprocess, hashlib
print(subprocess.check_output(['bin/tool'], text=True).strip(), hashlib.sha256(open('in/data.bin', 'rb').read()).hexdigest())
open('new', 'w').close()`,
      {
        filesFrom: [
          { executionId: first.execution_id, path: 'bin/tool' },
          { executionId: first.execution_id, as: 'in' },
        ],
      },
    );
    expect(second.stdout, second.stderr).toBe(`made before ${String(first.artifacts?.[1]?.sha256)}\n`);
    expect(pathsOf(second)).toEqual(['new']);
  });
});
