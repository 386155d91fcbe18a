/** F17 at boot: a state directory on a disk without a byte to spare opens with the space that was set aside, or says why not. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openState } from '../../../src/composition/state.ts';
import { parseConfig } from '../../../src/config/config.ts';
import { newExecutionId } from '../../../src/domain/execution.ts';
import { createLogger } from '../../../src/telemetry/logger.ts';
import { resultOf } from '../../support/stored-executions.ts';

const longAgo = '2020-01-01T00:00:00.000Z';
const canMount = process.getuid?.() === 0;

describe.skipIf(!canMount)('a full disk', () => {
  let path: string;
  const reserves = () => ['reserve', 'reserve-start'].map((name) => join(path, name));
  const filler = () => join(path, 'filler');
  const fillDisk = () => {
    spawnSync('dd', ['if=/dev/zero', `of=${filler()}`, 'bs=4k'], { stdio: 'ignore' });
  };
  const open = () => openState(parseConfig({ PYEXEC_STATE_DIR: path }), createLogger('fatal'));
  beforeEach(async () => {
    path = mkdtempSync(join(tmpdir(), 'pyexec-full-'));
    const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m,mode=0700', 'tmpfs', path]);
    if (status !== 0) throw new Error(stderr.toString());
    await open().close();
  });
  afterEach(() => {
    spawnSync('umount', ['-l', path]);
    rmSync(path, { recursive: true, force: true });
  });

  test('stops no start while space was set aside; what is recorded can be read', async () => {
    const id = newExecutionId();
    const before = open();
    before.store.accept({ id, ownerId: 'ada', result: resultOf(id), form: undefined });
    await before.close();
    fillDisk();
    const state = open();
    expect(state.store.read(id)?.state).toBe('accepted');
    await state.close();
  });

  test('that is nearly full: nothing is made ready beforehand with the space that others need, or that is set aside', async () => {
    fillDisk();
    // Less than the log is made long for, enough to open everything.
    truncateSync(filler(), statSync(filler()).size - (2 << 20));
    const state = open();
    expect(statSync(join(path, 'reserve')).size).toBe(4 << 20);
    await state.close();
  });

  test('stops no start when what was set aside for ends is used up: the start has some of its own, and makes room', async () => {
    const id = newExecutionId();
    const before = open();
    before.store.accept({ id, ownerId: 'ada', result: resultOf(id), form: undefined });
    before.store.finish(
      id,
      { ...resultOf(id), finished_at: longAgo },
      { lastSeq: 0, bytes: 0, inline: Buffer.alloc(0) },
    );
    const files = before.directory.executionDirectory(id);
    mkdirSync(files);
    writeFileSync(join(files, 'output'), Buffer.alloc(3 << 20, 1));
    await before.close();
    rmSync(join(path, 'reserve'));
    fillDisk();
    const state = open();
    expect(state.store.read(id, 'however old')?.state).toBe('done');
    expect(statSync(join(path, 'reserve-start'), { throwIfNoEntry: false })).toBeUndefined();
    await state.sweeper.sweep();
    expect(state.store.read(id, 'however old')).toBeUndefined();
    await state.close();
    expect(statSync(join(path, 'reserve-start')).size).toBe(2 << 20);
  });

  test('both are there again when there is room, though nothing is due', async () => {
    rmSync(join(path, 'reserve'));
    fillDisk();
    const state = open();
    await state.sweeper.sweep();
    expect(reserves().every((file) => !existsSync(file))).toBe(true);
    rmSync(filler());
    await state.sweeper.sweep();
    expect(reserves().map((file) => statSync(file).size)).toEqual([4 << 20, 2 << 20]);
    await state.close();
  });

  test('is not touched by the write of an end: what a start has is for starts alone', async () => {
    const id = newExecutionId();
    const state = open();
    state.store.accept({ id, ownerId: 'ada', result: resultOf(id), form: undefined });
    rmSync(join(path, 'reserve'));
    fillDisk();
    // More than the log still has room for.
    const inline = Buffer.alloc(6 << 20, 1);
    expect(() => {
      state.store.finish(id, resultOf(id), { lastSeq: 1, bytes: inline.length, inline });
    }).toThrow(expect.objectContaining({ code: 'storage_full' }));
    expect(statSync(join(path, 'reserve-start')).size).toBe(2 << 20);
    await state.close();
  });

  test('is named when nothing was set aside, and a start with room again is a usual one', async () => {
    for (const file of reserves()) rmSync(file);
    fillDisk();
    expect(open).toThrow(/PYEXEC_STATE_DIR: its disk is full, or fails/);
    rmSync(filler());
    await open().close();
  });
});
