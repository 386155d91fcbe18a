/** F17 at boot: a state directory on a disk without a byte to spare opens with the space that was set aside, or says why not. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openState } from '../../../src/composition/state.ts';
import { parseConfig } from '../../../src/config/config.ts';
import { newExecutionId } from '../../../src/domain/execution.ts';
import { createLogger } from '../../../src/telemetry/logger.ts';
import { resultOf } from '../../support/stored-executions.ts';

const canMount = process.getuid?.() === 0;

describe.skipIf(!canMount)('a full disk', () => {
  let path: string;
  const filler = () => join(path, 'filler');
  const fillDisk = () => {
    spawnSync('dd', ['if=/dev/zero', `of=${filler()}`, 'bs=4k'], { stdio: 'ignore' });
  };
  const open = () => openState(parseConfig({ PYEXEC_STATE_DIR: path }), createLogger('fatal'));
  beforeEach(async () => {
    path = mkdtempSync(join(tmpdir(), 'pyexec-full-'));
    const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=12m,mode=0700', 'tmpfs', path]);
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

  test('is named when nothing was set aside, and a start with room again is a usual one', async () => {
    rmSync(join(path, 'reserve'));
    fillDisk();
    expect(open).toThrow(/PYEXEC_STATE_DIR: its disk is full, or fails/);
    rmSync(filler());
    await open().close();
  });
});
