/**
 * A program starts with stdin, stdout and stderr, and with nothing of the
 * supervisor, the runtime or the host beside them (CVE-2024-21626).
 * Control: a descriptor left open on purpose is seen by the same probe.
 */
import { describe, expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const DESCRIPTORS = probe(`
def open_descriptors():
    found = {}
    for number in range(4096):
        try:
            os.fstat(number)
        except OSError:
            continue
        target = os.readlink('/proc/self/fd/%d' % number)
        found[number] = target.split(':')[0]
    return found
facts['descriptors'] = open_descriptors()
facts['listed'] = len(os.listdir('/proc/self/fd'))
reached = []
start = os.getcwd()
facts['directory'] = start
for number in range(64):
    try:
        os.chdir('/proc/self/fd/%d' % number)
        reached.append(os.getcwd())
        os.chdir(start)
    except OSError:
        pass
facts['directories behind descriptors'] = reached
`);

const THREE = {
  descriptors: { '0': 'pipe', '1': 'pipe', '2': 'pipe' },
  // listdir holds one of its own while it looks.
  listed: 4,
  directory: '/work',
  'directories behind descriptors': [],
};

describe('E17 E18 descriptors at the start', () => {
  it('E17 E18 of a script', async () => {
    expect(await sandbox.facts(DESCRIPTORS)).toEqual(THREE);
  });

  it('E17 E18 of a module in a new interpreter', async () => {
    const facts = await sandbox.facts({ 'probe.py': DESCRIPTORS }, { entryPoint: { kind: 'module', name: 'probe' } });
    expect(facts).toEqual(THREE);
  });

  it('E17 E18 of a program after commands', async () => {
    expect(await sandbox.facts(DESCRIPTORS, { preCommands: ['true'] })).toEqual(THREE);
  });

  it('E17 E18 of a child process, all of whose descriptors are inherited', async () => {
    const files = {
      'main.py': `import subprocess, sys\nsubprocess.run([sys.executable, 'probe.py'], close_fds=False)`,
      'probe.py': DESCRIPTORS,
    };
    expect(await sandbox.facts(files)).toEqual(THREE);
  });

  it('E17 E18 control: one that is left open is seen, and leads where it leads', async () => {
    const leaky = `import os, subprocess, sys\nos.dup2(os.open('/etc', os.O_RDONLY), 9)\nsubprocess.run([sys.executable, '-c', sys.argv[-1]], close_fds=False)`;
    const leaked = await controlFacts(`import sys; sys.argv = ['-c', ${JSON.stringify(DESCRIPTORS)}]\n${leaky}`, {
      without: [],
    });
    expect(leaked['descriptors']).toMatchObject({ '9': '/etc' });
    expect(leaked['directories behind descriptors']).toEqual(['/etc']);
    const afterCommand = await sandbox.facts(DESCRIPTORS, { preCommands: ['exec 9</etc'] });
    expect(afterCommand['directories behind descriptors']).toEqual(['/etc']);
  });
});
