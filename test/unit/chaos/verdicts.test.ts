/** What a checker cannot miss is what it was shown: each violation, made by hand, is named; without one nothing is. */
import { describe, expect, test } from 'vitest';
import type { Answered, Seen } from '../../../chaos/crash-client.ts';
import { keyViolationsOf, violationsOf } from '../../../chaos/crash-verdict.ts';
import { History } from '../../../chaos/history.ts';
import { jobOf } from '../../../chaos/programs.ts';

const END: Seen = {
  execution_id: 'exe_1',
  status: 'completed',
  exit_code: 0,
  outcome: { kind: 'exited' },
  stdout: 'one\ntwo\n',
};
const INTERRUPTED: Seen = {
  ...END,
  status: 'failed',
  exit_code: -1,
  outcome: { kind: 'interrupted' },
  stdout: 'one\n',
};
const { stdout: _stdout, ...TERMINAL } = END;
const EVENTS = [
  { seq: 1, type: 'status', status: 'running' },
  { seq: 2, type: 'stdout', data: 'one\ntwo\n' },
  { seq: 3, type: 'result', ...TERMINAL },
];
const text = (events: readonly object[]) => events.map((event) => `${JSON.stringify(event)}\n`).join('');
const answered = (changes: Partial<Answered> = {}): Answered => ({
  id: 'exe_1',
  key: undefined,
  prints: 'one\ntwo\n',
  ends: [END],
  events: new Map([[2, JSON.stringify(EVENTS[1])]]),
  isTold: false,
  ...changes,
});

describe('npm run crash-test', () => {
  test('nothing is wrong with what is as it was told', () => {
    expect(violationsOf(answered(), END, text(EVENTS))).toEqual([]);
    const ended = [EVENTS[0] ?? {}, { ...INTERRUPTED, stdout: undefined, seq: 1000, type: 'error' }];
    expect(violationsOf(answered({ ends: [], events: new Map() }), INTERRUPTED, text(ended))).toEqual([]);
  });

  test.each<[string, RegExp, Partial<Answered>, Partial<Seen>, readonly object[]]>([
    ['an end that is another', /another end before/, { ends: [INTERRUPTED] }, {}, EVENTS],
    ['a status of exit that is another', /another end before/, {}, { exit_code: 1 }, EVENTS],
    ['output that is another', /other output before/, {}, { stdout: 'one\n' }, EVENTS],
    ['output that is missing', /output is missing/, { ends: [] }, { stdout: 'one\n' }, EVENTS],
    ['output nobody wrote', /never written/, { ends: [] }, { stdout: 'three\n' }, EVENTS],
    ['events without an end', /have no end/, {}, {}, EVENTS.slice(0, 2)],
    ['an event after the last', /after the last/, {}, {}, [...EVENTS, { seq: 4, type: 'stdout' }]],
    ['two ends', /after the last/, {}, {}, [...EVENTS, { ...EVENTS[2], seq: 4 }]],
    ['a gap', /a gap/, { events: new Map() }, {}, [EVENTS[0] ?? {}, EVENTS[2] ?? {}]],
    ['events in another order', /go from 3 to 2/, {}, {}, [EVENTS[0] ?? {}, EVENTS[2] ?? {}, EVENTS[1] ?? {}]],
    ['an event that is gone', /is another now/, { events: new Map([[9, '{}']]) }, {}, EVENTS],
    ['an event that is another', /is another now/, { events: new Map([[1, '{}']]) }, {}, EVENTS],
    [
      'a last event that tells another end',
      /last event tells/,
      {},
      {},
      [...EVENTS.slice(0, 2), { ...EVENTS[2], status: 'failed' }],
    ],
  ])('%s is noticed', (_what, expected, told, end, events) => {
    const violations = violationsOf(answered(told), { ...END, ...end }, text(events));
    expect(violations.join('\n')).toMatch(expected);
  });

  test('no end is noticed', () => {
    const { outcome: _, ...running } = END;
    expect(violationsOf(answered({ ends: [] }), { ...running, status: 'running' }, '').join()).toMatch(/it has no end/);
  });

  test('a key that ran twice is noticed, and one that ran again after an interruption is not', () => {
    const run = (...ends: Seen[]) => answered({ key: 'k', ends });
    expect(keyViolationsOf([run(INTERRUPTED), run(END)])).toEqual([]);
    const refused: Seen = { ...END, outcome: { kind: 'cancelled', reason: 'shutdown' } };
    expect(keyViolationsOf([run(refused), run(END)])).toEqual([]);
    expect(keyViolationsOf([run({ ...refused, started_at: 'then' }), run(END)]).join()).toMatch(/ran again after/);
    expect(keyViolationsOf([run(END), run(END)]).join()).toMatch(/ran to its end 2 times/);
    expect(keyViolationsOf([run(END), run(INTERRUPTED)]).join()).toMatch(/ran again after/);
  });
});

describe('npm run chaos', () => {
  const job = { ...jobOf(0.5, 0, 'm'), outcomes: ['exited'], stdout: 'one\ntwo\n', exitCode: 0 };
  const SEEN = {
    status: 'completed',
    started_at: 'then',
    exit_code: 0,
    outcome: { kind: 'exited' },
    stdout: 'one\ntwo\n',
  };
  const judged = (...seen: object[]) => {
    const history = new History();
    const accepted = history.accept('exe_1', job, 'k');
    for (const each of seen) history.saw(accepted, { ...SEEN, ...each });
    history.check();
    return history.violations.join('\n');
  };

  test.each<[string, RegExp, object[]]>([
    ['nothing', /^$/, [{ status: 'running' }, {}, {}]],
    ['no end', /has no end/, [{ status: 'running' }]],
    ['an end that is taken back', /is running again/, [{}, { status: 'running' }]],
    ['another end', /changed/, [{}, { outcome: { kind: 'interrupted' } }]],
    ['another status of exit', /changed/, [{}, { exit_code: 1 }]],
    ['other output', /changed/, [{}, { stdout: 'one\n' }]],
    ['an outcome the program cannot have', /ended as/, [{ outcome: { kind: 'timed_out' } }]],
    ['output that is missing', /of 8 characters/, [{ stdout: 'one\n' }]],
    ['output nobody wrote', /did not write/, [{ outcome: { kind: 'interrupted' }, stdout: 'three' }]],
    ['a trace of another run', /trace of another/, [{ stdout: 'FOREIGN TRACE' }]],
  ])('%s is noticed', (_what, expected, seen) => {
    expect(judged(...seen)).toMatch(expected);
  });

  test('a key that ran twice is noticed', () => {
    const history = new History();
    for (const id of ['exe_1', 'exe_2']) history.saw(history.accept(id, job, 'k'), SEEN);
    history.check();
    expect(history.violations.join()).toMatch(/I3/);
  });
});
