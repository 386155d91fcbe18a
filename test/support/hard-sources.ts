/** Sources that a reader of Python cannot read, and what is then said of them. */
import { expect } from 'vitest';

/** As [what it is, the source, why it is skipped]. */
export const HARD_SOURCES: readonly (readonly [string, string | Uint8Array, RegExp])[] = [
  ['a syntax error', 'def (:\n', /^syntax_error$/],
  ['parentheses without end', '('.repeat(100_000), /^(syntax_error|not_readable|crashed)$/],
  ['a sum of a hundred thousand', `x = ${'1+'.repeat(100_000)}1\n`, /^(not_readable|crashed)$/],
  ['calls of calls', `x${'()'.repeat(200_000)}\n`, /^(not_readable|crashed)$/],
  [
    'a list that needs more memory than there is',
    `x = [${'1,'.repeat(500_000)}]\n`,
    /^(not_readable|timed_out|crashed)$/,
  ],
];

/** With `main.py` empty, the source as `a.py` and an `eval` in `z.py`. */
export const amongOthers = (source: string | Uint8Array) => ({ 'main.py': '', 'a.py': source, 'z.py': 'eval(x)\n' });

/** The report about these: one is skipped for `reason`, and the others are not. */
export const oneSkipped = (reason: RegExp) => ({
  status: 'incomplete',
  files_analyzed: 2,
  skipped: { count: 1, entries: [{ file: 'a.py', reason: expect.stringMatching(reason) as string }] },
  findings: [{ id: 'B307', file: 'z.py' }],
});
