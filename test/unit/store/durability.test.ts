/** F35: what the loss of power would leave, read off the system calls: nothing is told before it is synced. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const STORE = new URL('../../../src/store/execution-store.ts', import.meta.url).href;
const STATE = new URL('../../../src/store/state-directory.ts', import.meta.url).href;

const hasStrace = spawnSync('strace', ['-V']).status === 0;

test.skipIf(!hasStrace)(
  'accepted, where somebody may know of it, and done are on the disk when the call returns',
  () => {
    const directory = mkdtempSync(join(tmpdir(), 'pyexec-durability-'));
    try {
      const program = `
      import { writeSync } from 'node:fs';
      import { ExecutionStore } from ${JSON.stringify(STORE)};
      import { StateDirectory } from ${JSON.stringify(STATE)};
      const store = new ExecutionStore(StateDirectory.open(process.argv[1]), { ttlMs: 1e9, bytesMax: 1e12, countMax: 1e9 });
      const result = { execution_id: 'exe_1', status: 'pending', exit_code: 0, created_at: new Date().toISOString() };
      writeSync(1, 'OPEN');
      store.accept({ id: 'exe_1', ownerId: 'ada', result, form: undefined }, { key: { key: 'k', request: 'r' } });
      writeSync(1, 'ACCEPTED');
      store.starting('exe_1', 'c');
      writeSync(1, 'STARTING');
      store.finish('exe_1', result, { lastSeq: 0, bytes: 0, inline: Buffer.alloc(0) });
      writeSync(1, 'DONE');
      store.accept({ id: 'exe_2', ownerId: 'ada', result: { ...result, execution_id: 'exe_2' } }, { isToldAtEnd: true });
      writeSync(1, 'UNTOLD');
      store.sync();
      writeSync(1, 'SYNCED');
      store.sync();
      writeSync(1, 'AGAIN');
      store.accept(
        { id: 'exe_3', ownerId: 'ada', result: { ...result, execution_id: 'exe_3' } },
        { isToldAtEnd: true, key: { key: 'l', request: 'r' } },
      );
      writeSync(1, 'KEYED');
      store.accept({ id: 'exe_4', ownerId: 'ada', result: { ...result, execution_id: 'exe_4' } }, { isToldAtEnd: true });
      try { store.finish('exe_5', result, { lastSeq: 0, bytes: 0, inline: Buffer.alloc(0) }); } catch {}
      writeSync(1, 'UNKNOWN');
      store.sync();
      writeSync(1, 'LAST');`;
      const trace = join(directory, 'trace');
      const { stdout, stderr } = spawnSync(
        'strace',
        [
          ...['-f', '-y', '-e', 'trace=write,pwrite64,fsync,fdatasync', '-o', trace],
          ...[process.execPath, '--input-type=module-typescript', '-e', program, join(directory, 'state')],
        ],
        { encoding: 'utf8' },
      );
      expect(stdout, stderr).toBe('OPENACCEPTEDSTARTINGDONEUNTOLDSYNCEDAGAINKEYEDUNKNOWNLAST');
      /** What happened to the log between two of the program's marks: written, synced. */
      const between = (from: string, to: string) => {
        const lines = readFileSync(trace, 'utf8').split('\n');
        const at = (mark: string) => lines.findIndex((line) => line.includes(`"${mark}"`));
        const calls = lines.slice(at(from), at(to)).filter((line) => line.includes('state.sqlite-wal'));
        return calls.map((line) => (line.includes('sync(') ? 'synced' : 'written'));
      };
      expect(between('OPEN', 'ACCEPTED')).toContain('written');
      expect(between('OPEN', 'ACCEPTED').at(-1)).toBe('synced');
      expect(between('ACCEPTED', 'STARTING')).toContain('written');
      expect(between('ACCEPTED', 'STARTING')).not.toContain('synced');
      expect(between('STARTING', 'DONE')).toContain('written');
      expect(between('STARTING', 'DONE').at(-1)).toBe('synced');
      expect(between('DONE', 'UNTOLD')).toContain('written');
      expect(between('DONE', 'UNTOLD')).not.toContain('synced');
      expect(between('UNTOLD', 'SYNCED')).toEqual(['synced']);
      expect(between('SYNCED', 'AGAIN')).toEqual([]);
      expect(between('AGAIN', 'KEYED').at(-1)).toBe('synced');
      // An end of what is not there writes nothing, and makes nothing durable.
      expect(between('KEYED', 'UNKNOWN')).not.toContain('synced');
      expect(between('UNKNOWN', 'LAST')).toEqual(['synced']);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
);
