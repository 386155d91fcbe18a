/**
 * Answers that are kept: how long they are good for, who waits for a new one, how
 * often the source is asked, and what a restart finds.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AdvisoryBook } from '../../../../src/dependencies/advisories/advisory-book.ts';
import { SourceFailure } from '../../../../src/dependencies/advisories/osv-source.ts';
import type { AdvisoryAnswer } from '../../../../src/domain/advisories.ts';
import { AdvisoryTable } from '../../../../src/store/advisory-table.ts';
import { openAdvisoryCheck } from '../../../support/advisory-check.ts';
import { advisory, AdvisorySource, type Misbehaviour } from '../../../support/advisory-source.ts';
import { temporaryStateDirectory } from '../../../support/state-directory.ts';

const OLD = advisory('GHSA-1', 'old', '1.0', '1.5', { aliases: ['CVE-2024-1'] });
const AGES = { PYEXEC_ADVISORIES_REFRESH: '100', PYEXEC_ADVISORIES_MAX_AGE: '1000' };
const BLOCK = { ...AGES, PYEXEC_ADVISORIES: 'block' };
const away: Misbehaviour = (_request, response) => {
  response.writeHead(503).end();
  return true;
};

/** The clock, and it alone: connections go on as ever. */
const pass = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000);
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2026, 0, 1) });
});
afterEach(() => {
  vi.useRealTimers();
});
const until = (condition: () => boolean) =>
  vi.waitFor(() => {
    expect(condition()).toBe(true);
  });

describe('an answer that is kept', () => {
  it('is given at once while it is young, whatever the order of the packages', async () => {
    await using source = await AdvisorySource.open(OLD);
    await using check = openAdvisoryCheck({ ...source.settings, ...AGES });
    const first = await check.check('old==1.0', 'fine==1.0');
    pass(99);
    source.misbehave = away;
    expect(await check.check('fine==1.0', 'old==1.0')).toEqual(first);
    expect(source.batches).toHaveLength(1);
    expect(source.requests).toHaveLength(2);
  });

  it('that is due is given at once, and asked for anew beside it', async () => {
    await using source = await AdvisorySource.open(OLD);
    await using check = openAdvisoryCheck({ ...source.settings, ...AGES });
    const first = await check.check('old==1.0');
    pass(500);
    source.knows(OLD, advisory('GHSA-2', 'old', '1.0', undefined));
    const go = Promise.withResolvers<boolean>();
    source.misbehave = async () => {
      await go.promise;
      return false;
    };
    // It cannot have waited: the source answers nobody.
    expect(await check.check('old==1.0')).toEqual(first);
    expect(await check.check('old==1.0')).toEqual(first);
    go.resolve(false);
    await until(() => source.requests.length === 4);
    await vi.waitFor(async () => {
      expect(await check.check('old==1.0')).toMatchObject({ count: 2, checked_at: '2026-01-01T00:08:20.000Z' });
    });
    expect(source.batches).toHaveLength(2);
  });

  it('that is due outlasts a source that is away, up to its end, and lets runs begin', async () => {
    await using source = await AdvisorySource.open();
    await using check = openAdvisoryCheck({ ...source.settings, ...BLOCK });
    await check.check('fine==1.0');
    source.misbehave = away;
    pass(1000);
    expect(await check.check('fine==1.0')).toMatchObject({
      status: 'complete',
      checked_at: '2026-01-01T00:00:00.000Z',
    });
    pass(1);
    await expect(check.check('fine==1.0')).rejects.toMatchObject({ code: 'advisories_unavailable' });
  });

  it('that is too old is waited for anew, and told of as old where that fails', async () => {
    await using source = await AdvisorySource.open(OLD);
    await using check = openAdvisoryCheck({ ...source.settings, ...AGES });
    await check.check('old==1.0');
    pass(1001);
    source.knows();
    expect(await check.check('old==1.0')).toMatchObject({ status: 'complete', count: 0 });
    source.knows(OLD);
    pass(1001);
    expect(await check.check('old==1.0')).toMatchObject({ status: 'complete', count: 1 });
    source.misbehave = away;
    pass(1001);
    const told = await check.check('old==1.0');
    expect(told).toMatchObject({
      status: 'unavailable',
      checked_at: '2026-01-01T00:33:22.000Z',
      count: 1,
      findings: [{ ids: ['GHSA-1'] }],
    });
    expect(told?.detail).toMatch(/^The packages were not checked: .* This is an older answer of it\.$/);
  });

  it('from the future is none', async () => {
    await using source = await AdvisorySource.open(OLD);
    await using check = openAdvisoryCheck({ ...source.settings, ...AGES });
    await check.check('old==1.0');
    pass(-3600);
    source.misbehave = away;
    expect(await check.check('old==1.0')).toMatchObject({ status: 'unavailable' });
  });

  it('that lacks descriptions is completed by the next that asks, a moment later', async () => {
    await using source = await AdvisorySource.open(OLD);
    source.misbehave = (request, response, body) => request.method === 'GET' && away(request, response, body);
    const directory = temporaryStateDirectory();
    {
      await using check = openAdvisoryCheck({ ...source.settings, ...BLOCK }, directory.path);
      await expect(check.check('old==1.0')).rejects.toMatchObject({ code: 'advisories_unavailable' });
      await expect(check.check('old==1.0')).rejects.toMatchObject({ code: 'advisories_unavailable' });
      await sleep(100);
      expect(source.batches).toHaveLength(1);
    }
    source.misbehave = () => false;
    await using check = openAdvisoryCheck({ ...source.settings, ...BLOCK }, directory.path);
    await vi.waitFor(async () => {
      await expect(check.check('old==1.0')).rejects.toMatchObject({ code: 'advisory_findings' });
    });
    directory.remove();
  });

  it('survives a restart, is not another source’s, and what is accepted is decided when it is used', async () => {
    const directory = temporaryStateDirectory();
    await using source = await AdvisorySource.open(OLD);
    const settings = { ...source.settings, ...BLOCK };
    {
      await using check = openAdvisoryCheck(settings, directory.path);
      await expect(check.check('old==1.0')).rejects.toMatchObject({ code: 'advisory_findings' });
    }
    source.misbehave = away;
    {
      await using check = openAdvisoryCheck(settings, directory.path);
      await expect(check.check('old==1.0')).rejects.toMatchObject({ code: 'advisory_findings' });
    }
    {
      const accepting = { ...settings, PYEXEC_ADVISORIES_ACCEPTED: 'CVE-2024-1' };
      await using check = openAdvisoryCheck(accepting, directory.path);
      expect(await check.check('old==1.0')).toMatchObject({ count: 0, findings: [{ accepted: true }] });
    }
    expect(source.batches).toHaveLength(1);
    {
      await using check = openAdvisoryCheck(
        { ...settings, PYEXEC_ADVISORIES_URL: `${source.url}/other` },
        directory.path,
      );
      await expect(check.check('old==1.0')).rejects.toMatchObject({ code: 'advisories_unavailable' });
    }
    directory.remove();
  });

  it('a disk that takes none of them stops no run', async () => {
    await using source = await AdvisorySource.open(OLD);
    const put = vi.spyOn(AdvisoryTable.prototype, 'put').mockImplementation(() => {
      throw new Error('database or disk is full');
    });
    try {
      await using check = openAdvisoryCheck({ ...source.settings, ...AGES });
      expect(await check.check('old==1.0')).toMatchObject({ status: 'complete', count: 1 });
      expect(check.log).toMatchObject([{ msg: expect.stringContaining('could not be kept') as string }]);
    } finally {
      put.mockRestore();
    }
  });
});

describe('the source', () => {
  it('is asked once for many who ask for the same, and once for each list', async () => {
    await using source = await AdvisorySource.open(OLD);
    await using check = openAdvisoryCheck({ ...source.settings, ...AGES });
    check.expect('old==1.0');
    const reports = await Promise.all(Array.from({ length: 50 }, () => check.check('old==1.0')));
    expect(new Set(reports.map((report) => JSON.stringify(report))).size).toBe(1);
    expect(source.requests).toEqual(['POST /v1/querybatch', 'GET /v1/vulns/GHSA-1']);
    await Promise.all([check.check('a==1'), check.check('b==1')]);
    expect(source.batches).toHaveLength(3);
  });

  it('that failed is left alone for a moment: the next are answered without it', async () => {
    await using source = await AdvisorySource.open(OLD);
    source.misbehave = away;
    await using check = openAdvisoryCheck({ ...source.settings, ...AGES });
    const statuses = [];
    for (const name of ['a==1', 'a==1', 'b==1']) statuses.push((await check.check(name))?.status);
    expect(statuses).toEqual(['unavailable', 'unavailable', 'unavailable']);
    expect(source.requests).toHaveLength(1);
  });

  it('that cannot answer for one list still answers for others', async () => {
    await using source = await AdvisorySource.open(OLD);
    source.misbehave = (_request, response, body) => {
      if (!body.includes('"odd"')) return false;
      response.writeHead(400).end();
      return true;
    };
    await using check = openAdvisoryCheck({ ...source.settings, ...AGES });
    expect((await check.check('odd==1'))?.status).toBe('unavailable');
    expect((await check.check('odd==1'))?.status).toBe('unavailable');
    expect((await check.check('old==1.0'))?.count).toBe(1);
    expect(source.batches).toHaveLength(1);
    expect(source.requests).toHaveLength(3);
  });

  it('is asked again after the moment', async () => {
    let failing = true;
    const answer: AdvisoryAnswer = { packagesChecked: 1, advisories: [], isCut: false };
    const directory = temporaryStateDirectory();
    const table = new AdvisoryTable(directory.path);
    const book = new AdvisoryBook({
      ask: () => (failing ? Promise.reject(new SourceFailure('unreachable', 'away')) : Promise.resolve(answer)),
      source: 's',
      table,
      refreshMs: 1000,
      ageMsMax: 1000,
      pauseMs: 30,
      observe: () => undefined,
    });
    await expect(book.answerFor(['a==1'])).rejects.toThrow('away');
    failing = false;
    await expect(book.answerFor(['a==1'])).rejects.toThrow('away');
    await vi.waitFor(async () => {
      expect(await book.answerFor(['a==1'])).toMatchObject({ answer });
    });
    table.close();
    directory.remove();
  });

  it('is not waited for when the service ends', async () => {
    await using source = await AdvisorySource.open(OLD);
    source.misbehave = () => true;
    const check = openAdvisoryCheck(source.settings);
    const waiting = check.check('old==1.0');
    await until(() => source.requests.length === 1);
    await check[Symbol.asyncDispose]();
    expect((await waiting)?.status).toBe('unavailable');
  });
});

it('no more answers are kept than there is room for, and those used longest ago go first', async () => {
  const directory = temporaryStateDirectory();
  const table = new AdvisoryTable(directory.path);
  const asked: string[] = [];
  const open = () =>
    new AdvisoryBook({
      ask: (packages) => {
        asked.push(...packages);
        return Promise.resolve({ packagesChecked: 1, advisories: [], isCut: false });
      },
      source: 's',
      table,
      refreshMs: 1e6,
      ageMsMax: 1e6,
      keptMax: 3,
      observe: () => undefined,
    });
  const book = open();
  for (const name of ['a==1', 'b==1', 'c==1', 'a==1', 'd==1']) {
    pass(1);
    await book.answerFor([name]);
  }
  expect(asked).toEqual(['a==1', 'b==1', 'c==1', 'd==1']);
  expect(table.load(10)).toHaveLength(3);
  await book.answerFor(['a==1']);
  await book.answerFor(['b==1']);
  expect(asked).toEqual(['a==1', 'b==1', 'c==1', 'd==1', 'b==1']);
  const next = open();
  await next.answerFor(['b==1']);
  await next.answerFor(['a==1']);
  expect(asked).toHaveLength(5);
  expect(table.load(1)).toHaveLength(1);
  expect(table.load(10)).toHaveLength(1);
  table.close();
  directory.remove();
});
