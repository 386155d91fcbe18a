/** How bad an advisory is, from words and vectors. */
import { expect, it } from 'vitest';
import { cvss3Score, severityOfVector, wordOf, worstOf } from '../../../../src/dependencies/advisories/severity.ts';

// Scores as the calculator of FIRST gives them.
it.each([
  ['CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H', 9.8, 'critical'],
  ['CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H', 10, 'critical'],
  ['CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N', 7.5, 'high'],
  ['CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:C/C:H/I:N/A:N', 6.1, 'medium'],
  ['CVSS:3.1/AV:N/AC:L/PR:L/UI:R/S:C/C:L/I:L/A:N', 5.4, 'medium'],
  ['CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N', 1.6, 'low'],
  ['CVSS:3.1/AV:L/AC:L/PR:H/UI:N/S:C/C:N/I:N/A:H', 6, 'medium'],
  ['CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N', 0, 'low'],
])('%s is %d', (vector, score, severity) => {
  expect(cvss3Score(vector)).toBe(score);
  expect(severityOfVector(vector)).toBe(severity);
});

it.each([
  '',
  'CVSS:3.1/',
  'CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N',
  'AV:N/AC:L/Au:N/C:P/I:P/A:P',
  'CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H',
  'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:constructor/C:H/I:H/A:H',
  'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H',
  `CVSS:3.1/AV:N${'/AV:N'.repeat(1000)}`,
])('%s has no score that is known here', (vector) => {
  expect(cvss3Score(vector)).toBeUndefined();
});

it('takes the words of databases, and no others', () => {
  expect(['CRITICAL', 'High', 'MODERATE', 'medium', 'low'].map(wordOf)).toEqual([
    'critical',
    'high',
    'medium',
    'medium',
    'low',
  ]);
  for (const odd of ['', 'constructor', 'none', 7, null, undefined, ['high']]) expect(wordOf(odd)).toBeUndefined();
  expect(worstOf(['low', 'unknown', 'high'])).toBe('high');
  expect(worstOf([])).toBe('unknown');
});
