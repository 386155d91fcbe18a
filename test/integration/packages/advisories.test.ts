/**
 * Packages with known vulnerabilities, over HTTP: told of in every form of answer, or
 * refused before the program begins; what a source costs that is away, slow or asked
 * by many; what a restart keeps.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditLines } from '../../support/audit-lines.ts';
import { advisory, AdvisorySource } from '../../support/advisory-source.ts';
import { removeLayers } from '../../support/layers.ts';
import { PackageIndex } from '../../support/package-index.ts';
import { Door } from '../../support/python-executor-requests.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';
import { wheel } from '../../support/wheels.ts';

const INSTANCE = `test-advisories-${String(process.pid)}`;
const MARK = 'started-and-seen';
const PROGRAM = `import sys, old; print("${MARK}", old.VERSION, file=sys.stderr); print(old.VERSION)`;
const OLD = advisory('GHSA-1', 'old', '1.0', '1.5', {
  aliases: ['CVE-2024-1'],
  database_specific: { severity: 'HIGH' },
});
const FOUND = {
  status: 'complete',
  packages_checked: 1,
  count: 1,
  findings: [
    {
      package: 'old',
      version: '1.0',
      ids: ['GHSA-1'],
      aliases: ['CVE-2024-1'],
      severity: 'high',
      fixed_versions: ['1.5'],
      summary: 'what GHSA-1 is',
    },
  ],
};
const SENTENCE = 'old==1.0 has a known vulnerability (CVE-2024-1, high); ask for old>=1.5.';

let index: PackageIndex;
beforeAll(async () => {
  index = await PackageIndex.open(
    wheel({ name: 'old' }),
    wheel({ name: 'old', version: '1.5' }),
    wheel({ name: 'leans', requires: ['old<1.5'] }),
    wheel({ name: 'tqdm' }),
  );
});
afterAll(async () => {
  await removeLayers(INSTANCE);
  await index[Symbol.asyncDispose]();
});
/** A service with a source of its own that knows of one vulnerability, and what it asked. */
const open = async (settings: Record<string, string> = {}) => {
  const source = await AdvisorySource.open(OLD);
  const door = await Door.open({
    ...index.settings,
    ...source.settings,
    PYEXEC_POOL_SIZE: '1',
    PYEXEC_INSTANCE: INSTANCE,
    ...settings,
  });
  return {
    door,
    source,
    post: (document: object, headers = {}) =>
      door.request('/api/v1/exec', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(document),
      }),
    [Symbol.asyncDispose]: async () => {
      await door[Symbol.asyncDispose]();
      await source[Symbol.asyncDispose]();
    },
  };
};
const auditOf = (directory: string) => auditLines(directory, 'advised');
const lastEvent = (text: string) => JSON.parse(text.trim().split('\n').at(-1) ?? '') as Record<string, unknown>;

describe('where the operator wants to know', () => {
  const state = temporaryStateDirectory();
  let service: Awaited<ReturnType<typeof open>>;
  beforeAll(async () => {
    service = await open({ PYEXEC_STATE_DIR: state.path });
  });
  afterAll(async () => {
    await service[Symbol.asyncDispose]();
    state.remove();
  });

  it('a finding stands beside the packages in every form of answer, and the program runs', async () => {
    const { door, post } = service;
    const asked = { code: PROGRAM, requirements: 'old==1.0' };
    const ran = { stdout: '1.0\n', packages: ['old==1.0'], advisories: FOUND };
    const { body } = await post(asked);
    expect(body).toMatchObject(ran);
    expect(body).not.toHaveProperty('hint');
    expect((await door.fetched(body['execution_id'])).body).toMatchObject(ran);
    const lines = await post(asked, { accept: 'application/x-ndjson' });
    expect(lastEvent(lines.text)).toMatchObject({ type: 'result', advisories: FOUND });
    const stream = await post(asked, { accept: 'text/event-stream' });
    expect(stream.text).toMatch(/event: result\n.*"advisories":\{"status":"complete"/);
    expect((await door.run(PROGRAM, { requirements_txt: 'old==1.0' })).body).toMatchObject(ran);
    expect((await door.eval({ code: PROGRAM, requirements_txt: 'old==1.0' })).body).toMatchObject(ran);
    // All of it came of one question.
    expect(service.source.requests).toEqual(['POST /v1/querybatch', 'GET /v1/vulns/GHSA-1']);
  });

  it('what comes with something else is found as well; what is fixed, and what needs no package, is clean', async () => {
    const { post } = service;
    expect((await post({ code: PROGRAM, requirements: 'leans' })).body).toMatchObject({
      stdout: '1.0\n',
      advisories: { ...FOUND, packages_checked: 2 },
    });
    const fixed = (await post({ code: PROGRAM, requirements: 'old>=1.5' })).body;
    expect(fixed).toMatchObject({ stdout: '1.5\n', advisories: { status: 'complete', count: 0 } });
    expect((await post({ code: 'print(1)' })).body).not.toHaveProperty('advisories');
    const skipped = await post({ code: 'print(1)', requirements: 'old; python_version < "3"' });
    expect(skipped.body).toMatchObject({ stdout: '1\n', packages: [] });
    expect(skipped.body).not.toHaveProperty('advisories');
  });

  it('a source that is away lets runs begin, and no answer looks clean', async () => {
    const { door, post, source: mine } = service;
    mine.misbehave = (_request, response) => {
      response.writeHead(502).end();
      return true;
    };
    const { body } = await post({ code: 'import tqdm; print(tqdm.VERSION)', requirements: 'tqdm' });
    expect(body).toMatchObject({ stdout: '1.0\n', advisories: { status: 'unavailable' } });
    expect(body['advisories']).not.toHaveProperty('count');
    mine.misbehave = () => false;
    const metrics = (await door.request('/metrics')).text;
    expect(metrics).toMatch(/pyexec_advisory_checks_total\{result="findings"\} [1-9]/);
    expect(metrics).toMatch(/pyexec_advisory_checks_total\{result="clean"\} 1/);
    expect(metrics).toMatch(/pyexec_advisory_checks_total\{result="unavailable"\} 1/);
    expect(metrics).toMatch(/pyexec_advisory_source_seconds_count\{result="refused"\} 1/);
    expect((await door.request('/ready')).status).toBe(200);
  });

  it('the audit log has the ids, by execution', async () => {
    const { door, post } = service;
    const { body } = await post({ code: PROGRAM, requirements: 'old==1.0' });
    await door[Symbol.asyncDispose]();
    const entry = auditOf(state.path).find(({ execution_id }) => execution_id === body['execution_id']);
    expect(entry).toMatchObject({ caller: 'anonymous', status: 'complete', count: 1, ids: ['GHSA-1'], accepted: [] });
    expect(JSON.stringify(entry)).not.toContain('what GHSA-1 is');
  });
});

describe('where the operator blocks', () => {
  const block = { PYEXEC_ADVISORIES: 'block' };
  const clean = { code: 'import tqdm; print(tqdm.VERSION)', requirements: 'tqdm' };

  it('a package with a finding is refused before the program begins, through every door, with what to do', async () => {
    const state = temporaryStateDirectory();
    {
      await using service = await open({ ...block, PYEXEC_STATE_DIR: state.path });
      const { door, post } = service;
      const asked = { code: PROGRAM, requirements: 'old==1.0' };
      const { body, headers, status } = await post(asked);
      expect(status).toBe(422);
      expect(headers.get('x-error-code')).toBe('advisory_findings');
      expect(body).toMatchObject({
        code: 'advisory_findings',
        retryable: false,
        detail: SENTENCE,
        hint: `The program was not started. ${SENTENCE}`,
        advisories: FOUND,
      });
      const { body: stored } = await door.fetched(body['execution_id']);
      expect(stored).toMatchObject({ status: 'failed', stdout: '', stderr: '', advisories: FOUND });
      expect(stored).not.toHaveProperty('started_at');
      const lines = await post(asked, { accept: 'application/x-ndjson' });
      expect(lastEvent(lines.text)).toMatchObject({
        type: 'error',
        code: 'advisory_findings',
        detail: SENTENCE,
        advisories: FOUND,
      });
      expect(lines.text).not.toContain(MARK);
      const theirs = await door.run(PROGRAM, { requirements_txt: 'old==1.0' });
      expect(theirs.body).toMatchObject({ status: 'failed', error: SENTENCE, advisories: FOUND });
      expect(theirs.text).not.toContain(MARK);
      // With what it says, it runs.
      expect((await post({ ...asked, requirements: 'old>=1.5' })).body).toMatchObject({ stdout: '1.5\n' });
      expect((await door.request('/metrics')).text).toMatch(/pyexec_advisory_findings_refused_total 3/);
    }
    expect(auditOf(state.path)).toContainEqual(
      expect.objectContaining({ refused: 'advisory_findings', ids: ['GHSA-1'] }),
    );
    state.remove();
  });

  it('what becomes known refuses the next run, also where a sandbox of its layer is ready', async () => {
    await using service = await open({ ...block, PYEXEC_ADVISORIES_REFRESH: '0', PYEXEC_POOL_LAYERS: '1' });
    const { door, post } = service;
    for (let run = 0; run < 2; run += 1) expect((await post(clean)).body).toMatchObject({ stdout: '1.0\n' });
    const shapeReady = /pyexec_pool_shape_ready\{shape="[^"]*\+packages"\} [1-9]/;
    await expect.poll(async () => (await door.request('/metrics')).text, { timeout: 20_000 }).toMatch(shapeReady);
    service.source.knows(advisory('GHSA-3', 'tqdm', '1.0', '2.0'));
    // This one is answered from what is kept, and asks beside it.
    await post(clean);
    await expect.poll(async () => (await post(clean)).body['code'], { timeout: 10_000 }).toBe('advisory_findings');
    await expect.poll(async () => (await door.request('/metrics')).text, { timeout: 20_000 }).toMatch(shapeReady);
    const again = await post({ ...clean, code: `print("${MARK}")` }, { accept: 'application/x-ndjson' });
    expect(lastEvent(again.text)).toMatchObject({ code: 'advisory_findings' });
    expect(again.text).not.toContain(MARK);
  });

  it('a guess with a finding is left out, and the program runs without it', async () => {
    await using service = await open(block);
    service.source.knows({ id: 'GHSA-2', affects: { tqdm: ['1.0'] }, document: {} });
    const { body } = await service.door.eval({
      code: 'try:\n    import tqdm\nexcept ImportError:\n    print("without")\n',
    });
    expect(body).toMatchObject({ stdout: 'without\n', detected_packages: ['tqdm'] });
    expect(body).not.toHaveProperty('packages');
    expect(body).not.toHaveProperty('advisories');
  });

  it('what the operator accepts runs, and is told of', async () => {
    await using service = await open({ ...block, PYEXEC_ADVISORIES_ACCEPTED: 'CVE-2024-1' });
    expect((await service.post({ code: PROGRAM, requirements: 'old==1.0' })).body).toMatchObject({
      stdout: '1.0\n',
      advisories: { status: 'complete', count: 0, findings: [{ ids: ['GHSA-1'], accepted: true }] },
    });
  });

  it('a source that is away refuses what it was never asked, and says that it was the source', async () => {
    await using service = await open({ ...block, PYEXEC_ADVISORIES_TIMEOUT: '1' });
    const { post, source: mine } = service;
    // It takes the question and never answers.
    mine.misbehave = () => true;
    const { body, headers, status } = await post(clean, { 'idempotency-key': 'again' });
    expect(status).toBe(503);
    expect(headers.get('retry-after')).toBe('5');
    expect(body).toMatchObject({
      code: 'advisories_unavailable',
      retryable: true,
      advisories: { status: 'unavailable' },
    });
    expect(body['detail']).toMatch(/the source of advisories gave no answer \(it did not answer in time\)/);
    // Nothing is looked up for a run that installs nothing.
    expect((await post({ code: 'print(1)' })).body).toMatchObject({ stdout: '1\n' });
    mine.misbehave = () => false;
    let again = await post(clean, { 'idempotency-key': 'again' });
    const deadline = performance.now() + 20_000;
    while (again.status === 503 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      again = await post(clean, { 'idempotency-key': 'again' });
    }
    expect(again).toMatchObject({ status: 200, body: { stdout: '1.0\n' } });
  });

  it('what is kept outlives the server and the source', async () => {
    const state = temporaryStateDirectory();
    let url = '';
    {
      await using service = await open({ ...block, PYEXEC_STATE_DIR: state.path });
      url = service.source.url;
      expect((await service.post(clean)).status).toBe(200);
    }
    await using service = await open({ ...block, PYEXEC_STATE_DIR: state.path, PYEXEC_ADVISORIES_URL: url });
    expect((await service.post(clean)).body).toMatchObject({ stdout: '1.0\n', advisories: { status: 'complete' } });
    expect((await service.post({ code: PROGRAM, requirements: 'old==1.5' })).body['code']).toBe(
      'advisories_unavailable',
    );
    await service.door[Symbol.asyncDispose]();
    state.remove();
  });
});

it('many runs of the same packages at once ask once, while the packages are installed', async () => {
  await removeLayers(INSTANCE);
  await using service = await open({ PYEXEC_MAX_CONCURRENT: '64' });
  const order: string[] = [];
  service.source.misbehave = (request) => {
    order.push(request.url ?? '');
    return false;
  };
  index.misbehave = (request) => {
    if (request.url?.startsWith('/files/') && request.method === 'GET') order.push('file');
    return false;
  };
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => service.post({ code: PROGRAM, requirements: 'old==1.0' })),
  );
  index.misbehave = () => false;
  for (const { body } of answers) expect(body).toMatchObject({ stdout: '1.0\n', advisories: FOUND });
  expect(order.filter((target) => target === '/v1/querybatch')).toHaveLength(1);
  expect(service.source.requests).toHaveLength(2);
  // A second use asks nobody.
  expect((await service.post({ code: PROGRAM, requirements: 'old==1.0' })).body).toMatchObject({ advisories: FOUND });
  expect(service.source.requests).toHaveLength(2);
});

it('an installation does not wait for the source, and a run for no longer than the bound', async () => {
  await removeLayers(INSTANCE);
  await using service = await open({ PYEXEC_ADVISORIES_TIMEOUT: '2' });
  service.source.misbehave = () => true;
  const { body } = await service.post({ code: PROGRAM, requirements: 'old==1.0' });
  expect(body).toMatchObject({ stdout: '1.0\n', advisories: { status: 'unavailable' } });
  const metrics = (await service.door.request('/metrics')).text;
  const sumOf = (phase: string) =>
    Number(new RegExp(`pyexec_layer_seconds_sum\\{phase="${phase}"\\} (\\S+)`).exec(metrics)?.[1]);
  const waited = Number(/pyexec_advisory_source_seconds_sum\{result="timed_out"\} (\S+)/.exec(metrics)?.[1]);
  expect(waited).toBeGreaterThan(1.9);
  expect(waited).toBeLessThan(4);
  // The source was asked when the versions were known, beside the installation.
  expect(sumOf('install')).toBeGreaterThan(0);
  expect(service.source.requests).toHaveLength(1);
});
