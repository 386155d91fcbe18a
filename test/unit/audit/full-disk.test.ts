/** A disk that fills up in the middle of a line. The file system is replaced to make it happen. */
import type * as FileSystem from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { AuditChain, START } from '../../../src/audit/audit-chain.ts';
import { verifyChain } from '../../../src/audit/verify-chain.ts';
import { AuditHead } from '../../../src/store/audit-head.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

const disk = vi.hoisted(() => ({ room: Infinity }));

vi.mock('node:fs', async (original) => {
  const real = await original<typeof FileSystem>();
  return {
    ...real,
    writeSync: (descriptor: number, data: Buffer, offset: number, length: number, position: number) => {
      const fits = Math.min(length, disk.room);
      if (fits <= 0) throw Object.assign(new Error('write'), { code: 'ENOSPC' });
      disk.room -= fits;
      return real.writeSync(descriptor, data, offset, fits, position);
    },
  };
});

test('nothing of a line that did not fit is left, and the next one follows the last that did', () => {
  const state = temporaryStateDirectory();
  const directory = join(state.path, 'audit');
  const head = AuditHead.open(directory, START, true);
  const chain = new AuditChain({ directory, head, fileBytesMax: 1e6, fileAgeMsMax: 1e9, flushes: true });
  chain.append([{ kind: 'a' }]);
  for (const room of [0, 1, 50, 150]) {
    disk.room = room;
    expect(() => chain.append([{ kind: 'b' }, { kind: 'c' }])).toThrow('write');
    expect(verifyChain(directory, { head: head.read() }).detail).toMatch(/^lines 1 to 1 in 1 files, head 1:[0-9a-f]+$/);
  }
  disk.room = Infinity;
  expect(chain.append([{ kind: 'd' }]).seq).toBe(2);
  expect(verifyChain(directory, { head: head.read() })).toMatchObject({ ok: true });
  head.close();
  state.remove();
});
