/**
 * What /proc and /sys could tell of the kernel and the machine is masked where it
 * would help an attack, and known where it is not.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe, type Facts } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const MASKED = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/kcore',
  '/proc/keys',
  '/proc/interrupts',
  '/proc/locks',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];

const READ = probe(`
def content(path):
    try:
        if os.path.isdir(path):
            return len(os.listdir(path))
        with open(path, 'rb') as file:
            return len(file.read(4096))
    except FileNotFoundError:
        return None
    except OSError:
        return 0
for path in ${JSON.stringify(MASKED)}:
    facts[path] = content(path)
`);

describe('masked files', () => {
  let inside: Facts;
  let control: Facts;

  beforeAll(async () => {
    inside = await sandbox.facts(READ);
    control = await controlFacts(READ, {
      without: ['masked_paths', 'seccomp', 'no_capabilities', 'unprivileged_user'],
    });
  });

  it.for(MASKED)('E14 %s tells nothing', (path, { skip }) => {
    expect(inside[path] ?? 0).toBe(0);
    skip(control[path] === null, `this kernel has no ${path}, so there is no control`);
    skip(control[path] === 0, `${path} is empty on this machine, so there is no control`);
    expect(control[path]).toBeGreaterThan(0);
  });
});

it('E14 the kernel log cannot be read', async () => {
  const readLog = probe(`
attempt('klogctl', lambda: syscall(103, 116, 3, ctypes.create_string_buffer(4096), 4096))
attempt('/dev/kmsg', lambda: opened('/dev/kmsg'))
`);
  expect(await sandbox.facts(readLog)).toEqual({ klogctl: 'EPERM', '/dev/kmsg': 'ENOENT' });
  const control = await controlFacts(readLog, { without: ['seccomp', 'no_capabilities', 'unprivileged_user'] });
  expect(control).toMatchObject({ klogctl: 'done' });
});

it('E34 known: processor, memory and load of the machine can be read, addresses of the kernel cannot', async () => {
  const machine = probe(`
facts['processor'] = 'processor' in open('/proc/cpuinfo').read()
facts['memory'] = int(open('/proc/meminfo').read().split()[1]) > 0
facts['load'] = len(open('/proc/loadavg').read().split())
symbols = open('/proc/kallsyms').read(100000).splitlines() if os.path.exists('/proc/kallsyms') else []
facts['addresses'] = [line for line in symbols if int(line.split()[0], 16)][:3]
`);
  expect(await sandbox.facts(machine)).toEqual({ processor: true, memory: true, load: 5, addresses: [] });
});
