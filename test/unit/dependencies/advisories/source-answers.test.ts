/**
 * The conversation with a source over real connections: what is asked, what is made
 * of the answer, and what comes of a source that lies, stalls or floods.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { openAdvisoryCheck, type AdvisoryCheck } from '../../../support/advisory-check.ts';
import { advisory, AdvisorySource, sendJson, type Misbehaviour } from '../../../support/advisory-source.ts';
import { Authority } from '../../../support/certificates.ts';

const isBatch = ({ method }: IncomingMessage) => method === 'POST';
/** Does something else to the first question, and to no other. */
const toBatches =
  (answer: (response: ServerResponse) => unknown): Misbehaviour =>
  async (request, response) => {
    if (!isBatch(request)) return false;
    await answer(response);
    return true;
  };
const codeOf = async (checked: Promise<unknown>) =>
  checked.then(
    () => 'no refusal',
    (error: unknown) => (error as { code?: string }).code,
  );
const OLD = advisory('GHSA-1', 'old', '1.0', '1.5', {
  aliases: ['CVE-2024-1'],
  database_specific: { severity: 'MODERATE' },
});

describe('a source that answers', () => {
  it('is asked once for all packages, by public version, and for what describes each vulnerability', async () => {
    await using source = await AdvisorySource.open(
      OLD,
      advisory('PYSEC-1', 'old', '1.0', '1.4', {
        aliases: ['CVE-2024-1', 'GHSA-1'],
        severity: [{ type: 'CVSS_V3', score: 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H' }],
      }),
    );
    await using check = openAdvisoryCheck(source.settings);
    const report = await check.check('fine==2.0+cu118', 'old==1.0');
    expect(report).toEqual({
      status: 'complete',
      checked_at: expect.stringMatching(/^20/) as string,
      packages_checked: 2,
      count: 1,
      findings: [
        {
          package: 'old',
          version: '1.0',
          ids: ['GHSA-1', 'PYSEC-1'],
          aliases: ['CVE-2024-1'],
          severity: 'critical',
          fixed_versions: ['1.4', '1.5'],
          summary: 'what GHSA-1 is',
        },
      ],
    });
    expect(source.batches).toEqual([
      {
        queries: [
          { package: { name: 'fine', ecosystem: 'PyPI' }, version: '2.0' },
          { package: { name: 'old', ecosystem: 'PyPI' }, version: '1.0' },
        ],
      },
    ]);
    expect(source.requests.toSorted()).toEqual([
      'GET /v1/vulns/GHSA-1',
      'GET /v1/vulns/PYSEC-1',
      'POST /v1/querybatch',
    ]);
    expect(await check.metrics()).toContain('pyexec_advisory_checks_total{result="findings"} 1');
    expect(await check.metrics()).toContain('pyexec_advisory_source_seconds_count{result="answered"} 1');
  });

  it('is asked nothing where nothing is installed', async () => {
    await using source = await AdvisorySource.open();
    await using check = openAdvisoryCheck(source.settings);
    expect(await check.check()).toBeUndefined();
    expect(source.requests).toEqual([]);
  });

  it('is asked for page after page, below the path it has', async () => {
    const many = Array.from({ length: 7 }, (_, n) => advisory(`GHSA-${String(n)}`, 'old', '1.0', '2.0'));
    await using source = await AdvisorySource.openAs({ base: '/mirror/osv' }, ...many);
    source.pageSize = 3;
    await using check = openAdvisoryCheck({ ...source.settings, PYEXEC_ADVISORIES_URL: `${source.url}/` });
    expect(await check.check('fine==1.0', 'old==1.0')).toMatchObject({ status: 'complete', count: 7 });
    expect(source.batches.map(({ queries }) => queries.map(({ page_token }) => page_token))).toEqual([
      [undefined, undefined],
      ['3'],
      ['6'],
    ]);
  });

  it('more than a thousand packages are several questions', async () => {
    await using source = await AdvisorySource.open(advisory('GHSA-1', 'p1500', '1.0', undefined));
    await using check = openAdvisoryCheck(source.settings);
    const packages = Array.from({ length: 2000 }, (_, n) => `p${String(n)}==1.0`);
    expect(await check.check(...packages)).toMatchObject({ packages_checked: 2000, count: 1 });
    expect(source.batches.map(({ queries }) => queries.length)).toEqual([1000, 1000]);
  });

  it('what was withdrawn does not count; what will be, or says so oddly, does', async () => {
    const withdrawn = (id: string, when: unknown) => advisory(id, 'old', '1.0', '2.0', { withdrawn: when });
    await using source = await AdvisorySource.open(
      withdrawn('G-PAST', '2024-05-01T00:00:00Z'),
      withdrawn('G-FUTURE', '2999-01-01T00:00:00Z'),
      withdrawn('G-WORD', 'yes'),
      withdrawn('G-TRUE', true),
      withdrawn('G-NULL', null),
    );
    await using check = openAdvisoryCheck(source.settings);
    const report = await check.check('old==1.0');
    expect(report?.findings?.flatMap(({ ids }) => ids)).toEqual(['G-FUTURE', 'G-NULL', 'G-TRUE', 'G-WORD']);
  });

  it('describes as it likes: what is odd is left out, what is long is cut, and the finding stays', async () => {
    const affected = (
      fixed: unknown,
      of: Record<string, unknown> = { name: 'OLD', ecosystem: 'PyPI' },
      type = 'ECOSYSTEM',
    ) => ({
      package: of,
      ranges: [{ type, events: [{ introduced: '0' }, { fixed }, 7, null] }],
    });
    await using source = await AdvisorySource.open({
      id: 'G-1',
      affects: { old: ['1.0'] },
      document: {
        aliases: [
          'CVE-1',
          7,
          null,
          'a b',
          '../x',
          'x'.repeat(200),
          ...Array.from({ length: 100 }, (_, n) => `A-${String(n)}`),
        ],
        summary: `line\u0000one\u202e\n\ud800${'x'.repeat(100_000)}`,
        severity: [{ type: 'CVSS_V9', score: 'very' }, { type: 7 }, null],
        database_specific: { severity: { toString: 'high' } },
        affected: [
          affected('2.0'),
          affected('0.5'),
          affected('not a version; rm -rf /'),
          affected(7),
          affected('9.9', { name: 'other', ecosystem: 'PyPI' }),
          affected('8.8', { name: 'old', ecosystem: 'npm' }),
          affected('abcdef', { name: 'old', ecosystem: 'PyPI' }, 'GIT'),
          null,
          'text',
          { package: 7 },
        ],
      },
    });
    await using check = openAdvisoryCheck(source.settings);
    const [finding, ...others] = (await check.check('old==1.0'))?.findings ?? [];
    expect(others).toEqual([]);
    expect(finding).toMatchObject({ ids: ['G-1'], severity: 'unknown', fixed_versions: ['2.0'] });
    expect(finding?.aliases).toHaveLength(10);
    expect(finding?.aliases).toContain('CVE-1');
    expect(finding?.summary).toMatch(/^line one \ufffdx+…$/);
    expect(finding?.summary).toHaveLength(200);
  });

  it.each([
    ['is not there', (response: ServerResponse) => response.writeHead(404).end('{}')],
    [
      'is another',
      (response: ServerResponse) => sendJson(response, { id: 'GHSA-2', withdrawn: '2020-01-01T00:00:00Z' }),
    ],
    ['is no JSON', (response: ServerResponse) => response.end('<html>')],
    ['is too long', (response: ServerResponse) => response.end(Buffer.alloc(2 ** 20 + 1, 0x20))],
    [
      'breaks off',
      (response: ServerResponse) =>
        response.writeHead(200, { 'content-length': 99 }).write('{', () => response.destroy()),
    ],
    ['lies elsewhere', (response: ServerResponse) => response.writeHead(302, { location: '/v1/vulns/GHSA-2' }).end()],
  ])('a description that %s leaves a finding that may be more or less than it seems', async (_name, answer) => {
    await using source = await AdvisorySource.open(OLD);
    source.misbehave = (request, response) => {
      if (isBatch(request)) return false;
      answer(response);
      return true;
    };
    await using check = openAdvisoryCheck(source.settings);
    expect(await check.check('old==1.0')).toMatchObject({
      status: 'incomplete',
      count: 1,
      findings: [{ ids: ['GHSA-1'], details_missing: true }],
    });
    await using blocking = openAdvisoryCheck({ ...source.settings, PYEXEC_ADVISORIES: 'block' });
    expect(await codeOf(blocking.check('old==1.0'))).toBe('advisories_unavailable');
  });

  it('what was not modified is not fetched again, what was is', async () => {
    await using source = await AdvisorySource.open(OLD);
    await using check = openAdvisoryCheck(source.settings);
    await check.check('old==1.0');
    await check.check('old==1.0', 'fine==1.0');
    expect(source.requests.filter((line) => line.startsWith('GET'))).toHaveLength(1);
    source.knows({ ...OLD, modified: '2025-01-01T00:00:00Z' });
    await check.check('old==1.0', 'finer==1.0');
    expect(source.requests.filter((line) => line.startsWith('GET'))).toHaveLength(2);
  });

  it('more than five hundred are cut, and it is said', async () => {
    const many = Array.from({ length: 501 }, (_, n) => advisory(`G-${String(n)}`, 'old', '1.0', '2.0'));
    await using source = await AdvisorySource.open(...many);
    await using check = openAdvisoryCheck(source.settings);
    const report = await check.check('old==1.0');
    expect(report).toMatchObject({ status: 'incomplete', truncated: true, count: 500 });
    expect(report?.detail).toContain('more than is taken');
    expect(report?.findings).toHaveLength(50);
    // On few connections.
    expect(source.connections).toBeLessThanOrEqual(8);
  });
});

/** What a source may do instead of answering, and what it is called. */
const FAULTS: readonly (readonly [string, Misbehaviour, string, RegExp])[] = [
  ['is no JSON', toBatches((response) => response.end('<html>')), 'invalid', /could not be read/],
  ['is empty', toBatches((response) => response.end()), 'invalid', /could not be read/],
  ['is of another form', toBatches((response) => sendJson(response, { vulns: [] })), 'invalid', /could not be read/],
  ['has too few results', toBatches((response) => sendJson(response, { results: [] })), 'invalid', /could not be read/],
  [
    'has too many results',
    toBatches((response) => sendJson(response, { results: [{}, {}, {}] })),
    'invalid',
    /could not be read/,
  ],
  [
    'has a vulnerability without a name',
    toBatches((response) => sendJson(response, { results: [{ vulns: [{}] }, {}] })),
    'invalid',
    /could not be read/,
  ],
  [
    'has a name that is a path',
    toBatches((response) => sendJson(response, { results: [{ vulns: [{ id: '../../admin' }] }, {}] })),
    'invalid',
    /could not be read/,
  ],
  ['says no', toBatches((response) => response.writeHead(500).end('no')), 'refused', /refused to answer/],
  ['asks who is there', toBatches((response) => response.writeHead(401).end()), 'refused', /refused to answer/],
  ['finds fault', toBatches((response) => response.writeHead(400).end()), 'invalid', /could not be read/],
  [
    'is a redirect',
    toBatches((response) => response.writeHead(307, { location: 'http://127.0.0.1:1/' }).end()),
    'redirected',
    /redirect/,
  ],
  ['is too long', toBatches((response) => response.end(Buffer.alloc(2 ** 20 + 1, 0x20))), 'too_large', /too large/],
  [
    'is packed',
    toBatches((response) => response.setHeader('content-encoding', 'gzip').end('{"results":[{},{}]}')),
    'invalid',
    /could not be read/,
  ],
  [
    'breaks off',
    toBatches((response) => response.writeHead(200, { 'content-length': 99 }).write('{', () => response.destroy())),
    'unreachable',
    /cannot be reached/,
  ],
  ['never begins', toBatches(() => undefined), 'timed_out', /in time/],
  [
    'never ends',
    toBatches((response) => {
      const timer = setInterval(() => response.write(' '), 50);
      response.once('close', () => {
        clearInterval(timer);
      });
    }),
    'timed_out',
    /in time/,
  ],
];

describe('a source whose answer', () => {
  it.each(FAULTS)('%s gives no answer, and it is said so', async (_name, misbehave, fault, words) => {
    await using source = await AdvisorySource.open(OLD);
    source.misbehave = misbehave;
    const settings = { ...source.settings, PYEXEC_ADVISORIES_TIMEOUT: '1' };
    await using check = openAdvisoryCheck(settings);
    const started = performance.now();
    const report = await check.check('old==1.0', 'fine==1.0');
    expect(performance.now() - started).toBeLessThan(5000);
    expect(report?.status).toBe('unavailable');
    expect(report?.detail).toMatch(words);
    expect(report).not.toHaveProperty('count');
    expect(JSON.stringify(report)).not.toContain('127.0.0.1');
    expect(await check.metrics()).toContain(`pyexec_advisory_source_seconds_count{result="${fault}"} 1`);
    expect(check.log).toMatchObject([{ fault, msg: 'the source of advisories gave no answer' }]);

    await using blocking = openAdvisoryCheck({ ...settings, PYEXEC_ADVISORIES: 'block' });
    const refused = blocking.check('old==1.0', 'fine==1.0');
    await expect(refused).rejects.toMatchObject({ code: 'advisories_unavailable', retryAfterSeconds: 5 });
    await expect(refused).rejects.toThrow(/nothing is wrong with the requirements/);
    expect(blocking.events).toMatchObject([{ refused: 'advisories_unavailable', report: { status: 'unavailable' } }]);
  });

  it('has a page after every page is cut, and refuses where it blocks', async () => {
    await using source = await AdvisorySource.open();
    const pages = (_request: unknown, response: ServerResponse) =>
      sendJson(response, { results: [{ next_page_token: 'again' }] });
    source.misbehave = pages;
    await using check = openAdvisoryCheck(source.settings);
    expect(await check.check('old==1.0')).toMatchObject({ status: 'incomplete', truncated: true, count: 0 });
    expect(source.requests).toHaveLength(20);
    await using blocking = openAdvisoryCheck({ ...source.settings, PYEXEC_ADVISORIES: 'block' });
    expect(await codeOf(blocking.check('old==1.0'))).toBe('advisories_unavailable');
  });

  it('is slow in what describes is an answer all the same, in time', async () => {
    await using source = await AdvisorySource.open(OLD);
    source.misbehave = (request) => !isBatch(request);
    await using check = openAdvisoryCheck({ ...source.settings, PYEXEC_ADVISORIES_TIMEOUT: '1' });
    expect(await check.check('old==1.0')).toMatchObject({
      status: 'incomplete',
      count: 1,
      findings: [{ details_missing: true }],
    });
  });

  it('comes over connections that end between questions is whole', async () => {
    await using source = await AdvisorySource.open(
      ...Array.from({ length: 40 }, (_, n) => advisory(`G-${String(n)}`, 'old', '1.0', '2.0')),
    );
    let asked = 0;
    source.misbehave = (request, response) => {
      asked += 1;
      // After the answer, as a server does that keeps no connection for long.
      if (asked % 3 === 0) response.once('finish', () => setTimeout(() => request.socket.destroy(), 1));
      return false;
    };
    await using check = openAdvisoryCheck(source.settings);
    expect(await check.check('old==1.0')).toMatchObject({ status: 'complete', count: 40 });
  });
});

describe('the way to the source', () => {
  const reached = async (settings: Record<string, string>) => {
    await using check: AdvisoryCheck = openAdvisoryCheck(settings);
    return (await check.check('old==1.0'))?.status;
  };

  it('is TLS by the operator’s authority, with the operator’s credentials, and under no other', async () => {
    const authority = new Authority();
    const others = new Authority();
    try {
      const certificate = authority.sign(['IP:127.0.0.1']);
      await using source = await AdvisorySource.openAs({ certificate, credentials: 'reader:secret' }, OLD);
      const settings = {
        ...source.settings,
        PYEXEC_ADVISORIES_CA_FILE: authority.file,
        PYEXEC_ADVISORIES_CREDENTIALS: 'reader:secret',
      };
      expect(await reached(settings)).toBe('complete');
      expect(source.refused).toBe(0);
      expect(await reached({ ...settings, PYEXEC_ADVISORIES_CREDENTIALS: 'reader:wrong' })).toBe('unavailable');
      expect(source.refused).toBe(1);
      const asked = source.requests.length;
      expect(await reached({ ...settings, PYEXEC_ADVISORIES_CA_FILE: '' })).toBe('unavailable');
      expect(await reached({ ...settings, PYEXEC_ADVISORIES_CA_FILE: others.file })).toBe('unavailable');
      await using impostor = await AdvisorySource.openAs({ certificate: authority.sign(['DNS:elsewhere.example']) });
      expect(await reached({ ...settings, PYEXEC_ADVISORIES_URL: impostor.url })).toBe('unavailable');
      expect([source.requests.length, impostor.requests.length]).toEqual([asked, 0]);
    } finally {
      authority.remove();
      others.remove();
    }
  });

  it('leads to no private address that the operator has not allowed', async () => {
    const authority = new Authority();
    try {
      const certificate = authority.sign(['DNS:localhost', 'IP:127.0.0.1']);
      await using source = await AdvisorySource.openAs({ certificate }, OLD);
      const settings = {
        PYEXEC_ADVISORIES_URL: source.url.replace('127.0.0.1', 'localhost'),
        PYEXEC_ADVISORIES_CA_FILE: authority.file,
      };
      expect(await reached(settings)).toBe('unavailable');
      expect(source.connections).toBe(0);
      expect(await reached({ ...settings, PYEXEC_ADVISORIES_PRIVATE: 'true' })).toBe('complete');
    } finally {
      authority.remove();
    }
  });

  it('nobody listens at the end of it, or nobody knows the name', async () => {
    const source = await AdvisorySource.open();
    const { settings } = source;
    await source[Symbol.asyncDispose]();
    expect(await reached(settings)).toBe('unavailable');
    expect(await reached({ PYEXEC_ADVISORIES_URL: 'https://nobody.invalid' })).toBe('unavailable');
  });
});

describe('refused at boot', () => {
  it.each([
    ['a check that refuses, and no source', { PYEXEC_ADVISORIES: 'block' }, /PYEXEC_ADVISORIES: block needs a source/],
    [
      'in the clear through who knows where',
      { PYEXEC_ADVISORIES_URL: 'http://osv.example' },
      /http only for a source in your own/,
    ],
    [
      'credentials in the clear',
      {
        PYEXEC_ADVISORIES_URL: 'http://127.0.0.1:9',
        PYEXEC_ADVISORIES_PRIVATE: 'true',
        PYEXEC_ADVISORIES_CREDENTIALS: 'a:b',
      },
      /PYEXEC_ADVISORIES_CREDENTIALS: they are sent by TLS only/,
    ],
    ['a host that is none', { PYEXEC_ADVISORIES_URL: 'https://0x7f.1.2.a%20b' }, /PYEXEC_ADVISORIES_URL/],
    [
      'a file that is not there',
      { PYEXEC_ADVISORIES_URL: 'https://osv.example', PYEXEC_ADVISORIES_CA_FILE: '/nonexistent.pem' },
      /PYEXEC_ADVISORIES_CA_FILE/,
    ],
    [
      'a refresh after the end',
      { PYEXEC_ADVISORIES_REFRESH: '61', PYEXEC_ADVISORIES_MAX_AGE: '60' },
      /PYEXEC_ADVISORIES_REFRESH \(61\) must not be above/,
    ],
  ])('%s', (_name, settings, message) => {
    expect(() => openAdvisoryCheck(settings as Record<string, string>)).toThrow(message);
  });
});
