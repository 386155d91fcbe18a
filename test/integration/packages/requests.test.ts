/**
 * Requirements in every form of request, over HTTP: ours and python-executor's, what
 * is refused, what is reported, and what a wrong guess costs.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PackageIndex } from '../../support/package-index.ts';
import { Door } from '../../support/python-executor-requests.ts';
import { plainTar } from '../../support/python-executor-tars.ts';
import { removeLayers } from '../../support/layers.ts';
import { wheel } from '../../support/wheels.ts';

const INSTANCE = `test-requests-${String(process.pid)}`;
const PROGRAM = 'import fine, other\nprint(fine.VERSION, other.VERSION)\n';
const TAR = plainTar({ 'main.py': PROGRAM });
let index: PackageIndex;
let door: Door;
beforeAll(async () => {
  index = await PackageIndex.open(
    wheel({ name: 'fine' }),
    wheel({ name: 'other' }),
    wheel({ name: 'PyYAML', files: { 'yaml.py': 'NAME = "PyYAML"\n' } }),
    wheel({ name: 'secret-tool' }),
  );
  door = await Door.open({
    ...index.settings,
    PYEXEC_POOL_SIZE: '0',
    PYEXEC_INSTANCE: INSTANCE,
    PYEXEC_PACKAGES: 'allow-list',
    PYEXEC_PACKAGES_ALLOWED: 'Fine,other,pyyaml,optional_thing',
    PYEXEC_MAX_REQUIREMENTS: '5',
  });
});
afterAll(async () => {
  await door[Symbol.asyncDispose]();
  await removeLayers(INSTANCE);
  await index[Symbol.asyncDispose]();
});

const ran = { status: 200, body: { stdout: '1.0 1.0\n', packages: ['fine==1.0', 'other==1.0'] } };
const postJson = (document: object) =>
  door.request('/api/v1/exec', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(document),
  });

describe('requirements arrive', () => {
  it('as a list and as text in JSON', async () => {
    expect(await postJson({ code: PROGRAM, requirements: ['fine', 'other==1.0'] })).toMatchObject(ran);
    expect(await postJson({ code: PROGRAM, requirements: '# needed\nfine\nother ==1.0 # pinned\n' })).toMatchObject(
      ran,
    );
  });

  it('in the query of an archive, and in the metadata of a form', async () => {
    const raw = await door.request('/api/v1/exec?requirement=fine&requirement=other', {
      method: 'POST',
      headers: { 'content-type': 'application/x-tar' },
      body: Buffer.from(TAR),
    });
    expect(raw).toMatchObject(ran);
    const form = new FormData();
    form.set('metadata', JSON.stringify({ requirements: 'fine\nother' }));
    form.set('tar', new Blob([Buffer.from(TAR)]));
    expect(await door.request('/api/v1/exec', { method: 'POST', body: form })).toMatchObject(ran);
  });

  it('difference: `requirements_txt` of python-executor, on all of its routes', async () => {
    expect(await door.exec(TAR, { requirements_txt: 'fine\nother\n' })).toMatchObject(ran);
    expect(await door.eval({ code: PROGRAM, requirements_txt: 'fine\nother\n' })).toMatchObject({
      status: 200,
      body: { stdout: '1.0 1.0\n' },
    });
    const { body } = await door.exec(TAR, { requirements_txt: 'fine\nother\n' }, { mode: 'async' });
    const answer = await door.until(body['execution_id'], ({ status }) => status !== 'pending' && status !== 'running');
    expect(answer).toMatchObject({ body: { status: 'completed', stdout: '1.0 1.0\n' } });
  });
});

describe('the imports of an eval', () => {
  it('are installed, under the name the index has for them', async () => {
    const { body } = await door.eval({ code: 'import yaml; print(yaml.NAME)' });
    expect(body).toMatchObject({ stdout: 'PyYAML\n', detected_packages: ['PyYAML'], packages: ['pyyaml==1.0'] });
  });

  it('are added to what was asked for, and opted out of with a dash', async () => {
    const both = await door.eval({ code: PROGRAM, requirements_txt: 'fine==1.0' });
    expect(both.body).toMatchObject({ stdout: '1.0 1.0\n', packages: ['fine==1.0', 'other==1.0'] });
    const none = await door.eval({ code: PROGRAM, requirements_txt: '-' });
    expect(none.body).toMatchObject({
      exit_code: 1,
      stderr: expect.stringContaining("No module named 'fine'") as string,
    });
    expect(none.body).not.toHaveProperty('packages');
  });

  it('difference: Import detection (`/eval`): a guess that cannot be had stops nothing', async () => {
    const code = 'try:\n    import optional_thing\nexcept ImportError:\n    print("without")\n';
    expect((await door.eval({ code })).body).toMatchObject({ status: 'completed', stdout: 'without\n' });
    // One the operator does not allow is not even looked for.
    const asked = index.requests.length;
    await door.eval({ code: 'import secret_tool' });
    expect(index.requests.length).toBe(asked);
    // Another guess is had although that one is not, also the second time, when what it came to is known.
    for (let round = 0; round < 2; round += 1) {
      const two = await door.eval({ code: `${code}import fine; print(fine.VERSION)` });
      expect(two.body).toMatchObject({ stdout: 'without\n1.0\n', packages: ['fine==1.0'] });
    }
    // What was asked for is had although the guess is not.
    const mixed = await door.eval({ code: `${code}import fine; print(fine.VERSION)`, requirements_txt: 'fine' });
    expect(mixed.body).toMatchObject({ stdout: 'without\n1.0\n', packages: ['fine==1.0'] });
  });
});

describe('refused before anything is started', () => {
  it.each<[string, unknown, number, object]>([
    ['an option', '--index-url https://evil.example/simple', 422, { code: 'requirements_invalid', line: 1 }],
    ['a URL', ['fine', 'fine @ https://evil.example/x.whl'], 422, { code: 'requirements_invalid', line: 2 }],
    [
      'a package that is not allowed',
      ['fine', 'secret_tool'],
      403,
      { code: 'requirements_not_allowed', package: 'secret-tool' },
    ],
    ['too many', Array.from({ length: 6 }, (_, number) => `p${String(number)}`), 422, { code: 'requirements_invalid' }],
    ['two lines in one', ['fine\n-e .'], 400, { code: 'invalid_request', field: 'requirements.0' }],
  ])('%s', async (_name, requirements, status, body) => {
    const asked = index.requests.length;
    expect(await postJson({ code: 'print(1)', requirements })).toMatchObject({ status, body });
    expect(index.requests.length).toBe(asked);
  });

  it('and what cannot be had is a problem that says why', async () => {
    expect(await postJson({ code: 'print(1)', requirements: ['fine>9'] })).toMatchObject({
      status: 422,
      body: { code: 'resolution_failed', retryable: false, detail: expect.stringContaining('fine>9') as string },
    });
    const sync = await door.exec(TAR, { requirements_txt: 'fine>9' });
    expect(sync).toMatchObject({
      status: 200,
      body: { status: 'failed', error: expect.stringContaining('fine>9') as string },
    });
  });
});
