/** The chain of the audit log: appended by several, rotated, torn, and everything verify must find. */
import {
  appendFileSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AuditChain, START, type AuditEntry } from '../../../src/audit/audit-chain.ts';
import { AuditLog } from '../../../src/audit/audit-log.ts';
import { verifyChain } from '../../../src/audit/verify-chain.ts';
import { AuditHead } from '../../../src/store/audit-head.ts';
import { createKey, operatorCommand } from '../../support/operator-command.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

let state: ReturnType<typeof temporaryStateDirectory>;
let directory: string;
let head: AuditHead;
beforeEach(() => {
  state = temporaryStateDirectory();
  directory = join(state.path, 'audit');
  head = AuditHead.open(directory, START, false);
});
afterEach(() => {
  head.close();
  state.remove();
});

const chain = (options: { fileBytesMax?: number; fileAgeMsMax?: number } = {}) =>
  new AuditChain({ directory, head, fileBytesMax: 1 << 20, fileAgeMsMax: 1e9, flushes: false, ...options });
const entries = (count: number): AuditEntry[] => Array.from({ length: count }, (_, at) => ({ kind: 'test', at }));
const verify = (options: { from?: number; expected?: { seq: number; hash: string } } = {}) =>
  verifyChain(directory, { head: head.read(), ...options });
const file = (number: number) => join(directory, `audit-00000${String(number)}.jsonl`);
const linesOf = (number: number) => readFileSync(file(number), 'utf8').trimEnd().split('\n');
const rewrite = (number: number, change: (lines: string[]) => string[]) => {
  writeFileSync(file(number), `${change(linesOf(number)).join('\n')}\n`);
};

test('an empty log is whole', () => {
  expect(verify()).toMatchObject({ ok: true });
});

test('lines are numbered, hashed, and found whole', () => {
  chain().append(entries(3));
  const last = chain().append(entries(2));
  expect(linesOf(1).map((line) => (JSON.parse(line) as { seq: number }).seq)).toEqual([1, 2, 3, 4, 5]);
  expect(verify()).toEqual({ ok: true, detail: `lines 1 to 5 in 1 files, head 5:${last.hash}` });
  expect(statSync(file(1)).mode & 0o777).toBe(0o600);
});

test('it goes on in a new file by size and by age, and the chain goes on with it', () => {
  for (let count = 0; count < 5; count += 1) chain({ fileBytesMax: 200 }).append(entries(2));
  const files = readdirSync(directory).filter((name) => name.endsWith('.jsonl')).length;
  expect(files).toBeGreaterThan(2);
  chain({ fileAgeMsMax: -1 }).append(entries(1));
  expect(readdirSync(directory).filter((name) => name.endsWith('.jsonl'))).toHaveLength(files + 1);
  expect(verify()).toMatchObject({ ok: true });
});

describe('verify names the first broken line', () => {
  beforeEach(() => {
    chain().append(entries(6));
    chain({ fileBytesMax: 1 }).append(entries(4));
    expect(verify()).toMatchObject({ ok: true });
  });

  const edited = (line: string | undefined) => (line ?? '').replace('"test"', '"TEST"');

  test.each<[string, () => void, RegExp]>([
    [
      'an edited line',
      () => {
        rewrite(1, (lines) => lines.with(2, edited(lines[2])));
      },
      /^audit-000001\.jsonl line 3 was changed/,
    ],
    [
      'an edited first line',
      () => {
        rewrite(1, (lines) => lines.with(0, edited(lines[0])));
      },
      /^audit-000001\.jsonl line 1 was changed/,
    ],
    [
      'an edited last line of a file',
      () => {
        rewrite(1, (lines) => lines.with(5, edited(lines[5])));
      },
      /^audit-000001\.jsonl line 6 was changed/,
    ],
    [
      'an edited last line',
      () => {
        rewrite(2, (lines) => lines.with(3, edited(lines[3])));
      },
      /^audit-000002\.jsonl line 4 was changed/,
    ],
    [
      'an edited prev',
      () => {
        rewrite(1, (lines) => lines.with(2, (lines[2] ?? '').replace(/"prev":"./, '"prev":"x')));
      },
      /line 3 was changed/,
    ],
    [
      'a deleted line',
      () => {
        rewrite(1, (lines) => lines.toSpliced(2, 1));
      },
      /^audit-000001\.jsonl line 3 is number 4 where 3 should be/,
    ],
    [
      'an inserted line',
      () => {
        rewrite(1, (lines) => lines.toSpliced(2, 0, lines[1] ?? ''));
      },
      /line 3 is number 2 where 3/,
    ],
    [
      'exchanged lines',
      () => {
        rewrite(1, (lines) => lines.with(2, lines[3] ?? '').with(3, lines[2] ?? ''));
      },
      /line 3 is number 4/,
    ],
    [
      'a cut end',
      () => {
        rewrite(2, (lines) => lines.slice(0, 2));
      },
      /^lines 9 to 10 are missing after audit-000002\.jsonl line 2/,
    ],
    [
      'half a last line',
      () => {
        truncateSync(file(2), statSync(file(2)).size - 9);
      },
      /^lines 10 to 10 are missing/,
    ],
    [
      'a cut end of an earlier file',
      () => {
        rewrite(1, (lines) => lines.slice(0, 4));
      },
      /^audit-000002\.jsonl line 1 is number 7 where 5/,
    ],
    [
      'a missing last file',
      () => {
        rmSync(file(2));
      },
      /^lines 7 to 10 are missing/,
    ],
    [
      'a missing first file',
      () => {
        rmSync(file(1));
      },
      /^audit-000002\.jsonl line 1 is number 7 where 1/,
    ],
    [
      'exchanged files',
      () => {
        renameSync(file(1), file(9));
      },
      /^audit-000002\.jsonl line 1 is number 7 where 1/,
    ],
    [
      'what is no line',
      () => {
        rewrite(1, (lines) => lines.with(1, 'x'));
      },
      /^audit-000001\.jsonl line 2 is not a line of this log/,
    ],
    [
      'everything',
      () => {
        rmSync(file(1));
        rmSync(file(2));
      },
      /^lines 1 to 10 are missing/,
    ],
  ])('%s', (_what, tamper, sentence) => {
    tamper();
    const { ok, detail } = verify();
    expect(detail).toMatch(sentence);
    expect(ok).toBe(false);
  });

  test('after tampering the log goes on, and stays broken where it was', () => {
    truncateSync(file(2), 10);
    chain().append(entries(2));
    expect(verify().ok).toBe(false);
    expect(linesOf(3)).toHaveLength(2);
  });

  test('lines somebody appended are not taken for the log’s, nor removed', () => {
    appendFileSync(file(2), '{"seq":11,"prev":"forged"}\n');
    chain().append(entries(1));
    expect(linesOf(2).at(-1)).toContain('forged');
    expect(verify()).toMatchObject({ ok: false, detail: 'audit-000002.jsonl line 5 was changed' });
  });

  test('a log written anew from the start is found by a head noted before', () => {
    const noted = head.read();
    head.close();
    rmSync(directory, { recursive: true });
    head = AuditHead.open(directory, START, false);
    chain().append(entries(20).map((entry) => ({ ...entry, kind: 'forged' })));
    expect(verify()).toMatchObject({ ok: true });
    expect(verify({ expected: noted })).toMatchObject({ ok: false });
  });

  test('a head that is gone is not a log that is whole', () => {
    expect(verifyChain(directory, { head: undefined })).toMatchObject({ ok: false });
  });

  test('older files may be taken away, when verify is told', () => {
    rmSync(file(1));
    expect(verify({ from: 7 })).toMatchObject({ ok: true });
  });
});

describe('after a crash', () => {
  test('at every byte of a line: half a line is dropped and said, a whole one counts', () => {
    chain().append(entries(2));
    const before = head.read();
    chain().append([{ kind: 'last' }]);
    const after = head.read();
    const whole = readFileSync(file(1));
    for (let cut = before.bytes; cut <= after.bytes; cut += 1) {
      // As a process leaves it that died after writing so far, and before it moved the head.
      head.exclusively(() => before);
      writeFileSync(file(1), whole.subarray(0, cut));
      expect(verify().ok).toBe(true);
      chain().append([{ kind: 'next' }]);
      expect(verify()).toMatchObject({ ok: true });
      const kinds = linesOf(1)
        .slice(2)
        .map((line) => (JSON.parse(line) as { kind: string }).kind);
      const expected = cut === before.bytes ? ['next'] : cut === after.bytes ? ['last', 'next'] : ['recovered', 'next'];
      expect(kinds).toEqual(expected);
    }
  });

  test('that left a new file and an old head: the new file is gone on with', () => {
    chain().append(entries(1));
    const before = head.read();
    chain({ fileBytesMax: 1 }).append(entries(1));
    head.exclusively(() => before);
    chain({ fileBytesMax: 1 }).append(entries(1));
    expect(verify()).toMatchObject({ ok: true });
    expect(head.read().seq).toBe(3);
  });
});

test('two appending processes and this one do not fork the chain', async () => {
  const commands = Array.from({ length: 4 }, (_, at) => createKey(state.path, `key-${String(at)}`, 'run'));
  let isDone = false;
  const finished = Promise.all(commands).finally(() => (isDone = true));
  let own = 0;
  while (!isDone) {
    chain().append([{ kind: 'own', own: (own += 1) }]);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const keys = await finished;
  expect(verify()).toMatchObject({ ok: true });
  const lines = linesOf(1).map((line) => JSON.parse(line) as { kind: string });
  expect(lines.filter(({ kind }) => kind === 'key_created')).toHaveLength(4);
  expect(lines.filter(({ kind }) => kind === 'own')).toHaveLength(own);
  for (const key of keys) expect(readFileSync(file(1), 'utf8')).not.toContain(key.slice(4, 40));
  const { code, stdout } = await operatorCommand(state.path, ['audit', 'verify']);
  expect(stdout).toMatch(/^ok: lines 1 to \d+ in 1 files, head \d+:[0-9a-f]{64}\n$/);
  expect(code).toBe(0);
  rewrite(1, (found) => found.toSpliced(1, 1));
  const broken = await operatorCommand(state.path, ['audit', 'verify']);
  expect([broken.code, broken.stdout]).toEqual([
    1,
    'broken: audit-000001.jsonl line 2 is number 3 where 2 should be\n',
  ]);
});

describe('a disk that is full', () => {
  function failing() {
    let isFull = true;
    const written: AuditEntry[] = [];
    const failures: number[] = [];
    const log = new AuditLog({
      chain: {
        append: (more) => {
          if (isFull) throw new Error('ENOSPC');
          written.push(...more);
          return START;
        },
      },
      onFailure: (_error, waiting) => failures.push(waiting),
    });
    return { log, written, failures, free: () => (isFull = false) };
  }
  const kinds = (found: readonly AuditEntry[]) => found.map(({ kind }) => kind);

  test('keeps what was noted, and writes it in order when there is room', async () => {
    const { log, written, failures, free } = failing();
    log.note({ kind: 'a' });
    await new Promise((resolve) => setTimeout(resolve, 20));
    log.note({ kind: 'b' });
    expect([written, failures]).toEqual([[], [1]]);
    free();
    log.close();
    expect(kinds(written)).toEqual(['a', 'b']);
  });

  test('refuses at once what must be written, and does not write it later', async () => {
    const { log, written, free } = failing();
    log.note({ kind: 'a' });
    await expect(log.write({ kind: 'must' })).rejects.toThrow('ENOSPC');
    free();
    await log.write({ kind: 'now' });
    expect(kinds(written)).toEqual(['a', 'now']);
  });

  test('is forgotten beyond a bound, and the log says how much', () => {
    const { log, written, free } = failing();
    for (let count = 0; count < 10_003; count += 1) log.note({ kind: 'a', count });
    free();
    log.close();
    expect(written[0]).toEqual({ kind: 'gap', lost_lines: 3 });
    expect(written).toHaveLength(10_001);
    expect(written[1]).toMatchObject({ count: 3 });
  });
});
