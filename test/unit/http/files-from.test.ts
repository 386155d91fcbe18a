/** Files of earlier executions as part of a new project: which are found, whose they are, and what the gate says of them. */
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Readable } from 'node:stream';
import { extract } from 'tar-stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_ARCHIVE_LIMITS } from '../../../src/archive/archive-limits.ts';
import type { Caller, Scope } from '../../../src/domain/caller.ts';
import { archive, file, symlink } from '../../support/hostile-archives.ts';
import { endless, EXEC, postJson, postTar, startHttp, tar, type Program } from '../../support/http-server.ts';

type Body = Record<string, unknown> & { execution_id: string };
type Server = Awaited<ReturnType<typeof startHttp>>;

/** Of `args`: `leave` leaves files; everything else prints what is in the project, with its modes. */
const program: Program = async ({ out, sink, plan, project }) => {
  if (plan.args[0] === 'leave') {
    for (const path of plan.args.slice(1)) {
      const content = Buffer.from(`content of ${path}`);
      sink.artifacts?.begin({ path, size: content.length, executable: path.endsWith('.sh') });
      await sink.artifacts?.data(content);
      await sink.artifacts?.end(true);
    }
    return;
  }
  for await (const entry of Readable.from(project.read()).pipe(extract())) {
    const { name, mode, type } = entry.header;
    const content = await text(entry);
    if (type === 'file') out(`${name} ${String(mode?.toString(8))} ${content}\n`);
  }
};

let server: Server;
let left: string;
const bodyOf = async (response: Response) => (await response.json()) as Body;
const leave = async (on: Server, paths: string[], headers: Record<string, string> = {}) =>
  (await bodyOf(await postJson(on, { code: '1', args: ['leave', ...paths] }, { headers }))).execution_id;

beforeAll(async () => {
  server = await startHttp({ program });
  left = await leave(server, ['a.txt', 'out/b é.csv', 'out/run.sh']);
});
afterAll(() => server[Symbol.asyncDispose]());

const CODE = 'main.py 644 1\n';

describe('files of an earlier execution', () => {
  it('are beside those of the project, under their path or another, executable where they were', async () => {
    const of = async (...files: object[]) =>
      (await bodyOf(await postJson(server, { code: '1', files_from: files })))['stdout'];
    const named = { execution_id: left, path: 'a.txt' };
    expect(await of(named)).toBe(`${CODE}a.txt 644 content of a.txt\n`);
    expect(await of({ ...named, as: 'data/in.txt' }, named)).toBe(
      `${CODE}data/in.txt 644 content of a.txt\na.txt 644 content of a.txt\n`,
    );
    const all = `a.txt 644 content of a.txt\nout/b é.csv 644 content of out/b é.csv\nout/run.sh 755 content of out/run.sh\n`;
    expect(await of({ execution_id: left })).toBe(CODE + all);
    expect(await of({ execution_id: left, as: 'before/' })).toBe(CODE + all.replaceAll(/^(?=.)/gm, 'before/'));
  });

  it('come in every form of a request', async () => {
    const query = new URLSearchParams([['files_from', `${left}/out/b é.csv`]]);
    const raw = await bodyOf(await postTar(server, tar('1'), { query: `?${query.toString()}` }));
    expect(raw['stdout']).toBe(`${CODE}out/b é.csv 644 content of out/b é.csv\n`);
    const all = await bodyOf(await postTar(server, tar('1'), { query: `?files_from=${left}` }));
    expect(String(all['stdout']).split('\n')).toHaveLength(5);
    for (const isFirst of [true, false]) {
      const form = new FormData();
      const metadata = JSON.stringify({ files_from: [{ execution_id: left, path: 'a.txt' }] });
      if (isFirst) form.append('metadata', metadata);
      form.append('tar', new Blob([tar('1')]));
      if (!isFirst) form.append('metadata', metadata);
      const answer = await bodyOf(await fetch(server.url + EXEC, { method: 'POST', body: form }));
      expect(answer['stdout']).toBe(`${CODE}a.txt 644 content of a.txt\n`);
    }
    expect(server.spooled()).toEqual([]);
  });

  it('may be what is run', async () => {
    const made = await leave(server, ['job.py']);
    const run = await postJson(server, {
      files: { 'data.txt': 'x' },
      files_from: [{ execution_id: made, path: 'job.py' }],
    });
    expect([run.status, server.plans.at(-1)?.entryPoint]).toEqual([200, { kind: 'script', path: 'job.py' }]);
  });
});

describe('what is refused', () => {
  const refusal = async (files: unknown, more: object = { code: '1' }) => {
    const before = server.plans.length;
    const answer = await postJson(server, { ...more, files_from: files });
    expect(server.plans).toHaveLength(before);
    expect(server.spooled()).toEqual([]);
    return { status: answer.status, ...(await bodyOf(answer)) } as Body & { status: number };
  };

  it('what is not there, as what is another caller’s', async () => {
    const here = { execution_id: left };
    expect(await refusal([{ execution_id: 'exe_nothing' }])).toMatchObject({
      status: 404,
      code: 'not_found',
      field: 'files_from.0',
    });
    expect(await refusal([here, { execution_id: left, path: 'nothing' }])).toMatchObject({
      status: 404,
      code: 'artifact_not_found',
      field: 'files_from.1',
    });
    for (const path of ['', '../a.txt', '/etc/passwd', 'out', 'out/', './a.txt', '__proto__']) {
      expect(await refusal([{ execution_id: left, path }])).toMatchObject({ status: 404, code: 'artifact_not_found' });
    }
    const empty = await bodyOf(await postJson(server, { code: '1' }));
    expect(await refusal([{ execution_id: empty.execution_id }])).toMatchObject({ code: 'artifact_not_found' });
  });

  it.each([
    [{ as: 'main.py' }, 400, 'duplicate_entry'],
    [{ as: 'main.py/x' }, 400, 'type_conflict'],
    [{ as: '../x' }, 400, 'path_escape'],
    [{ as: '/x' }, 400, 'path_escape'],
    [{ as: '' }, 400, 'invalid_name'],
    [{ as: 'x/' }, 400, 'invalid_name'],
    [{ as: 'a\nb' }, 400, 'invalid_name'],
    [{ as: 'x'.repeat(256) }, 400, 'name_too_long'],
    [{ as: `${'d/'.repeat(64)}x` }, 400, 'too_deep'],
    [{ as: 1 }, 400, 'invalid_request'],
    [{ to: 'x' }, 400, 'unknown_field'],
    [{ execution_id: undefined }, 400, 'invalid_request'],
  ])('%j: %d %s', async (more, status, code) => {
    const answer = await refusal([{ execution_id: left, path: 'a.txt', ...more }]);
    expect(answer).toMatchObject({ status, code, field: expect.stringMatching(/^files_from\.0/) as string });
  });

  it('what would be written through a link of the project, or is there twice, or is too much', async () => {
    const project = archive(file('main.py', '1'), symlink('out', 'elsewhere'), file('elsewhere/x', ''));
    const answer = await bodyOf(await postTar(server, Buffer.from(project), { query: `?files_from=${left}` }));
    expect(answer).toMatchObject({ code: 'write_through_link', entry: 'out/b é.csv', field: 'files_from.0' });
    const same = { execution_id: left, path: 'a.txt' };
    expect(await refusal([same, same])).toMatchObject({ code: 'duplicate_entry', field: 'files_from.1' });
    expect(await refusal(Array(101).fill(same))).toMatchObject({ code: 'invalid_request', maximum: 100 });
    expect(await refusal({ execution_id: left })).toMatchObject({ code: 'invalid_request', field: 'files_from' });
    const limits = { ...DEFAULT_ARCHIVE_LIMITS, contentBytes: 10 };
    await using small = await startHttp({ program, engine: { projects: { limits, spoolDirectory: tmpdir() } } });
    const there = await leave(small, ['a.txt']);
    const refused = await postJson(small, { code: '1', files_from: [{ execution_id: there }] });
    expect([refused.status, (await bodyOf(refused))['code']]).toEqual([413, 'project_too_large']);
  });

  it('one that goes on, and one whose files are gone or damaged', async () => {
    await using running = await startHttp({ program: endless });
    const { execution_id } = await bodyOf(
      await postJson(running, { code: '1' }, { headers: { prefer: 'respond-async' } }),
    );
    const early = await postJson(running, { code: '1', files_from: [{ execution_id }] });
    expect([early.status, (await bodyOf(early))['code']]).toEqual([404, 'artifact_not_found']);

    const damage = async (spoil: (path: string) => void) => {
      const id = await leave(server, ['x']);
      spoil(join(server.directoryOf(id), 'artifacts.tar'));
      const answer = await postJson(server, { code: '1', files_from: [{ execution_id: id }] });
      return [answer.status, (await bodyOf(answer))['code']];
    };
    expect(await damage(() => undefined)).toEqual([200, undefined]);
    expect(await damage(rmSync)).toEqual([404, 'artifact_not_found']);
    expect(await damage((path) => writeFileSync(path, Buffer.alloc(4096)))).toEqual([500, 'internal']);
    expect(await damage((path) => truncateSync(path, 515))).toEqual([500, 'internal']);
    expect(server.spooled()).toEqual([]);
  });
});

describe('whose they are', () => {
  const CALLERS: Record<string, Caller> = Object.fromEntries(
    (
      [
        ['a', ['run', 'read']],
        ['b', ['run', 'read']],
        ['blind', ['run']],
        ['boss', ['admin']],
      ] as [string, Scope[]][]
    ).map(([id, scopes]) => [id, { id, scopes: new Set(scopes) }]),
  );
  const as = (name: string) => ({ 'x-api-key': name });

  it('their owner’s and the administrator’s; for others they do not exist', async () => {
    await using on = await startHttp({
      program,
      deps: {
        identify: ({ header }) => {
          const caller = CALLERS[header('x-api-key')[0] ?? ''];
          return caller ? Promise.resolve(caller) : Promise.reject(new Error('nobody of this test'));
        },
      },
    });
    const id = await leave(on, ['mine.txt'], as('a'));
    const use = async (who: string, execution_id: string) => {
      const answer = await postJson(on, { code: '1', files_from: [{ execution_id }] }, { headers: as(who) });
      const { request_id: _, ...body } = await bodyOf(answer);
      return body as Record<string, unknown>;
    };
    expect(await use('a', id)).toMatchObject({ status: 'completed' });
    expect(await use('boss', id)).toMatchObject({ status: 'completed' });
    const others = await use('b', id);
    expect(others).toMatchObject({ status: 404, code: 'not_found' });
    expect(await use('b', 'exe_a29bbd78-d117-443a-95c4-c0f212a45f1c')).toEqual(others);
    const own = await leave(on, ['mine.txt'], as('blind'));
    expect(await use('blind', own)).toMatchObject({ status: 403, code: 'forbidden', scope: 'read' });
  });
});

describe('under an Idempotency-Key', () => {
  const keyed = { headers: { 'idempotency-key': 'k' } };

  it('other files are another request; the same are the same, also when they are gone', async () => {
    await using on = await startHttp({ program });
    const one = await leave(on, ['a', 'b']);
    const ask = async (file: object) => bodyOf(await postJson(on, { code: '1', files_from: [file] }, keyed));
    const first = await ask({ execution_id: one, path: 'a' });
    expect(first['stdout']).toContain('content of a');
    for (const other of [
      { execution_id: one, path: 'b' },
      { execution_id: one, path: 'a', as: 'x' },
    ]) {
      expect(await ask(other)).toMatchObject({ code: 'idempotency_key_reused' });
    }
    expect(await bodyOf(await postJson(on, { code: '1' }, keyed))).toMatchObject({ code: 'idempotency_key_reused' });
    rmSync(join(on.directoryOf(one), 'artifacts.tar'));
    expect(await ask({ path: 'a', execution_id: one })).toEqual(first);
  });
});

it('the project that is recorded and run is the one with the files', async () => {
  const seen: string[] = [];
  await using on = await startHttp({
    program,
    engine: {
      witness: {
        accepting: ({ project }) => {
          seen.push(project.sha256);
          return Promise.resolve();
        },
        withdrawn: () => undefined,
      },
    },
  });
  const id = await leave(on, ['a']);
  await postJson(on, { code: '1', files_from: [{ execution_id: id }] });
  const whole = { 'main.py': '1', a: 'content of a' };
  await postJson(on, { files: whole });
  expect(seen[1]).toBe(seen[2]);
  expect(seen[0]).not.toBe(seen[1]);
});
