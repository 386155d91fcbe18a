/**
 * What a run may write is limited in bytes and in files; meeting the limit is an
 * ordinary error of the program, and the next run starts with everything.
 * Control: with a larger limit, or without it, more can be written.
 */
import { describe, expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();
const MIB = 2 ** 20;

const fill = (place: string, atMostMib = 4096) => `
block, written = b'I love beans' * 87382, 0
try:
    for number in range(${String(atMostMib)}):
        with open('${place}/fill-%d' % (number // 4), 'ab', buffering=0) as file:
            done = file.write(block[:1048576])
            written += done
            if done < 1048576: file.write(block)
    facts['stopped by'] = 'nothing'
except OSError as problem:
    facts['stopped by'] = errno.errorcode[problem.errno]
facts['written'] = written
`;

describe('disk', () => {
  it('L10 /work holds what the limit says, and then reports that it is full', async () => {
    const limits = { disk_bytes: 8 * MIB, memory_bytes: 128 * MIB };
    const facts = await sandbox.facts(probe(fill('/work')), { limits });
    expect(facts['stopped by']).toBe('ENOSPC');
    expect(facts['written']).toBeLessThanOrEqual(limits.disk_bytes);
    expect(facts['written']).toBeGreaterThan(limits.disk_bytes - MIB);
    const more = await sandbox.facts(probe(fill('/work')), { limits: { ...limits, disk_bytes: 16 * MIB } });
    expect(more['written']).toBeGreaterThan(limits.disk_bytes);
  });

  it('L10 an error nobody caught ends the program, with a hint', async () => {
    const run = await sandbox.run(`open('fill', 'wb').write(b'I love beans' * 2 ** 24)`, {
      limits: { disk_bytes: 8 * MIB, memory_bytes: 512 * MIB },
    });
    expect(run.outcome).toMatchObject({ kind: 'exited', exit_code: 1 });
    expect(run.stderr).toMatch(/No space left on device|File too large/);
  });

  it('L10 /tmp and /dev/shm have limits of their own', async () => {
    for (const place of ['/tmp', '/dev/shm']) {
      const facts = await sandbox.facts(probe(fill(place)), { limits: { memory_bytes: 128 * MIB } });
      expect(facts['stopped by'], place).toBe('ENOSPC');
      expect(facts['written'], place).toBeLessThan(64 * MIB);
    }
    const control = await controlFacts(probe(fill('/tmp', 40)), { without: ['tmpfs_caps'] });
    expect(control).toMatchObject({ 'stopped by': 'nothing', written: 40 * MIB });
  });

  it('L10 space cannot be reserved beyond the limit, nor by one file with a hole', async () => {
    const reserve = probe(`
file = os.open('/work/reserved', os.O_RDWR | os.O_CREAT)
attempt('fallocate', lambda: os.posix_fallocate(file, 0, 1 << 30))
attempt('hole', lambda: os.ftruncate(file, (70 << 20) + (1 << 30)))
`);
    const facts = await sandbox.facts(reserve, { limits: { disk_bytes: 8 * MIB } });
    for (const [what, outcome] of Object.entries(facts)) expect.soft(outcome, what).toMatch(/^(ENOSPC|EFBIG)$/);
  });

  it('L10 the next run has an empty disk', async () => {
    const look = 'import os; print(os.listdir("/tmp"), os.listdir("/dev/shm"), os.listdir("/work"))';
    expect((await sandbox.run(look)).stdout).toBe("[] [] ['main.py']\n");
  });
});

describe('L12 inodes', () => {
  const create = (place: string, how: string, atMost = 1_000_000) => `
count = 0
try:
    while count < ${String(atMost)}:
        path = '${place}/%d' % count
        ${how}
        count += 1
    facts['stopped by'] = 'nothing'
except OSError as problem:
    facts['stopped by'] = errno.errorcode[problem.errno]
facts['made'] = count
`;
  const HOW = {
    'empty files': `os.close(os.open(path, os.O_CREAT | os.O_WRONLY))`,
    'symbolic links': `os.symlink('x', path)`,
    directories: `os.mkdir(path)`,
  };
  const limits = { memory_bytes: 128 * MIB, disk_bytes: 16 * MIB };

  it.for(Object.entries(HOW))('L12 a million %s are stopped by the limit of the file system', async ([, how]) => {
    for (const place of ['/work', '/tmp']) {
      const facts = await sandbox.facts(probe(create(place, how)), { limits });
      expect(facts['stopped by'], place).toBe('ENOSPC');
      expect(facts['made'], place).toBeGreaterThan(500);
      expect(facts['made'], place).toBeLessThan(50_000);
    }
  });

  it('L12 control: without the limit the same program makes more', async () => {
    const control = await controlFacts(probe(create('/tmp', HOW['empty files'], 60_000)), { without: ['tmpfs_caps'] });
    expect(control).toEqual({ 'stopped by': 'nothing', made: 60_000 });
  });

  it('L12 hard links and a million files in /dev/shm are contained', async () => {
    const links = await sandbox.facts(
      probe(`open('/work/first', 'w').close()\n${create('/work', `os.link('/work/first', path)`, 200_000)}`),
      { limits },
    );
    expect(links['stopped by']).toMatch(/^(ENOSPC|EMLINK)$/);
    const run = await sandbox.run(probe(create('/dev/shm', HOW['empty files'])), {
      limits: { ...limits, wall_ms: 30_000 },
    });
    if (run.outcome?.kind === 'exited') expect(run.stdout).toContain('ENOSPC');
    else expect(run.outcome?.kind).toBe('out_of_memory');
  });

  it('L12 extended attributes are contained', async () => {
    const run = await sandbox.run(
      probe(`
os.mkdir('/work/d')
open('/work/d/file', 'w').close()
count = 0
try:
    while count < 200_000:
        os.setxattr('/work/d/file', 'user.%d' % count, b'x' * 1000)
        count += 1
    facts['stopped by'] = 'nothing'
except OSError as problem:
    facts['stopped by'] = errno.errorcode[problem.errno]
facts['made'] = count
`),
      { limits: { ...limits, wall_ms: 20_000 } },
    );
    if (run.outcome?.kind === 'exited') expect(run.stdout).toMatch(/ENOSPC|ENOTSUP|EOPNOTSUPP|E2BIG/);
    else expect(run.outcome?.kind).toBe('out_of_memory');
  });
});
