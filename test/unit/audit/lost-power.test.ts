/** F35: what is in the audit log for certain (`PYEXEC_AUDIT=required`) is so over files and a loss of power. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { random } from '../../../chaos/random.ts';
import { AuditChain, START } from '../../../src/audit/audit-chain.ts';
import { verifyChain } from '../../../src/audit/verify-chain.ts';
import { AuditHead } from '../../../src/store/audit-head.ts';
import { LostPower, type Keeping } from '../../support/lost-power.ts';
import { momentsOf, straceCommand, stringsOf } from '../../support/traced-calls.ts';

const CHAIN = new URL('../../../src/audit/audit-chain.ts', import.meta.url).href;
const HEAD = new URL('../../../src/store/audit-head.ts', import.meta.url).href;

const PROGRAM = `
import { writeSync } from 'node:fs';
import { AuditChain, START } from ${JSON.stringify(CHAIN)};
import { AuditHead } from ${JSON.stringify(HEAD)};
const directory = process.argv[1] + '/audit';
const head = AuditHead.open(directory, START, true);
const chain = new AuditChain({ directory, head, fileBytesMax: 40_000, fileAgeMsMax: 1e9, flushes: true });
for (let batch = 1; batch <= 12; batch += 1) {
  // Over several pages, so that a part of it may be lost in the middle.
  const entries = Array.from({ length: 10 }, (_, at) => ({ kind: 'test', at, text: 'x'.repeat(1500) }));
  const { seq } = chain.append(entries);
  writeSync(1, '[' + seq + ']');
}
process.kill(process.pid, 'SIGKILL');
`;

const hasStrace = spawnSync('strace', ['-V']).status === 0;

const filesOf = (directory: string) => readdirSync(directory).filter((name) => name.endsWith('.jsonl'));

/** What verify says is wrong, and of the log as the next server goes on with it. */
function foundWrong(directory: string, seq: number): string[] {
  const head = AuditHead.open(directory, START, true);
  try {
    const before = verifyChain(directory, { head: head.read() });
    const chain = new AuditChain({ directory, head, fileBytesMax: 40_000, fileAgeMsMax: 1e9, flushes: true });
    chain.append([{ kind: 'started' }]);
    const { ok, detail } = verifyChain(directory, { head: head.read() });
    const lines = filesOf(directory).flatMap((name) => readFileSync(join(directory, name), 'utf8').split('\n'));
    const kept = lines.filter((line) => line.includes('"kind":"test"')).length;
    return [
      ...(before.ok ? [] : [before.detail]),
      ...(ok ? [] : [detail]),
      ...(kept < seq ? [`${String(kept)} of ${String(seq)} lines are left`] : []),
    ];
  } finally {
    head.close();
  }
}

test.skipIf(!hasStrace)('every line that was said to be written is there, and verify finds nothing wrong', () => {
  const directory = mkdtempSync(join(tmpdir(), 'pyexec-audit-power-'));
  try {
    const root = join(directory, 'root');
    mkdirSync(root);
    const file = join(directory, 'trace');
    const node = [process.execPath, '--input-type=module-typescript', '-e', PROGRAM, root];
    const [command = '', ...args] = straceCommand(file, node);
    const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
    expect(stdout, stderr).toMatch(/\[120\]$/);
    expect(filesOf(join(root, 'audit')).length).toBeGreaterThan(2);

    const seed = Date.now() % 1_000_000;
    const next = random(seed);
    const anyPart: Keeping = (versions) => Math.floor(next() * versions);
    const disk = new LostPower(root, (path) => path.endsWith('-shm'));
    const wrong: string[] = [];
    let seq = 0;
    let cuts = 0;
    const judge = (keeping: Keeping) => {
      cuts += 1;
      const target = join(directory, `cut-${String(cuts)}`);
      disk.rebuild(target, keeping);
      wrong.push(...foundWrong(join(target, 'audit'), seq).map((what) => `after line ${String(seq)}: ${what}`));
    };
    for (const moment of momentsOf(readFileSync(file, 'latin1'))) {
      disk.take(moment);
      if (moment.at === 'began' || moment.call.name === 'mmap' || !moment.call.text.includes('\\x')) continue;
      const isSaid = moment.call.name === 'write' && moment.call.text.startsWith('1<');
      if (isSaid) seq = Number(/\[(\d+)\]/.exec(stringsOf(moment.call)[0]?.toString() ?? '')?.[1] ?? seq);
      if (isSaid) judge('synced');
      if (seq > 0 && (isSaid || moment.call.name.startsWith('pwrite')))
        for (let times = 0; times < 3; times += 1) judge(anyPart);
    }
    expect(wrong, `seed ${String(seed)}`).toEqual([]);
    expect(cuts).toBeGreaterThan(40);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
