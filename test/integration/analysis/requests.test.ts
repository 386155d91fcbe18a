/**
 * Analysis over HTTP: in every form of request and answer, kept over a restart, and as
 * a gate in front of every door where the operator blocks.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditLines } from '../../support/audit-lines.ts';
import { Door } from '../../support/python-executor-requests.ts';
import { plainTar } from '../../support/python-executor-tars.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

const HASH = 'import hashlib\nprint(hashlib.md5(b"").hexdigest()[:4])\n';
const FOUND = {
  status: 'complete',
  counts: { low: 0, medium: 0, high: 1 },
  findings: [{ id: 'B324', severity: 'high', confidence: 'high', file: 'main.py', line: 2, cwe: 327 }],
};
const state = temporaryStateDirectory();
let door: Door;
const open = (settings: Record<string, string> = {}) => Door.open({ PYEXEC_POOL_SIZE: '1', ...settings });
beforeAll(async () => {
  door = await open({ PYEXEC_STATE_DIR: state.path });
});
afterAll(async () => {
  await door[Symbol.asyncDispose]();
  state.remove();
});

const postJson = (document: object, to = door, headers = {}) =>
  to.request('/api/v1/exec', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(document),
  });
const auditOf = (directory: string) => auditLines(directory, 'analyzed');

describe('a report that is asked for', () => {
  it('in JSON, in a form and in the query of an archive is in the answer', async () => {
    const ran = { status: 200, body: { stdout: 'd41d\n', analysis: FOUND } };
    expect(await postJson({ code: HASH, analyze: true })).toMatchObject(ran);
    const form = new FormData();
    form.set('metadata', JSON.stringify({ analyze: true }));
    form.set('tar', new Blob([Buffer.from(plainTar({ 'main.py': HASH }))]));
    expect(await door.request('/api/v1/exec', { method: 'POST', body: form })).toMatchObject(ran);
    const raw = await door.request('/api/v1/exec?analyze=true', {
      method: 'POST',
      headers: { 'content-type': 'application/x-tar' },
      body: Buffer.from(plainTar({ 'main.py': HASH })),
    });
    expect(raw).toMatchObject(ran);
  });

  it('is in the last event of a stream, is pending before, and is replayed', async () => {
    const { text } = await postJson({ code: HASH, analyze: true }, door, { accept: 'application/x-ndjson' });
    const last = JSON.parse(text.trim().split('\n').at(-1) ?? '') as { execution_id: string };
    expect(last).toMatchObject({ type: 'result', analysis: FOUND });
    const replayed = await door.request(`/api/v1/executions/${last.execution_id}/events`);
    expect(replayed.text).toContain('"B324"');
    const waiting = await postJson({ code: `import time; time.sleep(1)\n${HASH}`, analyze: true }, door, {
      prefer: 'respond-async',
    });
    expect(waiting).toMatchObject({ status: 202, body: { analysis: { status: 'pending' } } });
    const ended = await door.until(waiting.body['execution_id'], ({ status }) => status === 'completed');
    expect(ended.body).toMatchObject({ analysis: { ...FOUND, findings: [{ id: 'B324', line: 3 }] } });
  });

  it('is counted, is in the audit log without a word of the code, and outlives the server', async () => {
    const { body } = await postJson({ code: HASH, analyze: true });
    const metrics = (await door.request('/metrics')).text;
    expect(metrics).toMatch(/pyexec_analyses_total\{result="complete"\} [1-9]/);
    expect(metrics).toMatch(/pyexec_analysis_seconds_count [1-9]/);
    await door[Symbol.asyncDispose]();
    const entry = auditOf(state.path).find(({ execution_id }) => execution_id === body['execution_id']);
    expect(entry).toMatchObject({ caller: 'anonymous', status: 'complete', counts: FOUND.counts });
    expect(JSON.stringify(entry)).not.toMatch(/main\.py|B324|hashlib/);
    door = await open({ PYEXEC_STATE_DIR: state.path });
    expect((await door.fetched(body['execution_id'])).body).toMatchObject({ analysis: FOUND });
  });

  it('is refused where the operator has none', async () => {
    await using none = await open({ PYEXEC_ANALYSIS: 'off' });
    expect(await postJson({ code: HASH, analyze: true }, none)).toMatchObject({
      status: 422,
      body: { code: 'analysis_not_supported', field: 'analyze' },
    });
    expect(await postJson({ code: HASH }, none)).toMatchObject({ status: 200, body: { stdout: 'd41d\n' } });
  });
});

describe('where the operator blocks', () => {
  const blocking = temporaryStateDirectory();
  let gate: Door;
  beforeAll(async () => {
    gate = await open({
      PYEXEC_ANALYSIS: 'block',
      PYEXEC_ANALYSIS_BLOCKS_AT: 'medium',
      PYEXEC_STATE_DIR: blocking.path,
    });
  });
  afterAll(async () => {
    await gate[Symbol.asyncDispose]();
    blocking.remove();
  });

  it('code with such a finding is refused before it starts, whatever it says of itself and whoever asks', async () => {
    const refused = {
      status: 422,
      body: { code: 'analysis_findings', blocks_at: 'medium', counts: FOUND.counts, findings: FOUND.findings },
    };
    expect(await postJson({ code: HASH }, gate)).toMatchObject(refused);
    expect(
      await postJson({ code: HASH.replace('\nprint', '\n#\nprint').replace(')\n', ')  # nosec\n') }, gate),
    ).toMatchObject({
      status: 422,
      body: { code: 'analysis_findings' },
    });
    expect(await postJson({ code: HASH }, gate, { accept: 'application/x-ndjson' })).toMatchObject(refused);
    for (const answer of [await gate.eval({ code: HASH }), await gate.run(HASH)]) {
      expect(answer.status).toBe(422);
      expect(answer.text).toContain('severity medium or above');
    }
    expect((await gate.request('/metrics')).text).toMatch(/pyexec_executions_accepted_total 0/);
  });

  it('code without one runs, with its report, asked for or not', async () => {
    expect(await postJson({ code: 'import subprocess; print(1)' }, gate)).toMatchObject({
      status: 200,
      body: { stdout: '1\n', analysis: { status: 'complete', counts: { low: 1, medium: 0, high: 0 } } },
    });
    expect(await gate.eval({ code: 'print(2)' })).toMatchObject({ status: 200, body: { stdout: '2\n' } });
  });

  it('code that cannot be read in full is refused, too', async () => {
    const answer = await postJson({ files: { 'main.py': 'print(1)', 'bad.py': 'def (' } }, gate);
    expect(answer).toMatchObject({
      status: 422,
      body: {
        code: 'analysis_incomplete',
        skipped: { count: 1, entries: [{ file: 'bad.py', reason: 'syntax_error' }] },
      },
    });
    const half = `x = "${'y'.repeat(900 << 10)}"\n`;
    const files = Object.fromEntries(Array.from({ length: 10 }, (_, at) => [`part${String(at)}.py`, half]));
    expect(await postJson({ files: { 'main.py': '', ...files } }, gate)).toMatchObject({
      status: 422,
      body: { code: 'analysis_incomplete', analysis: 'too_large' },
    });
  });

  it('the service can still look at its own isolation, and the audit log has what was refused', async () => {
    expect((await gate.request('/api/v1/security')).body).toMatchObject({ isolated: true });
    const codes = auditOf(blocking.path).map(({ refused }) => refused);
    expect(codes).toContain('analysis_findings');
    expect(codes).toContain('analysis_incomplete');
  });

  it('an analysis that cannot be had refuses', async () => {
    await using slow = await open({ PYEXEC_ANALYSIS: 'block', PYEXEC_ANALYSIS_TIMEOUT: '2' });
    const files = Object.fromEntries(
      Array.from({ length: 60 }, (_, at) => [`${String(at)}.py`, 'assert x\n'.repeat(9_000)]),
    );
    const { status, body } = await postJson({ files: { 'main.py': '', ...files } }, slow);
    expect(body['code']).toMatch(/^analysis_(incomplete|unavailable)$/);
    expect([422, 503]).toContain(status);
  });
});
