/** Files that belong to one of many inputs: in every form that takes them, and what the gate says of them. */
import { text } from 'node:stream/consumers';
import { Readable } from 'node:stream';
import { extract } from 'tar-stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { archive, file, symlink } from '../../support/hostile-archives.ts';
import { EXEC, postJson, startHttp, type Program } from '../../support/http-server.ts';

type Server = Awaited<ReturnType<typeof startHttp>>;
type Body = Record<string, unknown>;

/** Prints the files that lie over the project, input by input. */
const program: Program = async ({ out, plan }) => {
  for (const { overlay } of plan.inputs?.list ?? []) {
    const names: string[] = [];
    for await (const entry of Readable.from([Buffer.from(overlay?.tar ?? [])]).pipe(extract())) {
      const content = await text(entry);
      if (entry.header.type === 'file')
        names.push(`${entry.header.name}=${content}/${String(entry.header.mode?.toString(8))}`);
    }
    out(`${names.join(' ')}\n`);
  }
};

let server: Server;
beforeAll(async () => {
  server = await startHttp({ program });
});
afterAll(() => server[Symbol.asyncDispose]());

const bodyOf = async (response: Response) => ({ status: response.status, body: (await response.json()) as Body });
const post = async (inputs: unknown, project: object = { code: 'pass' }) =>
  bodyOf(await postJson(server, { ...project, inputs }));
const form = async (inputs: unknown, project: Uint8Array, isMetadataFirst = false) => {
  const data = new FormData();
  const metadata = JSON.stringify({ inputs });
  if (isMetadataFirst) data.append('metadata', metadata);
  data.append('tar', new Blob([Buffer.from(project)]));
  if (!isMetadataFirst) data.append('metadata', metadata);
  return bodyOf(await fetch(server.url + EXEC, { method: 'POST', body: data }));
};

describe('files of an input', () => {
  it('lie over the project for that input, as an object or as a list', async () => {
    const { status, body } = await post([
      { files: { 'main.py': 'other', 'data/a.txt': 'A' } },
      {},
      { files: [{ name: './run.sh', content: 'IyE=', encoding: 'base64', executable: true }] },
      { files: {} },
    ]);
    expect(status).toBe(200);
    expect(body['stdout']).toBe('main.py=other/644 data/a.txt=A/644\n\nrun.sh=#!/755\n\n');
  });

  it('come with a tar in the metadata, whichever is first', async () => {
    const project = archive(file('main.py', '1'), file('data/b.txt', 'b'));
    for (const isFirst of [true, false]) {
      const { body } = await form([{ files: { 'data/a.txt': 'A' } }], project, isFirst);
      expect(body['stdout']).toBe('data/a.txt=A/644\n');
    }
    expect(server.spooled()).toEqual([]);
  });

  it.each([
    ['path_escape', '../x', 'inputs[3].files["../x"]'],
    ['path_escape', '/etc/x', 'inputs[3].files["/etc/x"]'],
    ['invalid_name', 'a\\b', 'inputs[3].files["a\\\\b"]'],
    ['invalid_name', 'a\u0000', 'inputs[3].files["a\\u0000"]'],
    ['invalid_name', '', 'inputs[3].files[""]'],
    ['name_too_long', 'x'.repeat(256), `inputs[3].files["${'x'.repeat(100)}…"]`],
    ['too_deep', 'a/'.repeat(70) + 'a', undefined],
  ])('%s of %j is refused, naming the file', async (code, path, field) => {
    const { status, body } = await post([{}, {}, {}, { files: { fine: '', [path]: 'x' } }]);
    expect(status).toBe(400);
    expect(body).toMatchObject({ code, ...(field === undefined ? {} : { field }) });
    if (field !== undefined) expect(body['detail']).toContain(`${field}: `);
  });

  it('may not change what kind of thing a path of the project is, nor lie below a link', async () => {
    const project = archive(file('main.py', ''), file('d/f', ''), symlink('l', 'd'));
    const codeOf = async (path: string) => {
      const { body } = await form([{ files: { [path]: '' } }], project);
      return [body['code'], body['field']];
    };
    const at = (path: string) => `inputs[0].files["${path}"]`;
    expect(await codeOf('d')).toEqual(['type_conflict', 'inputs[0].files.d']);
    expect(await codeOf('l')).toEqual(['type_conflict', 'inputs[0].files.l']);
    expect(await codeOf('d/f/g')).toEqual(['type_conflict', at('d/f/g')]);
    expect(await codeOf('l/f')).toEqual(['write_through_link', at('l/f')]);
    expect(await codeOf('./l/f')).toEqual(['write_through_link', at('./l/f')]);
    expect(await codeOf('d/f')).toEqual([undefined, undefined]);
    const twice = await post([{ files: { a: '', './a': '' } }]);
    expect(twice.body).toMatchObject({ code: 'duplicate_entry', field: 'inputs[0].files["./a"]' });
    expect(server.spooled()).toEqual([]);
  });

  it('are bounded, one and all together', async () => {
    const large = await post([{ files: { a: 'x'.repeat(3 << 20) } }], { code: '', limits: { disk_bytes: 1 << 20 } });
    expect(large).toMatchObject({ status: 413, body: { code: 'project_too_large', field: 'inputs[0].files' } });
    const many = await post(
      [{ files: Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`f${String(n)}`, ''])) }],
      {
        code: '',
        limits: { disk_bytes: 1 << 20 },
      },
    );
    expect(many.body).toMatchObject({ code: 'project_too_large' });
  });

  it.each([
    ['a number', { files: { a: 1 } }, 'inputs[0].files.a'],
    ['a name in the list that is none', { files: [{ content: '' }] }, 'inputs[0].files[0]'],
    ['what is not base64', { files: [{ name: 'a', content: '!', encoding: 'base64' }] }, 'inputs[0].files[0].content'],
    ['text', { files: 'a' }, 'inputs[0].files'],
    ['arguments of another type', { args: [1] }, 'inputs[0].args[0]'],
    ['stdin twice', { stdin: '', stdin_base64: '' }, 'inputs[0].stdin_base64'],
    ['arguments with a NUL', { args: ['\u0000'] }, 'inputs[0].args'],
  ])('%s is refused, naming the field', async (_, input, field) => {
    expect(await post([input])).toMatchObject({ status: 400, body: { code: 'invalid_request', field } });
  });

  it('inputs that are none, too many, or misspelled are refused', async () => {
    for (const inputs of [[], 1, 'x', null, {}]) {
      expect((await post(inputs)).body).toMatchObject({ code: 'invalid_request', field: 'inputs' });
    }
    const many = await post(Array.from({ length: 10_000 }, () => ({})));
    expect(many.body).toMatchObject({ code: 'invalid_request', field: 'inputs', maximum: 8 });
    expect((await post([{ stdn: '' }])).body).toMatchObject({ code: 'unknown_field', field: 'inputs[0].stdn' });
    const huge = await post([{ stdin: 'x'.repeat(9 << 20) }, { stdin: 'x'.repeat(9 << 20) }]);
    expect(huge).toMatchObject({ status: 413, body: { code: 'body_too_large' } });
  });
});

describe('beside inputs', () => {
  it('nothing is accepted that nobody would get', async () => {
    for (const asked of [{ artifacts: true }, { artifacts: ['*.png'] }, { displays: true }]) {
      const { status, body } = await post([{}], { code: 'pass', ...asked });
      expect(status).toBe(400);
      expect(body).toMatchObject({ code: 'invalid_request', field: Object.keys(asked)[0] });
    }
    const { status } = await post([{}], { code: 'pass', artifacts: false, displays: false });
    expect(status).toBe(200);
  });
});
