/**
 * A disk that takes what is written and fails later, when it is to be kept: told at the end, also where the kernel told it
 * long before, to a sync in the background, and everything since went well.
 *
 * The disk is real: ext4 on a loop device whose own file has no room. Writes go to the page cache and succeed; syncs are EIO.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, fdatasyncSync, mkdirSync, mkdtempSync, openSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SpillFile } from '../../../src/output/spill-file.ts';

const MIB = 1 << 20;
const run = (command: string, ...args: string[]) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;
const hasLoopDevices = process.getuid?.() === 0 && run('losetup', '-f');

describe.skipIf(!hasLoopDevices)('a disk that fails when it is synced', () => {
  let base: string;
  let mounted: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'pyexec-sync-'));
    mounted = join(base, 'mounted');
    const image = join(base, 'image');
    const isMounted =
      run('mount', '-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', base) &&
      run('truncate', '-s', '256M', image) &&
      run('mkfs.ext4', '-q', '-O', '^has_journal', image);
    mkdirSync(mounted);
    if (!isMounted || !run('mount', '-o', 'loop', image, mounted)) throw new Error('no disk could be made');
  });
  afterEach(() => {
    run('umount', '-l', mounted);
    run('umount', '-l', base);
    rmSync(base, { recursive: true, force: true });
  });

  const filler = () => join(base, 'filler');
  const append = async (file: SpillFile, mib: number) => {
    for (let count = 0; count < mib; count += 1) await file.append([Buffer.alloc(MIB, 'x')]);
  };

  /** Resolves when the kernel has found that what was written before cannot be kept. */
  async function failed(descriptor: number): Promise<void> {
    await expect
      .poll(
        () => {
          try {
            fdatasyncSync(descriptor);
            return 'kept';
          } catch (error) {
            return (error as NodeJS.ErrnoException).code;
          }
        },
        { timeout: 20_000 },
      )
      .toMatch(/^(EIO|ENOSPC)$/);
    // The sync in the background waits for the same pages.
    await sleep(1_000);
  }

  test.each([
    ['has room', false],
    ['has none for a while', true],
  ])('which %s: whoever ends the file is told', async (_what, fails) => {
    const file = new SpillFile(join(mounted, 'execution'));
    const close = file.use();
    await append(file, 1);
    const descriptor = openSync(file.path, 'r+');
    if (fails) run('dd', 'if=/dev/zero', `of=${filler()}`, 'bs=64k');
    // Past where a sync begins in the background. Every write succeeds.
    await append(file, 17);
    if (fails) {
      await failed(descriptor);
      truncateSync(filler(), 0);
    }
    // The kernel tells of one failure twice, of no space and of no success: the second goes to the next sync in the background.
    await append(file, 17);
    await sleep(1_000);
    const ended = file.end(Buffer.from('{"type":"result"}\n'));
    if (fails)
      await expect(ended).rejects.toMatchObject({ code: expect.stringMatching(/^(internal|storage_full)$/) as string });
    else await ended;
    // What is written now is kept: nothing but the memory of the failure makes the difference.
    if (fails) fdatasyncSync(descriptor);
    closeSync(descriptor);
    close();
  });
});
