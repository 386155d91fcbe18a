/** From advisories to findings and sentences; what the operator accepts. */
import { describe, expect, it } from 'vitest';
import { acceptedIds, reportOf, sentencesOn } from '../../../../src/dependencies/advisories/advisory-findings.ts';
import type { AdvisoryDetails, KnownAdvisory } from '../../../../src/domain/advisories.ts';

const CHECKED_MS = Date.UTC(2026, 0, 2);
const details = (more: Partial<AdvisoryDetails> = {}): AdvisoryDetails => ({
  aliases: [],
  severity: 'unknown',
  fixedVersions: [],
  ...more,
});
const known = (id: string, more?: Partial<AdvisoryDetails>, name = 'old', version = '1.0'): KnownAdvisory => ({
  package: name,
  version,
  id,
  details: details(more),
});
const report = (advisories: readonly KnownAdvisory[], accepted: readonly string[] = [], isCut = false) =>
  reportOf({ packagesChecked: 3, advisories, isCut }, CHECKED_MS, acceptedIds(accepted));

describe('findings', () => {
  it('are none where nothing is known, and it is said of how many packages and when', () => {
    expect(report([])).toEqual({
      status: 'complete',
      checked_at: '2026-01-02T00:00:00.000Z',
      packages_checked: 3,
      count: 0,
    });
  });

  it('are one for advisories that share a name, however they are linked, and not across packages', () => {
    const { count, findings } = report([
      known('GHSA-1', { aliases: ['CVE-1'], severity: 'high', fixedVersions: ['2.0', '1.5'], summary: 'bad' }),
      known('PYSEC-1', { aliases: ['cve-1', 'CVE-2'], fixedVersions: ['1.5', '0.9', '1.0'] }),
      known('OTHER-1', { aliases: ['CVE-2'], severity: 'low' }),
      known('GHSA-1', { aliases: ['CVE-1'] }, 'another', '3.0'),
    ]);
    expect(count).toBe(2);
    expect(findings).toEqual([
      {
        package: 'old',
        version: '1.0',
        ids: ['GHSA-1', 'OTHER-1', 'PYSEC-1'],
        aliases: ['CVE-1', 'CVE-2', 'cve-1'],
        severity: 'high',
        fixed_versions: ['1.5', '2.0'],
        summary: 'bad',
      },
      {
        package: 'another',
        version: '3.0',
        ids: ['GHSA-1'],
        aliases: ['CVE-1'],
        severity: 'unknown',
        fixed_versions: [],
      },
    ]);
  });

  it('come the worst first, fifty of them; all are counted', () => {
    const many = Array.from({ length: 60 }, (_, n) =>
      known(`A-${String(n)}`, { severity: n === 59 ? 'critical' : 'low' }),
    );
    const { count, findings, status, truncated } = report(many);
    expect([count, findings?.length, findings?.[0]?.ids, truncated, status]).toEqual([
      60,
      50,
      ['A-59'],
      true,
      'complete',
    ]);
  });

  it('without a description are findings, and the report is not complete', () => {
    expect(report([{ package: 'old', version: '1.0', id: 'X-1' }])).toMatchObject({
      status: 'incomplete',
      count: 1,
      findings: [{ ids: ['X-1'], severity: 'unknown', details_missing: true }],
    });
    expect(report([], [], true)).toMatchObject({ status: 'incomplete', truncated: true });
  });
});

describe('what the operator accepts', () => {
  const two = [
    known('GHSA-1', { aliases: ['CVE-1'] }),
    known('PYSEC-1', { aliases: ['CVE-1', 'CVE-2'] }),
    known('GHSA-2', { aliases: ['CVE-2'] }),
  ];

  it('is listed, marked, and not counted', () => {
    expect(report(two.slice(0, 1), ['ghsa-1'])).toMatchObject({
      count: 0,
      findings: [{ ids: ['GHSA-1'], accepted: true }],
    });
    expect(report(two.slice(0, 1), ['cve-1'])).toMatchObject({ count: 0, findings: [{ accepted: true }] });
  });

  it('takes nothing along that is not named itself', () => {
    const { count, findings } = report(two, ['CVE-1']);
    expect(count).toBe(1);
    expect(findings).toMatchObject([{ ids: ['GHSA-2'] }, { ids: ['GHSA-1', 'PYSEC-1'], accepted: true }]);
    expect(findings?.[0]).not.toHaveProperty('accepted');
    for (const part of ['CVE', 'CVE-', 'CVE-11', 'GHSA', '']) expect(report(two, [part]).count).toBe(1);
  });
});

describe('the sentence', () => {
  const sentence = (...advisories: readonly KnownAdvisory[]) => sentencesOn(report(advisories));

  it('names the vulnerability and the version to ask for', () => {
    expect(sentence(known('G-1', { aliases: ['CVE-1'], severity: 'high', fixedVersions: ['1.5'] }))).toBe(
      'old==1.0 has a known vulnerability (CVE-1, high); ask for old>=1.5.',
    );
  });

  it('asks for the version that has all fixes, and for no pre-release where there is a release', () => {
    expect(
      sentence(
        known('G-1', { severity: 'critical', fixedVersions: ['1.10rc1', '1.10'] }),
        known('G-2', { fixedVersions: ['1.9', '3.0'] }),
      ),
    ).toBe('old==1.0 has 2 known vulnerabilities (the worst: G-1, critical); ask for old>=1.10.');
  });

  it('says where no version has a fix, and that others are affected', () => {
    const names = ['a', 'b', 'c', 'd', 'e'].map((name) => known('G-1', {}, name));
    expect(sentence(...names)).toBe(
      'a==1.0 has a known vulnerability (G-1); no version is known that fixes it. b==1.0 has a known vulnerability (G-1); no version is known that fixes it. c==1.0 has a known vulnerability (G-1); no version is known that fixes it. 2 more packages have some, too.',
    );
    expect(sentence()).toBeUndefined();
  });
});
